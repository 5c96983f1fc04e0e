"""Two gateways, the engines behind them, and the control plane that moves traffic from one version to the next.

What the real one does is played: a new version comes up, takes over, the old one stands by, drains, and is stopped once
no worker runs anything on it. Workers, engines and kills are real.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import (
    Deployment,
    Key,
    Project,
    Target,
    TargetState,
    make_snapshot,
    write_snapshot,
)
from tests.load.bench_gateway import FAR_LIMITS, free_ports, until_listening

SECRET, KEY, MODEL = "bench-key", "projects/bench/keys/1", "mock"
PLACES = 16
NOTICED_SECONDS = 0.5  # until the control plane knows that a replica is gone
PATIENCE_SECONDS = 60


@dataclass
class Replica:
    id: str
    version: str
    process: asyncio.subprocess.Process
    port: int
    state: TargetState = TargetState.READY


@dataclass
class Version:
    replicas: list[Replica]
    weight: int = 0
    state: TargetState = TargetState.READY

    @property
    def name(self) -> str:
        return self.replicas[0].version

    def targets(self) -> list[Target]:
        return [
            Target(
                each.id, version=self.name, variant=self.name, replica_of=self.name, address=f"127.0.0.1:{each.port}",
                weight=self.weight / len(self.replicas), places=PLACES,
                state=each.state if self.state is TargetState.READY else self.state,
            )
            for each in self.replicas
        ]  # fmt: skip


@dataclass
class ControlPlane:
    """Which versions there are, as the gateways are told. `left`: when each was said to drain."""

    paths: Paths
    pools: list[ProxyPool]
    logs: Path
    versions: list[Version] = field(default_factory=list)
    left: dict[str, float] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    revision: int = 0

    async def tell(self) -> None:
        """Returns when every worker goes by it."""
        self.revision += 1
        key = Key(KEY, "bench", limits=FAR_LIMITS)
        targets = tuple(target for version in self.versions for target in version.targets())
        deployment = Deployment(MODEL, "bench", targets)
        keys = {sha256(SECRET.encode()).hexdigest(): key}
        write_snapshot(self.paths.snapshot, make_snapshot(self.revision, keys, {"bench": Project()}, [deployment]))
        for pool in self.pools:
            await pool.until_revision(self.revision, PATIENCE_SECONDS)

    async def bring_up(self, name: str) -> Version:
        replicas = await asyncio.gather(*(self._start(f"{name}-{letter}", name) for letter in "ab"))
        self.versions.append(Version(list(replicas)))
        return self.versions[-1]

    async def shift(self, old: Version, new: Version, percent: int) -> None:
        old.weight, new.weight = 100 - percent, percent
        if percent == 100:
            old.state = TargetState.STANDBY
        await self.tell()

    async def let_go(self, version: Version) -> None:
        """Its engines are stopped when no worker runs anything on them."""
        version.state = TargetState.DRAINING
        self.left[version.name] = time.monotonic()
        await self.tell()
        for replica in version.replicas:
            await until(lambda: all(pool.drained(replica.id, self.revision) for pool in self.pools))  # noqa: B023
            await _stop(replica.process, signal.SIGTERM)
        self.versions.remove(version)
        await self.tell()

    async def lose_replica(self, version: Version) -> None:
        """By `kill -9`; it is noticed after a while, and started anew."""
        dead = version.replicas[0]
        self.killed.append(f"replica {dead.id} (pid {dead.process.pid})")
        await _stop(dead.process, signal.SIGKILL)
        await asyncio.sleep(NOTICED_SECONDS)
        dead.state = TargetState.UNHEALTHY
        await self.tell()
        again = await self._start(dead.id, dead.version)
        dead.process, dead.port, dead.state = again.process, again.port, TargetState.READY
        await self.tell()

    async def lose_gateway(self) -> None:
        """Its pool starts the worker anew."""
        (before,) = self.pools[1].pids
        self.killed.append(f"gateway 2 (pid {before})")
        os.kill(before, signal.SIGKILL)
        await until(lambda: self.pools[1].pids != [before] and self.pools[1].goes_by(self.revision))

    async def stop(self) -> None:
        for version in self.versions:
            for replica in version.replicas:
                await _stop(replica.process, signal.SIGTERM)

    async def _start(self, id_: str, version: str) -> Replica:
        (port,), log = free_ports(1), self.logs / f"{id_}.log"
        engine = [sys.executable, str(Path(__file__).with_name("rolling_engine.py"))]
        process = await asyncio.create_subprocess_exec(
            *engine, "--version", version, "--port", str(port), "--log", str(log)
        )
        await until_listening(port)
        return Replica(id_, version, process, port)


async def _stop(process: asyncio.subprocess.Process, how: int) -> None:
    process.send_signal(how)
    await process.wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event of its own
            await asyncio.sleep(0.01)


# -- two gateways -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def gateways(home: Path) -> AsyncIterator[tuple[list[ProxyPool], list[int], list[CollectorRegistry]]]:
    """Two that share what workers of one machine share; their ports; and what they count."""

    async def nothing(*_: Any) -> Any:
        return False

    first, second = Paths(home / "first"), Paths(home / "second")
    registries = [CollectorRegistry(), CollectorRegistry()]
    for paths in (first, second):
        paths.create()
    for shared in (first.ledger, first.sessions):
        shared.mkdir(mode=0o700)
    for mine, shared in ((second.ledger, first.ledger), (second.sessions, first.sessions)):
        mine.symlink_to(shared)
    second.snapshot.symlink_to(first.snapshot)
    ports = free_ports(2)
    async with AsyncExitStack() as stack:
        pools = []
        for paths, port, registry in zip((first, second), ports, registries, strict=True):
            pool = ProxyPool(
                ProxySettings(), paths, "127.0.0.1", port,
                record=nothing, store_usage=nothing, on_feedback=nothing, on_spans=nothing, knows_key=nothing,
                on_stored=nothing, registry=registry,
            )  # fmt: skip
            pools.append(await stack.enter_async_context(pool))
        yield pools, ports, registries
