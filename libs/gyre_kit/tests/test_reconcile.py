"""Leases: one worker at a time holds a row, and what a worker computed under a lost lease is dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from gyre_kit import reconcile
from gyre_kit.db import Database, tables
from gyre_kit.errors import Retriable
from gyre_kit.reconcile import Leased, LeaseLost, Reconciler, lease
from gyre_kit.telemetry import Metrics
from gyre_kit.testing import ManualClock
from sqlmodel import Field, SQLModel

TABLES = tables("feedback")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class Task(Table, Leased, table=True):
    """Something to do; the kit knows no service, so its tests bring a table of their own."""

    name: str = Field(primary_key=True)
    state: str = "OPEN"
    create_time: datetime = Field(sa_type=sa.DateTime(timezone=True))


IS_OPEN = Task.state == "OPEN"


@pytest.fixture
async def work(db: Database) -> AsyncIterator[Database]:
    """The database with the table of tasks, empty."""
    async with db.engine.begin() as connection:
        await connection.run_sync(TABLES.metadata.create_all)
    yield db
    async with db.engine.begin() as connection:
        await connection.run_sync(TABLES.metadata.drop_all)


async def add(db: Database, *names: str) -> None:
    async with db.transaction() as session:
        session.add_all([Task(name=name, create_time=db.clock.now()) for name in names])


async def stored(db: Database, name: str) -> Any:
    async with db.transaction() as session:
        return await session.get(Task, name)


async def test_two_workers_never_hold_the_same_row(work: Database) -> None:
    await add(work, "a", "b")
    async with lease(work, Task, IS_OPEN) as first, lease(work, Task, IS_OPEN) as second:
        assert first is not None
        assert second is not None
        assert {first.row.name, second.row.name} == {"a", "b"}
        async with lease(work, Task, IS_OPEN) as third:
            assert third is None


async def test_many_workers_at_once_take_each_row_once(work: Database) -> None:
    names = [f"task-{number}" for number in range(8)]
    await add(work, *names)

    async def one() -> str | None:
        async with lease(work, Task, IS_OPEN, again_in=60) as claim:
            return claim.row.name if claim else None

    taken = [name for name in await asyncio.gather(*(one() for _ in range(8))) if name]
    assert len(taken) == len(set(taken))


async def test_a_worker_that_died_loses_its_row_after_the_lease(work: Database, clock: ManualClock) -> None:
    await add(work, "a")
    async with lease(work, Task, IS_OPEN, seconds=30) as dead:
        assert dead is not None
        clock.advance(seconds=31)
        async with lease(work, Task, IS_OPEN) as heir:
            assert heir is not None
            assert heir.token != dead.token
            with pytest.raises(LeaseLost):
                async with work.transaction() as session:
                    (await dead.reload(session)).state = "DONE"
            with pytest.raises(LeaseLost):
                await dead.extend(work, 60)
            async with work.transaction() as session:
                assert (await heir.reload(session)).state == "OPEN"


async def test_giving_back_a_lost_lease_does_not_take_it_from_the_heir(work: Database, clock: ManualClock) -> None:
    await add(work, "a")
    async with lease(work, Task, IS_OPEN, seconds=30) as dead:
        assert dead is not None
        clock.advance(seconds=31)
        claimed = lease(work, Task, IS_OPEN, seconds=30)
        heir = await claimed.__aenter__()
    assert heir is not None
    assert (await stored(work, "a")).lease_token == heir.token
    await claimed.__aexit__(None, None, None)


async def test_an_extended_lease_holds_for_longer(work: Database, clock: ManualClock) -> None:
    await add(work, "a")
    async with lease(work, Task, IS_OPEN, seconds=30) as claim:
        assert claim is not None
        await claim.extend(work, 120)
        clock.advance(seconds=90)
        async with lease(work, Task, IS_OPEN) as other:
            assert other is None


async def test_a_row_is_due_again_in_the_time_that_was_said(work: Database, clock: ManualClock) -> None:
    await add(work, "a")
    async with lease(work, Task, IS_OPEN, again_in=5) as claim:
        assert claim is not None
    async with lease(work, Task, IS_OPEN) as too_early:
        assert too_early is None
    clock.advance(seconds=5)
    async with lease(work, Task, IS_OPEN) as claim:
        assert claim is not None
        claim.again_in = 60  # a worker may change its mind
    clock.advance(seconds=59)
    async with lease(work, Task, IS_OPEN) as too_early:
        assert too_early is None


async def test_a_clock_that_is_put_back_puts_no_row_off(work: Database, clock: ManualClock) -> None:
    await add(work, "a")
    async with lease(work, Task, IS_OPEN, again_in=5):
        pass
    clock.advance(hours=-5)
    async with lease(work, Task, IS_OPEN, again_in=3600) as claim:
        assert claim is not None
    async with lease(work, Task, IS_OPEN) as too_early:
        assert too_early is None
    clock.advance(seconds=60)
    async with lease(work, Task, IS_OPEN) as claim:
        assert claim is not None, "nobody rests for longer than that"


async def test_a_row_that_changed_its_state_is_due_at_once(work: Database) -> None:
    await add(work, "a")
    async with lease(work, Task, IS_OPEN, again_in=60) as claim:
        assert claim is not None
        async with work.transaction() as session:
            (await claim.reload(session)).state = "HALF"
    async with lease(work, Task, Task.state == "HALF") as claim:
        assert claim is not None


async def test_a_step_that_raised_gives_its_row_back(work: Database, clock: ManualClock) -> None:
    await add(work, "a")
    with pytest.raises(Retriable):
        async with lease(work, Task, IS_OPEN, again_in=1):
            raise Retriable("later")
    clock.advance(seconds=1)
    async with lease(work, Task, IS_OPEN) as claim:
        assert claim is not None


@dataclass
class Steps:
    """A step that answers what it is told to, and then waits for more."""

    answers: list[bool | Exception]
    looks: int = 0
    seen: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def step(self, _: Any) -> bool:
        async with self.seen:
            self.looks += 1
            self.seen.notify_all()
        answer = self.answers.pop(0) if self.answers else False
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def looked(self, times: int) -> None:
        async with self.seen:
            await asyncio.wait_for(self.seen.wait_for(lambda: self.looks >= times), timeout=10)


async def running(steps: Steps, every: float) -> tuple[asyncio.Event, asyncio.Task[None]]:
    async def look(context: Any) -> bool:
        return await steps.step(context)

    wake = asyncio.Event()
    context: Any = SimpleNamespace(component="feedback", metrics=Metrics("feedback"), wake_event=lambda _: wake)
    return wake, asyncio.create_task(Reconciler(look, every=every).run(context))


async def test_a_reconciler_works_on_until_nothing_is_left_and_then_waits_for_a_wake() -> None:
    steps = Steps([True, True, True])
    wake, task = await running(steps, every=3600)
    await steps.looked(4)
    wake.set()
    await steps.looked(5)
    task.cancel()
    assert steps.looks == 5


async def test_a_reconciler_outlives_a_step_that_raises() -> None:
    steps = Steps([Retriable("away"), ValueError("a bug")])
    _, task = await running(steps, every=0.01)
    await steps.looked(3)
    task.cancel()


async def test_an_idle_reconciler_looks_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def note(wake: asyncio.Event, seconds: float) -> bool:
        pauses.append(seconds)
        await asyncio.sleep(0)
        return False

    monkeypatch.setattr(reconcile, "_wait", note)
    steps = Steps([])
    _, task = await running(steps, every=0.5)
    await steps.looked(10)
    task.cancel()
    assert pauses[0] == 0.5
    assert pauses == sorted(pauses)
    assert pauses[-1] == reconcile.LONGEST_PAUSE
