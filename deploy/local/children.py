"""What `gyre up` runs, in the order in which it starts: database and broker, then all services at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gyre_kit import addresses

from deploy.local import broker, database, probes
from deploy.local.postgres import STOP_SIGNAL, EmbeddedPostgres
from deploy.local.processes import MARK
from deploy.local.settings import RuntimeSettings

DATABASE_CHILD = "postgres"
BROKER_CHILD = "broker"
SERVICES_CHILD = "services"


async def _nothing() -> None:
    return None


@dataclass(frozen=True)
class ChildSpec:
    """One process to keep alive. `prepare` (blocking) comes before each start; `on_ready` after `ready` says yes."""

    name: str
    command: Callable[[], Sequence[str]]
    ready: Callable[[], Awaitable[bool]]
    prepare: Callable[[], object] = lambda: None
    on_ready: Callable[[], Awaitable[None]] = _nothing
    run_as: Mapping[str, Any] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM


def stages(settings: RuntimeSettings) -> list[list[ChildSpec]]:
    """Each stage starts when all of the one before it are ready."""
    infrastructure = []
    if not settings.database_url:
        infrastructure.append(_postgres(settings))
    if not settings.kafka_bootstrap:
        infrastructure.append(_broker(settings))
    return [infrastructure, _services(settings)]


def environment(settings: RuntimeSettings) -> dict[str, str]:
    """What every child sees. The database's URL comes from `run/database_url`, never from the administrator's."""
    return (
        os.environ
        | settings.as_environment()
        | {
            "GYRE_DATABASE_URL": "",
            "PYTHONUNBUFFERED": "1",
            "MALLOC_ARENA_MAX": "2",  # glibc would keep an arena for each of gRPC's threads: 10 MB a service
            MARK: str(settings.resolved_home),
        }
    )


def service_ports(settings: RuntimeSettings) -> dict[str, int]:
    """Every TCP port that the runtime's processes listen on, by what is there."""
    ports = {"REST and console": settings.console_port, "OpenAI endpoint": settings.openai_port}
    for component in addresses.COMPONENTS:
        ports[f"{component} gRPC"] = addresses.GRPC_PORTS[component] + settings.port_offset
        ports[f"{component} metrics"] = settings.metrics_port(component)
    if not settings.kafka_bootstrap:
        ports["Kafka"] = addresses.KAFKA_PORT + settings.port_offset
    return ports


def _postgres(settings: RuntimeSettings) -> ChildSpec:
    server = EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder)

    async def let_services_in() -> None:
        await server.ensure_roles(database.passwords(settings))
        database.publish_template(settings, server.url_template)

    return ChildSpec(
        DATABASE_CHILD, server.command, server.ready,
        prepare=server.prepare, on_ready=let_services_in, run_as=server.account.run_as(), stop_signal=STOP_SIGNAL,
    )  # fmt: skip


def _broker(settings: RuntimeSettings) -> ChildSpec:
    address = settings.kafka_address
    return ChildSpec(BROKER_CHILD, lambda: broker.command(address), lambda: probes.speaks_kafka(address))


def _services(settings: RuntimeSettings) -> list[ChildSpec]:
    if settings.processes == 1:
        ready = _Serving(settings, addresses.COMPONENTS)
        return [ChildSpec(SERVICES_CHILD, lambda: [sys.executable, "-m", "gyre_kit.app", "--all"], ready)]
    return [_service(settings, component) for component in addresses.COMPONENTS]


def _service(settings: RuntimeSettings, component: str) -> ChildSpec:
    command = [sys.executable, "-m", f"services.{component}.main"]
    return ChildSpec(component, lambda: command, _Serving(settings, [component]))


class _Serving:
    """Ready when each component's gRPC health says SERVING, and its HTTP port, if it has one, accepts."""

    def __init__(self, settings: RuntimeSettings, components: Sequence[str]) -> None:
        http = {"api_gateway": settings.console_port, "inference_gateway": settings.openai_port}
        self._grpc = [settings.grpc_address(component) for component in components]
        self._http = [("127.0.0.1", http[component]) for component in components if component in http]

    async def __call__(self) -> bool:
        for address in self._grpc:
            if await probes.health(address) != "SERVING":
                return False
        return await probes.all_accept(self._http)
