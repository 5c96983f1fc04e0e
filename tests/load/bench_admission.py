"""How fast the control plane admits: Kueue's generators, on a PostgreSQL of its own with durable commits.

    python tests/load/bench_admission.py WORKLOADS.csv[.gz] QUOTAS.csv [--unbounded] [--most 15000] [--out FILE]

The trace is played in real time. What is measured is what the service runs: `submission.ensure_all` for what arrives, the
loop of `reconcile.admit` around `admission.run_cycle` for the decisions, one transaction each, each commit on disk. What
is not there: gRPC, the relay to the broker, and processes. A stand-in for launchers and nodes, in the same process, finds
what was admitted in the table, lets it last as long as the trace says, and then writes what the end of an attempt writes,
of all that ended in the meantime at once.

One node is as large as all quotas together, so that they alone bound what runs, as in Kueue's own measurement.
Numbers are written to a file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import gzip
import heapq
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import sqlalchemy as sa
import uvloop
from gyre_kit import addresses, migrate
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.db import Database, Session
from gyre_kit.names import new_id

from deploy.local import postgres
from services.gpu_scheduler import admission, store, submission
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.models import ClusterQueue, Cohort, Flavor, Node, Queue, QueueState
from services.gpu_scheduler.settings import Settings

PROJECT = "bench"
OUT = ROOT / "tests/load/out/admission.json"
GATHER_SECONDS = 0.02  # what arrives or ends within so long is written down together
POLICY = "best-effort"  # of Kueue's generators


@dataclass(frozen=True)
class Job:
    name: str
    submit: float  # seconds after the beginning
    seconds: float
    cpus: int
    queue: str
    priority: int


@dataclass
class Seen:
    """`waits`: seconds from the submission to the commit of the admission. `gaps`: from free capacity to the commit."""

    cycles: list[float] = field(default_factory=list)
    admitted: int = 0
    ended: int = 0
    preempted: int = 0
    gaps: list[float] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0


def jobs_of(path: Path, most: int) -> list[Job]:
    rows = list(_rows(path))[:most]
    return sorted(
        (
            Job(f"projects/{PROJECT}/workloads/{new_id()}", float(row["submit_s"]), float(row["duration_s"]),
                int(row["cpus"]), f"projects/{PROJECT}/queues/{row['queue']}", int(row["priority"]))
            for row in rows
        ),
        key=lambda job: job.submit,
    )  # fmt: skip


def _rows(path: Path) -> Iterator[dict[str, str]]:
    data = path.read_bytes()
    yield from csv.DictReader(io.StringIO((gzip.decompress(data) if path.suffix == ".gz" else data).decode()))


@asynccontextmanager
async def database(home: Path) -> AsyncIterator[Database]:
    embedded = postgres.EmbeddedPostgres(home / "postgres", home / "socket")
    embedded.prepare()
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        embedded.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **embedded.account.run_as()
    )
    try:
        while not await embedded.ready():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.1)
        await embedded.ensure_roles(dict.fromkeys(addresses.COMPONENTS, "bench"))
        url = embedded.url_template.format(component="gpu_scheduler", password="bench")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await migrate.upgrade(url, "gpu_scheduler")
        db = Database(url, "gpu_scheduler")
        yield db
        await db.close()
    finally:
        process.terminate()
        process.wait()


async def set_up(db: Database, quotas: Path, *, unbounded: bool) -> None:
    """Cohorts, cluster queues with their local queues, and one node that is large enough for everything."""
    rows = list(_rows(quotas))
    now = datetime.now(UTC)
    async with db.transaction() as session:
        session.add(Flavor(name="rf"))
        session.add(
            Node(name="nodes/all", state="READY", create_time=now, update_time=now, hostname="all", flavor="rf",
                 cpu_milli=2_000_000_000, memory_bytes=1 << 60, gpu=0, last_seen_time=now)
        )  # fmt: skip
        for cohort in {row["cohort"] for row in rows}:
            session.add(Cohort(name=f"cohorts/{cohort}"))
        for row in rows:
            session.add(_cluster_queue(row, unbounded))
            name = f"projects/{PROJECT}/queues/{row['queue']}"
            shared = f"clusterQueues/{row['queue']}"
            session.add(Queue(name=name, project=PROJECT, state=QueueState.ACTIVE, cluster_queue=shared))


def _cluster_queue(row: Mapping[str, str], unbounded: bool) -> ClusterQueue:
    quota = {"cpu_milli": int(row["nominal"]) * 1000, "borrowing": {"cpu_milli": int(row["borrowing_limit"]) * 1000}}
    preemption = {
        "reclaim_within_cohort": row["reclaim_within_cohort"],
        "within_cluster_queue": row["within_cluster_queue"],
    }
    return ClusterQueue(
        name=f"clusterQueues/{row['queue']}",
        cohort=f"cohorts/{row['cohort']}",
        quotas={} if unbounded else {"rf": quota},
        preemption=preemption,
    )


class Player:
    """Plays a trace against the tables. `woken`: something arrived or ended, so a cycle has something to do."""

    def __init__(self, db: Database, jobs: Sequence[Job]) -> None:
        self.db, self.jobs = db, jobs
        self.by_name = {job.name: job for job in jobs}
        self.books = Books(POLICY)
        self.settings = Settings()
        self.seen = Seen()
        self.woken, self.decided = asyncio.Event(), asyncio.Event()
        self.free_since = 0.0  # when capacity came free that no cycle has looked at

    async def play(self) -> float:
        begun = time.perf_counter()
        parts = [asyncio.create_task(part(begun)) for part in (self._submit, self._cycle, self._run)]
        try:
            await asyncio.gather(*parts)
        finally:
            for part in parts:
                part.cancel()
        return time.perf_counter() - begun

    async def _submit(self, begun: float) -> None:
        at = 0
        while at < len(self.jobs):
            due = at
            now = time.perf_counter() - begun
            while due < len(self.jobs) and self.jobs[due].submit <= now and due - at < 1000:
                due += 1
            if due > at:
                await self._ensure(self.jobs[at:due])
                at = due
                self.woken.set()
            else:
                await asyncio.sleep(max(GATHER_SECONDS, self.jobs[at].submit - now))

    async def _ensure(self, jobs: Sequence[Job]) -> None:
        wanted = {
            job.name: submission.Wanted(
                kind="JOB", module="services.evaluation.work", spec_json="{}", requests=Amount(job.cpus * 1000, 0, 0),
                queue=job.queue, priority=job.priority,
            )
            for job in jobs
        }  # fmt: skip
        async with self.db.transaction() as session:
            await submission.ensure_all(session, wanted, self.settings)

    async def _cycle(self, _: float) -> None:
        while self.seen.ended < len(self.jobs):
            self.woken.clear()
            free_since, self.free_since = self.free_since, 0.0
            begun = time.perf_counter()
            async with self.db.transaction() as session:
                cycle = await admission.run_cycle(session, self.books)
            now = time.perf_counter()
            self.seen.cycles.append(now - begun)
            if cycle.admitted:
                self.seen.first = self.seen.first or now
                self.seen.last = now
                self.seen.admitted += cycle.admitted
                if free_since:
                    self.seen.gaps += [now - free_since] * cycle.admitted
            if cycle.admitted or cycle.preempted:
                self.decided.set()
            if not cycle.has_more:
                try:
                    await asyncio.wait_for(self.woken.wait(), 0.5)
                except TimeoutError:
                    continue

    async def _run(self, _: float) -> None:
        """What launchers and nodes would do. Who is asked to go has gone at the next look."""
        ends: list[tuple[float, str, int]] = []
        while self.seen.ended < len(self.jobs):
            freed = 0
            if self.decided.is_set():
                self.decided.clear()
                for name, attempt in await self._began():
                    heapq.heappush(ends, (time.perf_counter() + self.by_name[name].seconds, name, attempt))
                freed += await self._stopped()
            now = time.perf_counter()
            over = []
            while ends and ends[0][0] <= now:
                over.append(heapq.heappop(ends)[1:])
            if over:
                done, stay = await self._ended(over)
                self.seen.ended += done
                freed += done
                for name, attempt in stay:
                    heapq.heappush(ends, (now, name, attempt))
            if freed:
                self.free_since = self.free_since or time.perf_counter()
                self.woken.set()
            await asyncio.sleep(GATHER_SECONDS)

    async def _began(self) -> list[tuple[str, int]]:
        async with self.db.transaction() as session:
            began = await self._free(session, "ADMITTED")
            await self._update(session, began, "state = 'STARTING'")
        return began

    async def _stopped(self) -> int:
        async with self.db.transaction() as session:
            gone = await self._free(session, "STOPPING")
            waits = "state = 'QUEUED', stop_reason = '', waiting_reason = 'PREEMPTED', preemptions = preemptions + 1"
            await self._update(session, gone, waits)
            await self._end_attempts(session, gone)
        self.seen.preempted += len(gone)
        return len(gone)

    async def _ended(self, over: Sequence[tuple[str, int]]) -> tuple[int, list[tuple[str, int]]]:
        """How many there were that nobody stopped meanwhile, and those to look at again: a cycle has them just now."""
        async with self.db.transaction() as session:
            free = set(await self._free(session, "STARTING", [name for name, _ in over]))
            done = [each for each in over if each in free]
            finished = (
                "state = 'FINISHED', end_time = :now, exit_code = 0, "
                "ran_seconds = ran_seconds + extract(epoch FROM CAST(:now AS timestamptz) - admit_time)"
            )
            await self._update(session, done, finished)
            await self._end_attempts(session, done)
            stay = [] if len(done) == len(over) else await self._still(session, over, free)
        return len(done), stay

    async def _free(self, session: Session, state: str, names: Sequence[str] | None = None) -> list[tuple[str, int]]:
        """Those in that state that no cycle is about to change: it locks in an order of its own."""
        among = "" if names is None else "AND name = ANY(CAST(:names AS text[])) "
        query = f"SELECT name, attempt FROM workload WHERE state = :state {among}FOR NO KEY UPDATE SKIP LOCKED"
        values = {"state": state} | ({} if names is None else {"names": names})
        return [(name, attempt) for name, attempt in await session.execute(sa.text(query), values)]

    async def _still(
        self, session: Session, over: Sequence[tuple[str, int]], free: set[tuple[str, int]]
    ) -> list[tuple[str, int]]:
        query = "SELECT name, attempt FROM workload WHERE name = ANY(CAST(:names AS text[])) AND state = 'STARTING'"
        rows = await session.execute(sa.text(query), {"names": [name for name, _ in over]})
        running = {(name, attempt) for name, attempt in rows}
        return [each for each in over if each in running - free]

    async def _update(self, session: Session, rows: Sequence[tuple[str, int]], values: str) -> None:
        query = f"UPDATE workload SET {values}, revision = revision + 1 WHERE name = ANY(CAST(:names AS text[]))"
        given: dict[str, Any] = {"names": [name for name, _ in rows]}
        if ":now" in values:
            given["now"] = session.clock.now()
        if rows:
            await session.execute(sa.text(query), given)

    async def _end_attempts(self, session: Session, ended: Sequence[tuple[str, int]]) -> None:
        query = sa.text("UPDATE attempt SET end_time = :now, exit_code = 0 WHERE name = ANY(CAST(:names AS text[]))")
        names = [store.attempt_name(name, attempt) for name, attempt in ended]
        await session.execute(query, {"now": session.clock.now(), "names": names})


def summary(player: Player, seconds: float) -> dict[str, Any]:
    seen = player.seen
    span = max(1e-9, seen.last - seen.first)
    return {
        "workloads": len(player.jobs),
        "seconds": round(seconds, 2),
        "admitted": seen.admitted,
        "preempted": seen.preempted,
        "admissions_per_second": round(seen.admitted / span),
        "cycles": len(seen.cycles),
        "cycle_p50_ms": _percentile(seen.cycles, 50),
        "cycle_p99_ms": _percentile(seen.cycles, 99),
        "free_to_admitted_p50_ms": _percentile(seen.gaps, 50),
        "free_to_admitted_p99_ms": _percentile(seen.gaps, 99),
        "cpu_seconds_of_the_service": round(time.process_time(), 1),
        "load_average": os.getloadavg()[0],
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    if len(values) < 2:
        return round(1000 * values[0], 1) if values else 0.0
    return round(1000 * statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


async def bench(given: argparse.Namespace, home: Path) -> dict[str, Any]:
    jobs = jobs_of(given.workloads, given.most)
    with acting_as(SYSTEM):
        async with database(home) as db:
            await set_up(db, given.quotas, unbounded=given.unbounded)
            player = Player(db, jobs)
            seconds = await asyncio.wait_for(player.play(), given.limit)
            return summary(player, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", type=Path)
    parser.add_argument("quotas", type=Path)
    parser.add_argument("--unbounded", action="store_true", help="no quotas: the rate at which it can admit at most")
    parser.add_argument("--most", type=int, default=1_000_000, help="only the first so many workloads")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which it is given up")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gyre-bench-") as home:
        found = uvloop.run(bench(given, Path(home)))
    print(json.dumps(found, indent=2))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
