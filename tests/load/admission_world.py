"""What is around the admission loop of `bench_admission.py`: nodes, queues, who submits, and who ends.

`outside` is a process of its own. It submits workloads at their times, out of a table filled beforehand, and ends each
admitted one after its run time; who is preempted stops at once, and runs anew when it is admitted again. There is no
launcher: what was admitted runs at once. Ends of the same moment share a transaction of at most `TOGETHER`. They and the
stops are written in bulk, row for row what `service.attempt_ended` writes, or, with `one_by_one`, by that function, which
the reconcile loop calls (about 4 ms of Python each).
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import heapq
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from io import TextIOWrapper
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.db import Database, Session
from gyre_kit.names import new_id

from services.gpu_scheduler import store
from services.gpu_scheduler.models import (
    Card,
    ClusterQueue,
    Flavor,
    Node,
    NodeState,
    Queue,
    Workload,
    WorkloadState,
)
from services.gpu_scheduler.settings import Settings
from tests.load.admission_ends import InBulk, OneByOne

COMPONENT = "gpu_scheduler"
PROJECT = "bench"
FLAVOR = "rf"
ENDLESS = 1 << 40  # thousandths of a core: more than all workloads together ask for
TOGETHER = 100
TICK = 0.002  # seconds
STAGED = "staged"
INSERTED_AT_ONCE = 500
GIB = 1 << 30
BLANK = Workload(
    name="",
    uid="",
    project=PROJECT,
    state=WorkloadState.QUEUED,
    kind="JOB",
    module="bench",
    spec_json="{}",
    cpu_milli=0,
    memory_bytes=0,
    gpu=0,
    queue="",
    created_by="bench",
    queue_time=datetime.now(UTC),
).model_dump()  # to make a model of each takes longer than to admit it
BLANK_CARD = Card(name="", node="", index=0, uuid="", model="A100", memory_bytes=80 * GIB, simulated=True).model_dump()


class Job(NamedTuple):
    """Of a trace: seconds, and thousandths of a core."""

    queue: str
    submit: float
    runs: float
    cpu_milli: int
    priority: int


class Door(NamedTuple):
    """A queue of a trace with its quota, in thousandths of a core."""

    queue: str
    cohort: str
    nominal: int
    borrowing: int


def read_jobs(path: Path) -> list[Job]:
    return [
        Job(
            row["queue"],
            float(row["submit_s"]),
            float(row["duration_s"]),
            int(row["cpus"]) * 1000,
            int(row["priority"]),
        )
        for row in _rows(path)
    ]


def read_doors(path: Path) -> list[Door]:
    return [
        Door(row["queue"], row["cohort"], int(row["nominal"]) * 1000, int(row["borrowing_limit"]) * 1000)
        for row in _rows(path)
    ]


def _rows(path: Path) -> Iterable[dict[str, str]]:
    if path.suffix != ".gz":
        with path.open(encoding="utf-8") as file:
            yield from csv.DictReader(file)
        return
    with gzip.open(path) as packed, TextIOWrapper(packed, encoding="utf-8") as file:
        yield from csv.DictReader(file)


# -- tables ----------------------------------------------------------------------------------------------------------


async def put_queues(session: Session, doors: Sequence[Door]) -> None:
    """Each door is a cluster queue with one local queue of the same name."""
    await insert(session, ClusterQueue, [_cluster_queue(door) for door in doors])
    await insert(session, Queue, [_queue(door.queue) for door in doors])


def _cluster_queue(door: Door) -> ClusterQueue:
    quotas: dict[str, dict[str, Any]] = {
        FLAVOR: {"cpu_milli": door.nominal, "borrowing": {"cpu_milli": door.borrowing}}
    }
    return ClusterQueue(name=f"clusterQueues/{door.queue}", cohort=door.cohort, quotas=quotas)


def _queue(name: str) -> Queue:
    return Queue(
        name=queue_name(name), project=PROJECT, state="ACTIVE", cluster_queue=f"clusterQueues/{name}", request_id=name
    )


def queue_name(name: str) -> str:
    return f"projects/{PROJECT}/queues/{name}"


async def put_nodes(session: Session, count: int, cards: int, cpu_milli: int) -> None:
    """Nodes of the one flavor, each with so many cards and cores."""
    now = session.clock.now()
    nodes = [
        Node(
            name=f"nodes/{number}",
            hostname=f"n{number}",
            state=NodeState.READY,
            flavor=FLAVOR,
            cpu_milli=cpu_milli,
            memory_bytes=1 << 50,
            gpu=cards,
            simulated=True,
            last_seen_time=now,
            create_time=now,
            update_time=now,
        )
        for number in range(count)
    ]
    await insert(session, Flavor, [Flavor(name=FLAVOR)])
    await insert(session, Node, nodes)
    rows = [_card(node.name, index) for node in nodes for index in range(cards)]
    for start in range(0, len(rows), INSERTED_AT_ONCE):
        await session.execute(sa.insert(Card), rows[start : start + INSERTED_AT_ONCE])


def _card(node: str, index: int) -> dict[str, Any]:
    return BLANK_CARD | {"name": f"{node}/cards/{index}", "node": node, "index": index, "uuid": f"GPU-{node}-{index}"}


async def insert(session: Session, table: type[Any], rows: Sequence[Any]) -> None:
    for start in range(0, len(rows), INSERTED_AT_ONCE):
        values = [row.model_dump() for row in rows[start : start + INSERTED_AT_ONCE]]
        await session.execute(sa.insert(table), values)


async def put_workloads(session: Session, queue: str, count: int, gpu: int) -> None:
    """They wait, all alike."""
    for start in range(0, count, INSERTED_AT_ONCE):
        numbers = range(start + 1, min(start + INSERTED_AT_ONCE, count) + 1)
        await session.execute(sa.insert(Workload), [_row(queue, number, 1000, gpu=gpu) for number in numbers])


def _row(queue: str, number: int, cpu_milli: int, *, priority: int = 0, gpu: int = 0) -> dict[str, Any]:
    uid = new_id()
    return BLANK | {
        "name": f"projects/{PROJECT}/workloads/{uid}",
        "uid": uid,
        "number": number,
        "queue": queue,
        "cpu_milli": cpu_milli,
        "priority": priority,
        "gpu": gpu,
    }


async def stage(session: Session, jobs: Sequence[Job]) -> dict[str, Job]:
    """Their rows beside the table, in the order of submission; name → job."""
    await session.execute(sa.text(f"CREATE TABLE {COMPONENT}.{STAGED} AS TABLE {COMPONENT}.workload WITH NO DATA"))
    table = sa.table(STAGED, *(sa.column(c.name, c.type) for c in Workload.__table__.columns), schema=COMPONENT)
    by_name: dict[str, Job] = {}
    for start in range(0, len(jobs), INSERTED_AT_ONCE):
        some = enumerate(jobs[start : start + INSERTED_AT_ONCE], start + 1)
        rows = [_row(queue_name(job.queue), number, job.cpu_milli, priority=job.priority) for number, job in some]
        await session.execute(sa.insert(table), rows)
        by_name |= {row["name"]: jobs[row["number"] - 1] for row in rows}
    return by_name


# -- the process outside ---------------------------------------------------------------------------------------------


def outside(pipe: Connection, url: str, home: Path, submits: Sequence[float], one_by_one: bool) -> None:
    """Tells ("began", seconds, 0), ("submitted", seconds, count), ("ended", seconds, names), ("stopped", seconds, names).
    Is told [(name, end)] of what was admitted, and "stop" where somebody was asked to go. Ends when it is told None.

    `submits`: when each staged row is due, in order.
    """
    with acting_as(SYSTEM):
        outside = _Outside(pipe, Database(url, COMPONENT), Settings(home=home), submits, one_by_one)
        asyncio.run(outside.run())


class _Outside:
    def __init__(
        self, pipe: Connection, db: Database, settings: Settings, submits: Sequence[float], one_by_one: bool
    ) -> None:
        self.pipe, self.db, self.settings, self.submits = pipe, db, settings, submits
        self.writes = OneByOne() if one_by_one else InBulk()
        self.submitted = 0
        self.ends: list[tuple[float, str]] = []
        self.running: dict[str, float] = {}  # each with its end
        self.is_over = self.must_stop = False

    async def run(self) -> None:
        """Who submits, who ends and who confirms stops do not wait for each other, as in the service."""
        began = time.time()
        self.pipe.send(("began", began, 0))
        async with asyncio.TaskGroup() as group:
            for step in (partial(self._submit, began), self._stop, self._end):
                group.create_task(self._over_and_over(step))
            while not self.is_over:
                self._hear()
                await asyncio.sleep(TICK)
        await self.db.close()

    async def _over_and_over(self, step: Callable[[], Awaitable[bool]]) -> None:
        while not self.is_over:
            if not await step():
                await asyncio.sleep(TICK)

    def _hear(self) -> None:
        while not self.is_over and self.pipe.poll():
            told = self.pipe.recv()
            if told is None:
                self.is_over = True
            elif told == "stop":
                self.must_stop = True
            else:
                for name, end in told:
                    self.running[name] = end
                    heapq.heappush(self.ends, (end, name))

    async def _submit(self, began: float) -> bool:
        elapsed = time.time() - began
        upto = self.submitted
        while upto < len(self.submits) and self.submits[upto] <= elapsed:
            upto += 1
        if upto == self.submitted:
            return False
        columns = ", ".join(f'"{c.name}"' for c in Workload.__table__.columns if c.name != "queue_time")
        moved = f"""
            INSERT INTO {COMPONENT}.workload ({columns}, queue_time) SELECT {columns}, :now FROM {COMPONENT}.{STAGED}
            WHERE number > :since AND number <= :upto ORDER BY number
        """
        async with self.db.transaction() as session:
            values = {"now": session.clock.now(), "since": self.submitted, "upto": upto}
            await session.execute(sa.text(moved), values)
        self.pipe.send(("submitted", time.time(), upto - self.submitted))
        self.submitted = upto
        return True

    async def _stop(self) -> bool:
        """Whoever was asked to go has gone, unless it ended meanwhile."""
        if not self.must_stop:
            return False
        self.must_stop = False
        async with self.db.transaction() as session:
            stopped = await self.writes.stop(session, await store.stopping(session), self.settings)
            for name in stopped:
                self.running.pop(name, None)
        self.pipe.send(("stopped", time.time(), stopped))
        return True

    async def _end(self) -> bool:
        """Whose time has come ends, unless it was stopped meanwhile."""
        now, names = time.time(), set()
        while self.ends and self.ends[0][0] <= now and len(names) < TOGETHER:
            end, name = heapq.heappop(self.ends)
            if self.running.get(name) == end:
                names.add(name)
                del self.running[name]
        if not names:
            return False
        async with self.db.transaction() as session:
            ended = await self.writes.end(session, names, self.settings)
        self.pipe.send(("ended", time.time(), ended))
        return True
