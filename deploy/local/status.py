"""What runs, how it is, where it answers and what it weighs: `gyre status`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from gyre_kit import addresses

from deploy.local import probes, processes, workloads
from deploy.local.children import BROKER_CHILD, DATABASE_CHILD, SERVICES_CHILD
from deploy.local.settings import RuntimeSettings
from deploy.local.state import ChildState, RuntimeState

DOWN = "DOWN"
UNSUPERVISED = "UNSUPERVISED"
EXTERNAL = "EXTERNAL"


@dataclass
class PartStatus:
    """One process. `health`: SERVING, NOT_SERVING, STARTING, DOWN; EXTERNAL for what we do not run."""

    name: str
    health: str
    version: str
    pid: int
    addresses: dict[str, str]
    memory_bytes: int = 0
    uptime_seconds: float = 0.0
    restarts: int = 0
    last_exit: str = ""


@dataclass
class PlatformStatus:
    """`memory_bytes` is the proportional set size of everything but the workloads."""

    state: str
    home: str
    version: str
    addresses: dict[str, str]
    services: list[PartStatus]
    postgres: PartStatus
    broker: PartStatus
    supervisor: PartStatus
    workloads: dict[str, int] = field(default_factory=dict)
    memory_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def platform(settings: RuntimeSettings) -> PlatformStatus:
    """Asks every part now; takes as long as the slowest answer, at most a second."""
    state = RuntimeState.read(settings.state_file)
    work = {pid for ref in workloads.running(settings.work_folder) for pid in processes.session_members(ref.pid)}
    services = asyncio.run(_services(settings, state, work))
    supervisor = _supervisor(settings, state)
    postgres = _infrastructure(settings, state, DATABASE_CHILD, bool(settings.database_url))
    broker = _infrastructure(settings, state, BROKER_CHILD, bool(settings.kafka_bootstrap))
    parts = [*services, postgres, broker, supervisor]
    return PlatformStatus(
        state=_overall(state, parts),
        home=str(settings.resolved_home),
        version=supervisor.version,
        addresses=public_addresses(settings),
        services=services,
        postgres=postgres,
        broker=broker,
        supervisor=supervisor,
        workloads={"processes": len(work), "memory_bytes": processes.pss_bytes(work)},
        memory_bytes=sum(part.memory_bytes for part in parts),
    )


def public_addresses(settings: RuntimeSettings) -> dict[str, str]:
    """What people and programs connect to."""
    return {
        "console": f"http://{settings.bind}:{settings.console_port}",
        "rest": f"http://{settings.bind}:{settings.console_port}/api/v1",
        "openai": f"http://{settings.bind}:{settings.openai_port}/v1",
        "kafka": settings.kafka_address,
        "postgres": EXTERNAL.lower() if settings.database_url else str(settings.postgres_socket_folder),
    }


async def _services(settings: RuntimeSettings, state: RuntimeState | None, work: set[int]) -> list[PartStatus]:
    children = {name: _child(state, name) or _child(state, SERVICES_CHILD) for name in addresses.COMPONENTS}
    sharing = len(addresses.COMPONENTS) if _child(state, SERVICES_CHILD) else 1
    healths = await asyncio.gather(*(_health(settings, name, child) for name, child in children.items()))
    return [
        _part(
            name,
            health,
            children[name],
            {
                "grpc": settings.grpc_address(name),
                "metrics": f"http://{settings.bind}:{settings.metrics_port(name)}/metrics",
                **_http_addresses(settings, name),
            },
            version=state.version if state else "",
            without=work,
            sharing=sharing,
        )
        for name, health in zip(addresses.COMPONENTS, healths, strict=True)
    ]


async def _health(settings: RuntimeSettings, component: str, child: ChildState | None) -> str:
    """A stranger on our port is not our service: without a live process of ours the answer is not asked for."""
    if child is None or child.process is None or not child.process.alive():
        return DOWN
    answer = await probes.health(settings.grpc_address(component))
    return "STARTING" if answer == "UNREACHABLE" and not child.ready_at else answer


def _http_addresses(settings: RuntimeSettings, component: str) -> dict[str, str]:
    names = {"api_gateway": ("console", "rest"), "inference_gateway": ("openai",)}.get(component, ())
    return {name: address for name, address in public_addresses(settings).items() if name in names}


def _infrastructure(settings: RuntimeSettings, state: RuntimeState | None, name: str, external: bool) -> PartStatus:
    address = {name: public_addresses(settings)["postgres" if name == DATABASE_CHILD else "kafka"]}
    if external:
        return PartStatus(name, EXTERNAL, "", 0, address)
    child = _child(state, name)
    alive = child is not None and child.process is not None and child.process.alive()
    health = DOWN if not alive else "SERVING" if child is not None and child.ready_at else "STARTING"
    return _part(name, health, child, address)


def _supervisor(settings: RuntimeSettings, state: RuntimeState | None) -> PartStatus:
    if state is None or not state.supervisor.alive():
        return PartStatus("supervisor", DOWN, state.version if state else "", 0, {})
    pid = state.supervisor.pid
    memory, uptime = processes.pss_bytes([pid]), time.time() - state.started_at
    return PartStatus("supervisor", "SERVING", state.version, pid, {}, memory, uptime)


def _part(
    name: str,
    health: str,
    child: ChildState | None,
    at: dict[str, str],
    *,
    version: str = "",
    without: Iterable[int] = (),
    sharing: int = 1,
) -> PartStatus:
    part = PartStatus(name, health, version, 0, at)
    if child is not None:
        part.restarts, part.last_exit = child.restarts, child.last_exit
        if child.process is not None and child.process.alive():
            part.pid = child.process.pid
            part.uptime_seconds = time.time() - child.process.started
            part.memory_bytes = processes.pss_bytes(set(processes.tree(part.pid)) - set(without)) // sharing
    return part


def _child(state: RuntimeState | None, name: str) -> ChildState | None:
    return state.children.get(name) if state else None


def _overall(state: RuntimeState | None, parts: list[PartStatus]) -> str:
    if state is None or not any(part.pid for part in parts):
        return DOWN
    if not state.supervisor.alive():
        return UNSUPERVISED
    return str(state.phase)
