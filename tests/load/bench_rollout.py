"""What a roll-out costs those who ask meanwhile: version after version, with a replica and a gateway killed under load.

    python tests/load/bench_rollout.py [--requests 100000] [--changes 10] [--callers 48]
                                       [--out tests/load/out/rollout.json]

Two gateways, each a pool with a worker process and a port of its own, go by one snapshot, one ledger and one folder of
sessions. Behind them are mock engines (`rolling_engine.py`), two replicas a version, each a process. The control plane
is played here, by what the real one does: a new version comes up, takes over in steps, the old one stands by for its
sessions, drains, and is stopped once no worker runs anything on it. In mid-shift one replica, and later one gateway's
worker, dies by `kill -9`; both are started anew.

Told: requests, failed by cause, cut after they began by cause, sent again by the client, retried by the gateways; what
engines answered twice, and whether somebody got two answers; sessions that saw another version while theirs was there;
and what the ledger billed, beside what was answered. Nothing is asserted here; `tests/chaos/test_rollout.py` does that
for a short run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import uvloop
from prometheus_client import CollectorRegistry

from services.inference_gateway.proxy.ledger import Ledger
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
from tests.load.rolling_load import Load, torn_sessions

SECRET, KEY, MODEL = "bench-key", "projects/bench/keys/1", "mock"
STEPS = (25, 50, 100)
PLACES = 16
NOTICED_SECONDS = 0.5  # until the control plane knows that a replica is gone
PATIENCE_SECONDS = 60
FAILURES = "gyre_gateway_upstream_failures_total"


@dataclass
class Replica:
    id: str
    version: str
    log: Path
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
        return Replica(id_, version, log, process, port)


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


# -- the roll-outs ----------------------------------------------------------------------------------------------------


async def roll_out(requests: int, changes: int, callers: int = 48) -> dict[str, Any]:
    """At least `requests`, and as many as come until the last change is made."""
    home = Path(tempfile.mkdtemp(prefix="gyre-rollout-"))
    try:
        async with gateways(home) as (pools, ports, registries):
            control = ControlPlane(Paths(home / "first"), pools, home)
            load = Load(ports, SECRET, MODEL, callers)
            began = time.monotonic()
            try:
                async with asyncio.TaskGroup() as tasks:
                    (await control.bring_up("1")).weight = 100
                    await control.tell()
                    tasks.create_task(load.run())
                    await _changes(control, load, requests, changes)
                    await until_done(load, requests)
                    load.stop.set()
            finally:
                await control.stop()
            seconds = time.monotonic() - began
            ledger = Ledger(Paths(home / "first").ledger)
            account = ledger.account(KEY)
            await until(lambda: not ledger.read(account).running)
            billed = ledger.read(account)
            ledger.close()
            retried = _retried(registries)
        return _told(control, load, home, seconds) | {
            "retried_by_gateways": retried,
            "billed": {"requests": billed.requests, "tokens": billed.spent_tokens, "open": billed.reserved_tokens},
        }
    finally:
        shutil.rmtree(home)


async def _changes(control: ControlPlane, load: Load, requests: int, changes: int) -> None:
    """At even distances. A replica of the old version dies in the first third of them, a gateway in the second."""
    distance = requests // (changes + 1)
    for number in range(1, changes + 1):
        await until_done(load, number * distance)
        old = control.versions[-1]
        new = await control.bring_up(str(number + 1))
        for step, percent in enumerate(STEPS):
            await until_done(load, number * distance + step * distance // 8)
            await control.shift(old, new, percent)
            if step == 1 and number == (changes + 2) // 3:
                await control.lose_replica(old)
            if step == 1 and number == (2 * changes + 2) // 3:
                await control.lose_gateway()
        await until_done(load, number * distance + distance // 2)
        await control.let_go(old)


async def until_done(load: Load, count: int) -> None:
    while load.done < count:  # noqa: ASYNC110 - what is awaited has no event of its own
        await asyncio.sleep(0.01)


def _retried(registries: list[CollectorRegistry]) -> dict[str, int]:
    """Attempts at an engine that failed, by how; what a killed worker counted in its last second is lost."""
    found: Counter[str] = Counter()
    for registry in registries:
        for metric in registry.collect():
            for sample in metric.samples:
                if sample.name == FAILURES:
                    found[sample.labels["reason"]] += int(sample.value)
    return dict(found)


def _told(control: ControlPlane, load: Load, home: Path, seconds: float) -> dict[str, Any]:
    asked, answered = _engines_saw(home)
    twice = [number for number, times in answered.items() if times > 1]
    return {
        "requests": load.done,
        "seconds": round(seconds, 1),
        "killed": control.killed,
        "answered": load.answered.total(),
        "failed": dict(load.failed),
        "cut_after_it_began": dict(load.cut),
        "sent_again_by_the_client": dict(load.sent_again),
        "wrong_answers": load.wrong,
        "two_answers_reached_a_client": sum(times > 1 for times in load.answered.values()),
        "asked_of_engines_more_than_once": sum(times > 1 for times in asked.values()),
        "answered_twice_by_engines": {
            "sent_twice_by_the_client": sum(load.sends[number] > 1 for number in twice),
            "sent_once_by_the_client": sum(load.sends[number] == 1 for number in twice),
        },
        "sessions": len(load.sessions),
        "sessions_that_moved_on": sum(len({each.version for each in said}) > 1 for said in load.sessions.values()),
        "sessions_torn": torn_sessions(load.sessions, control.left),
        "answered_tokens": load.tokens,
    }


def _engines_saw(home: Path) -> tuple[Counter[int], Counter[int]]:
    """How often each number was asked, and answered to its end, by all engines together."""
    seen: dict[str, Counter[int]] = {"asked": Counter(), "answered": Counter()}
    for log in home.glob("*.log"):
        for line in log.read_text().splitlines():
            what, number = line.split()
            seen[what][int(number)] += 1
    return seen["asked"], seen["answered"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--callers", type=int, default=48, help="requests under way at once")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/rollout.json")
    options = parser.parse_args()
    results = uvloop.run(roll_out(options.requests, options.changes, options.callers))
    print(json.dumps(results, indent=1), file=sys.stderr)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    settings = {name: getattr(options, name) for name in ("requests", "changes", "callers")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
