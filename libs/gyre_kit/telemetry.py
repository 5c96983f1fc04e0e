"""What a service says about itself: JSON logs with trace ids, metrics on /metrics, spans by OpenTelemetry."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
RPC_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class JsonFormatter(logging.Formatter):
    """One line a record; what was given as `extra=` becomes fields."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        span = trace.get_current_span().get_span_context()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "component": self._component,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS}
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(component: str, level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(component))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("aiokafka", "alembic", "sqlalchemy.engine", "asyncio"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("aiokafka").setLevel(logging.ERROR)


def configure_tracing(component: str, endpoint: str) -> None:
    """Spans are made in any case, so that logs have trace ids; they are exported where `endpoint` is set."""
    provider = TracerProvider(resource=Resource.create({"service.name": component, "service.namespace": "gyre"}))
    if endpoint:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=5)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def current_traceparent() -> str:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def event_span(component: str, headers: Mapping[str, str]) -> Iterator[None]:
    """The span in which an event is processed, a child of the one in which it was written."""
    parent = propagate.extract({"traceparent": headers.get("ce_traceparent", "")})
    token = otel_context.attach(parent)
    try:
        tracer = trace.get_tracer(component)
        name = f"process {headers.get('ce_type', 'unknown')}"
        attributes = {"messaging.system": "kafka", "messaging.operation.type": "process"}
        with tracer.start_as_current_span(name, kind=trace.SpanKind.CONSUMER, attributes=attributes):
            yield
    finally:
        otel_context.detach(token)


class Metrics:
    """The metrics that every service has, in a registry of its own; a service adds its own to `registry`."""

    def __init__(self, component: str) -> None:
        self.component = component
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.rpc_seconds = Histogram(
            "gyre_rpc_server_duration_seconds",
            "Time to answer a call, by method and status code.",
            ["method", "code"],
            buckets=RPC_BUCKETS,
            registry=self.registry,
        )
        self.rpc_in_flight = Gauge("gyre_rpc_server_in_flight", "Calls being answered now.", registry=self.registry)
        self.outbox_lag = Gauge("gyre_outbox_unsent_events", "Events not yet sent.", registry=self.registry)
        self.consumer_lag = Gauge(
            "gyre_consumer_lag_events", "Events not yet handled.", ["topic"], registry=self.registry
        )
        self.events_handled = Counter(
            "gyre_events_handled", "Events handled, by outcome.", ["type", "outcome"], registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "gyre_reconcile_duration_seconds", "Time of one reconciler pass.", ["reconciler"], registry=self.registry
        )
        self.reconcile_errors = Counter(
            "gyre_reconcile_errors", "Passes that raised.", ["reconciler"], registry=self.registry
        )

    def serve(self, address: str, port: int) -> Any:
        """Starts /metrics on a thread and returns the server, to be shut down."""
        server, _ = start_http_server(port, addr=address, registry=self.registry)
        return server
