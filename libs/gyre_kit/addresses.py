"""Where everything listens: one table, read by the services, the runtime, the command line and the docs."""

from __future__ import annotations

from typing import Final

COMPONENTS: Final = (
    "dataset",
    "training_scheduler",
    "gpu_scheduler",
    "evaluation",
    "model_registry",
    "inference_gateway",
    "feedback",
    "api_gateway",
)

CONSOLE_PORT: Final = 8000
OPENAI_PORT: Final = 8080
KAFKA_PORT: Final = 8092
GRPC_PORTS: Final = {component: 8101 + index for index, component in enumerate(COMPONENTS)}
METRICS_PORTS: Final = {component: 8201 + index for index, component in enumerate(COMPONENTS)}
# To PostgreSQL: connections that a process keeps, and that it opens beside them while it has much to do.
POOL_SIZE: Final = 4
POOL_OVERFLOW: Final = 4


def topic(component: str) -> str:
    """The Kafka topic that carries the facts of `component`."""
    return f"gyre.{component}"


def dead_letter_topic(component: str) -> str:
    """Where `component` puts the events that it could not handle."""
    return f"gyre.{component}.dead"
