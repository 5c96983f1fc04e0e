"""How fast the control plane admits, end to end: PostgreSQL with durable commits, the service's own cycle, no mocks.

    python tests/load/bench_admission.py baseline|large|unbounded [--limit 0] [--policy best-effort] [--stopped anew]
    python tests/load/bench_admission.py cost [--backlogs 1000,10000,100000] [--nodes 100,1000,5000] [--looks 20]

`baseline` and `large` are Kueue's generators, unchanged: 15,000 workloads in 30 queues, 50,000 in 1,000; their quotas
alone take 66.8 s and 4.5 s. `unbounded` is baseline's workloads, all there from the beginning, with quotas that never
bind: what the loop admits a second. Who was stopped begins anew, as in Kueue's benchmark, or, with `--stopped resume`,
goes on where it was, as Gyre's runs do. `cost` is one cycle beside a full cluster when one workload ends and one is
admitted: over the backlog at 100 nodes, and over the nodes at a backlog of 1,000. It draws tests/load/out/cycle_cost.svg.

On the path: changed rows → books → decisions → attempts, cards, events and states written → commit, as in
`reconcile.admit`; and the writing of each end (admission_world.py; `--ends` one-by-one is the service's own function). Not on it: RPC, the relay to Kafka,
launchers and processes; nodes never bind in the first three. Every commit is durable (fsync and synchronous_commit on).

`free_to_admitted_ms`: from when room came up (the first commit of an end in the same cohort that the cycle saw, or the
workload's own arrival if that was later) to the commit that admits it: an upper bound for each admission. Numbers go to
tests/load/out/admission_MODE.json; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import sqlalchemy as sa
from gyre_kit import migrate
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.db import Database
from gyre_kit.testing import Platform, new_platform

from services.gpu_scheduler import admission
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.models import Attempt, Workload, WorkloadState
from services.gpu_scheduler.settings import Settings
from tests.load import admission_world as world
from tests.load import cycle_chart
from tests.load.admission_ends import InBulk
from tests.load.admission_world import COMPONENT, ENDLESS, Door, Job

OUT = Path(__file__).parent / "out"
TRACES = Path("/work/shared/data/traces")
TRACE_OF = {"baseline": "kueue_baseline", "large": "kueue_large", "unbounded": "kueue_baseline"}
SUFFIX_OF = {"baseline": "csv", "large": "csv.gz", "unbounded": "csv"}
QUIET = 0.002  # seconds between two looks at the pipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=(*TRACE_OF, "cost"))
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder with Kueue's generators")
    parser.add_argument("--limit", type=int, default=0, help="only the first so many workloads; 0: all")
    parser.add_argument("--policy", default=admission.DEFAULT_POLICY)
    parser.add_argument("--ends", choices=("bulk", "one-by-one"), default="bulk")
    parser.add_argument("--stopped", choices=("anew", "resume"), default="anew", help="how it goes on when it is back")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds after which a trace is given up")
    parser.add_argument("--backlogs", type=_numbers, default=[1_000, 10_000, 100_000])
    parser.add_argument("--nodes", type=_numbers, default=[100, 1_000, 5_000])
    parser.add_argument("--looks", type=int, default=20, help="cycles measured for each point")
    options = parser.parse_args()
    if options.mode == "cost":
        results = cost(options.backlogs, options.nodes, options.looks)
    else:
        jobs, doors = _trace(options.mode, options.traces, options.limit)
        results = replay(jobs, doors, options.policy, options.ends, options.stopped == "resume", options.patience)
    _write(options.mode, results)


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",")]


def _write(mode: str, results: dict[str, Any]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"admission_{mode}.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


def _trace(mode: str, folder: Path, limit: int) -> tuple[list[Job], list[Door]]:
    jobs = world.read_jobs(folder / f"{TRACE_OF[mode]}_workloads.{SUFFIX_OF[mode]}")
    doors = world.read_doors(folder / f"{TRACE_OF[mode]}_quotas.csv")
    jobs = sorted(jobs, key=lambda job: job.submit)[: limit or None]
    if mode == "unbounded":
        jobs = [job._replace(submit=0.0, runs=0.0) for job in jobs]
        doors = [door._replace(nominal=ENDLESS) for door in doors]
    return jobs, doors


# -- a trace ---------------------------------------------------------------------------------------------------------


def replay(
    jobs: list[Job], doors: list[Door], policy: str, ends: str, resumes: bool, patience: float
) -> dict[str, Any]:
    with acting_as(SYSTEM), new_platform() as platform:
        return asyncio.run(_replay(platform, jobs, doors, policy, ends, resumes, patience))


async def _replay(
    platform: Platform, jobs: list[Job], doors: list[Door], policy: str, ends: str, resumes: bool, patience: float
) -> dict[str, Any]:
    async with database(platform) as db:
        async with db.transaction() as session:
            await world.put_nodes(session, 1, cards=0, cpu_milli=ENDLESS // 1000)
            await world.put_queues(session, doors)
            by_name = await world.stage(session, jobs)
        settings = await _durability(db)
        cohorts = {door.queue: door.cohort or door.queue for door in doors}
        loop = Loop(db, Books(policy), by_name, cohorts, resumes)
        with outside(platform, db, [job.submit for job in jobs], ends) as pipe:
            gave_up = ""
            try:
                await asyncio.wait_for(loop.run(pipe), patience)
            except (TimeoutError, sa.exc.DBAPIError) as error:
                gave_up = str(error)[:300] or f"not done after {patience:g} s"
            pipe.send(None)
        return loop.told() | settings | {"gave_up": gave_up}


class Loop:
    """`reconcile.admit` over and over, woken as it is there; and what is written down of it."""

    def __init__(
        self, db: Database, books: Books, jobs: dict[str, Job], cohorts: dict[str, str], resumes: bool
    ) -> None:
        self.db, self.books, self.jobs, self.cohorts, self.resumes = db, books, jobs, cohorts, resumes
        self.began = self.first = self.last = 0.0
        self.submitted = self.admitted = self.ended = self.cycles = self.preempted = 0
        self.looked = 0.0  # when the cycle before began: it saw whatever was free by then
        self.freed: dict[str, float] = {}  # cohort → the earliest end that no cycle has seen yet
        self.since: dict[str, float] = {}  # when each was admitted
        self.left = {name: job.runs for name, job in jobs.items()}  # seconds
        self.held: Counter[str] = Counter()  # core-seconds held by those that "ended", and by those that were "stopped"
        self.latencies: list[float] = []
        self.cycle_seconds: list[float] = []

    async def run(self, pipe: Any) -> None:
        goes_on = False
        while self.ended < len(self.jobs):
            if not self._hear(pipe) and not goes_on:
                await asyncio.sleep(QUIET)
                continue
            started, freed = time.time(), self.freed
            names, preempted, has_more = await self._cycle()
            goes_on = bool(names or preempted or has_more)  # as in `reconcile.admit`
            done = time.time()
            self.cycles += 1
            self.cycle_seconds.append(done - started)
            self.preempted += preempted
            looked, self.looked = self.looked, started
            self.freed = freed if has_more else {}
            if preempted:
                pipe.send("stop")
            if not names:
                continue
            self.first, self.last = self.first or done, done
            self.admitted += len(names)
            for name in names:
                room = freed.get(self.cohorts[self.jobs[name].queue], looked)
                self.latencies.append(done - max(room, self._came(name)))
            self.since |= dict.fromkeys(names, done)
            pipe.send([(name, done + self.left[name]) for name in names])

    def _hear(self, pipe: Any) -> bool:
        """True where something happened."""
        found = False
        while pipe.poll():
            what, at, given = pipe.recv()
            found = True
            if what == "began":
                self.began = at
                continue
            if what == "submitted":
                self.submitted += given
                continue
            if what == "ended":
                self.ended += len(given)
            for name in given:
                self.freed.setdefault(self.cohorts[self.jobs[name].queue], at)
                ran = at - self.since[name]
                self.held[what] += self.jobs[name].cpu_milli / 1000 * ran
                if what == "stopped" and self.resumes:
                    self.left[name] = max(0.0, self.left[name] - ran)
        return found

    def _came(self, name: str) -> float:
        """It arrives when its time has come, which is when its row was to be there, or later."""
        return self.began + self.jobs[name].submit

    async def _cycle(self) -> tuple[list[str], int, bool]:
        """Who was admitted, how many were asked to go, and whether there is more to decide."""
        before = dict(self.books.attempts)
        async with self.db.transaction() as session:
            done = await admission.run_cycle(session, self.books)
        admitted = [name for name, at in self.books.attempts.items() if before.get(name) != at]
        return admitted, done.preempted, done.has_more

    def told(self) -> dict[str, Any]:
        span = self.last - self.began
        return {
            "workloads": len(self.jobs),
            "ended": self.ended,
            "preempted": self.preempted,
            "seconds_to_last_end": round(time.time() - self.began, 1),
            "seconds_to_last_admission": round(span, 1),
            "admissions_per_second": round(self.admitted / span),
            "free_to_admitted_ms": _percentiles(self.latencies),
            "core_seconds_held": {what: round(held) for what, held in self.held.items()},
            "core_seconds_needed": round(sum(job.cpu_milli / 1000 * job.runs for job in self.jobs.values())),
            "cycles": self.cycles,
            "cycle_ms": _percentiles(self.cycle_seconds),
        }


def _percentiles(seconds: list[float]) -> dict[str, float]:
    at = sorted(seconds)
    return {f"p{q}": round(at[min(len(at) - 1, len(at) * q // 100)] * 1000, 1) for q in (50, 99)} | {
        "max": round(at[-1] * 1000, 1)
    }


@contextlib.asynccontextmanager
async def database(platform: Platform) -> AsyncIterator[Database]:
    url = platform.settings().database_url_of(COMPONENT)
    await migrate.upgrade(url, COMPONENT)
    db = Database(url, COMPONENT)
    try:
        yield db
    finally:
        await db.close()


@contextlib.contextmanager
def outside(platform: Platform, db: Database, submits: list[float], ends: str) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=world.outside, args=(theirs, db.url, platform.home, submits, ends == "one-by-one"))
    process.start()
    try:
        yield ours
        process.join(20)
    finally:
        process.kill()
        process.join()


async def _durability(db: Database) -> dict[str, Any]:
    async with db.transaction() as session:
        shown = {name: await session.scalar(sa.text(f"SHOW {name}")) for name in ("fsync", "synchronous_commit")}
    return {"postgresql": shown}


# -- the cost of one cycle -------------------------------------------------------------------------------------------


def cost(backlogs: list[int], nodes: list[int], looks: int) -> dict[str, Any]:
    by_backlog = {backlog: _cost(nodes[0], backlog, looks) for backlog in backlogs}
    by_nodes = {count: _cost(count, backlogs[0], looks) for count in nodes}
    results = {"backlog_at_fewest_nodes": by_backlog, "nodes_at_least_backlog": by_nodes}
    OUT.mkdir(parents=True, exist_ok=True)
    draw(results, OUT / "cycle_cost.svg")
    return results


def _cost(nodes: int, backlog: int, looks: int) -> dict[str, float]:
    with acting_as(SYSTEM), new_platform() as platform:
        return asyncio.run(_cost_of(platform, nodes, backlog, looks))


async def _cost_of(platform: Platform, nodes: int, backlog: int, looks: int) -> dict[str, float]:
    """Milliseconds; each node runs one workload on all of its cards, and `backlog` more wait for one."""
    settings = platform.settings(Settings)
    async with database(platform) as db:
        async with db.transaction() as session:
            await world.put_nodes(session, nodes, cards=8, cpu_milli=96_000)
            await world.put_queues(session, [Door("all", "", ENDLESS, 0)])
            await _unlimited(session)
            await world.put_workloads(session, world.queue_name("all"), nodes + backlog, gpu=8)
        async with db.transaction() as session:  # as autovacuum does within a minute
            for table in ("workload", "card", "attempt"):
                await session.execute(sa.text(f"ANALYZE {COMPONENT}.{table}"))
        books = Books(admission.DEFAULT_POLICY)
        while await _cycle_seconds(db, books) and len(books.attempts) < nodes:
            pass
        await _cycle_seconds(db, books)
        took = []
        for _ in range(looks):
            gone = next(iter(books.attempts))
            async with db.transaction() as session:
                await InBulk().end(session, [gone], settings)
            took.append(await _cycle_seconds(db, books))
        await _is_full(db, nodes)
        return _percentiles(took)


async def _unlimited(session: Any) -> None:
    await session.execute(sa.text(f"UPDATE {COMPONENT}.clusterqueue SET quotas = '{{}}'"))


async def _cycle_seconds(db: Database, books: Books) -> float:
    began = time.perf_counter()
    async with db.transaction() as session:
        await admission.run_cycle(session, books)
    return time.perf_counter() - began


async def _is_full(db: Database, nodes: int) -> None:
    """What was measured was admission: each look gave one node away again."""
    async with db.transaction() as session:
        held = await session.scalar(
            sa.select(sa.func.count()).select_from(Workload).where(Workload.state == WorkloadState.ADMITTED)
        )
        assert held == nodes, f"{held} of {nodes} nodes are given away"
        assert await session.scalar(sa.select(sa.func.count()).select_from(Attempt)) > nodes


def draw(results: dict[str, Any], path: Path) -> None:
    """The median of each point."""
    panels = {
        title: [(count, each["p50"]) for count, each in results[key].items()]
        for key, title in (
            ("backlog_at_fewest_nodes", "workloads that wait"),
            ("nodes_at_least_backlog", "nodes of 8 cards"),
        )
    }
    path.write_text(cycle_chart.svg(panels, "one cycle, ms"), encoding="utf-8")


@pytest.mark.benchmark
@pytest.mark.parametrize("mode", list(TRACE_OF))
def test_admission(mode: str) -> None:
    jobs, doors = _trace(mode, TRACES, limit=0)
    results = replay(jobs, doors, admission.DEFAULT_POLICY)
    _write(mode, results)
    assert not results["gave_up"] and results["ended"] == len(jobs)


@pytest.mark.benchmark
def test_cost_of_a_cycle() -> None:
    _write("cost", cost([1_000, 10_000, 100_000], [100, 1_000, 5_000], looks=20))


if __name__ == "__main__":
    main()
