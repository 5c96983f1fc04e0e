"""Reports over a real database: whatever was rolled up, and when, the sum is that over the attempts."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from gyre_kit import migrate
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.db import Database, Session, enter_project
from gyre_kit.names import new_id
from gyre_kit.pages import BadOrder
from gyre_kit.periods import Period
from gyre_kit.testing import ManualClock, Platform

from services.gpu_scheduler import store as scheduler_store
from services.gpu_scheduler.accounting import capacity, service, store
from services.gpu_scheduler.accounting.amounts import Sums, held_of
from services.gpu_scheduler.models import Attempt, Card, Node, Queue, Workload

ALL = service.GROUPS
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
async def everything(session: Session) -> AsyncIterator[Session]:
    """The session as the system, which sees all projects."""
    await enter_project(session, "*")
    with acting_as(SYSTEM):
        yield session


async def put(
    session: Session,
    begin: datetime,
    end: datetime | None,
    *,
    project: str = "acme",
    user: str = "keys/ada",
    queue: str = "default",
    gpu: int = 0,
    queued: datetime | None = None,
    preempted: bool = False,
) -> Attempt:
    """A workload with one attempt, which held half a core at 2 dollars an hour, and cards at 10."""
    name = f"projects/{project}/workloads/{new_id()}"
    session.add(
        Workload(
            name=name, uid=name, project=project, number=random.randrange(2**31), state="FINISHED", kind="JOB",
            module="m", spec_json="{}", cpu_milli=500, memory_bytes=0, gpu=gpu, attempt=1, user=user,
            queue=f"projects/{project}/queues/{queue}", queue_time=queued or begin,
        )
    )  # fmt: skip
    attempt = Attempt(
        name=scheduler_store.attempt_name(name, 1), project=project, workload=name, number=1, node="nodes/a",
        flavor="flavors/cpu", cpu_milli=500, memory_bytes=0, gpu=gpu, cpu_hour_microusd=2_000_000,
        gpu_hour_microusd=10_000_000, admit_time=begin, end_time=end, preempted=preempted,
    )  # fmt: skip
    session.add(attempt)
    await session.flush()
    return attempt


@pytest.mark.parametrize("seed", range(4))
async def test_days_and_open_attempts_make_the_sum_over_all_attempts(
    everything: Session, clock: ManualClock, seed: int
) -> None:
    dice, now = random.Random(seed), clock.now()
    attempts = []
    for round in range(4):
        for _ in range(6):
            begin = now - timedelta(seconds=dice.randrange(20 * 86_400), microseconds=dice.randrange(10**6))
            end = None if dice.random() < 0.3 else min(now - HOUR / 60, begin + DAY * 5 * dice.random())
            gone = end is not None and dice.random() < 0.5
            attempts.append(await put(everything, begin, end, gpu=dice.randrange(9), preempted=gone))
        if round < 3:
            await service.roll_up(everything)
    for _ in range(5):
        start = now - timedelta(seconds=dice.randrange(1, 25 * 86_400))
        period = Period(start, min(now, start + timedelta(seconds=dice.randrange(1, 30 * 86_400))))
        expected = sum((held_of(each, "", "", "").within(period, now) for each in attempts), Sums())
        assert service.total(await service.usage(everything, period, {}, [])) == expected


async def test_rolling_up_again_adds_nothing(everything: Session, clock: ManualClock) -> None:
    now = clock.now()
    await put(everything, now - 30 * HOUR, now - HOUR, gpu=2)
    week = Period(now - 7 * DAY, now)
    before = service.ordered(await service.usage(everything, week, {}, ALL), ALL, "")
    assert await service.roll_up(everything) == 1
    assert await service.roll_up(everything) == 0
    assert service.ordered(await service.usage(everything, week, {}, ALL), ALL, "") == before
    assert service.total(before).card_seconds == 2 * 29 * 3600


async def test_a_roll_up_that_dies_before_its_commit_is_made_again(platform: Platform, clock: ManualClock) -> None:
    url = platform.settings().database_url_of("gpu_scheduler")
    await migrate.upgrade(url, "gpu_scheduler")
    db = Database(url, "gpu_scheduler", clock)
    week = Period(clock.now() - 7 * DAY, clock.now())
    async with db.transaction() as session:
        await put(session, clock.now() - 30 * HOUR, clock.now() - HOUR)
        before = service.ordered(await service.usage(session, week, {}, ALL), ALL, "")
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as session:
            assert await service.roll_up(session) == 1
            raise ZeroDivisionError
    async with db.transaction() as session:
        assert await service.roll_up(session) == 1
    async with db.transaction() as session:
        assert service.ordered(await service.usage(session, week, {}, ALL), ALL, "") == before
        assert await store.not_rolled_up(session, week, {}) == []
    await db.close()
    await platform.empty("gpu_scheduler")


async def test_usage_is_told_apart_by_project_user_and_queue(everything: Session, clock: ManualClock) -> None:
    now = clock.now()
    await put(everything, now - 3 * HOUR, now - HOUR)
    await put(everything, now - 2 * HOUR, now - HOUR, user="keys/bob", queue="urgent")
    await put(everything, now - 5 * HOUR, now - HOUR, project="other", user="keys/eve")
    found = await service.usage(everything, Period(now - DAY, now), {}, ["user", "queue"])
    rows = service.ordered(found, ["user", "queue"], "held_seconds desc")
    assert [(row.group["user"], row.sums.held_seconds / 3600) for row in rows] == [
        ("keys/eve", 4), ("keys/ada", 2), ("keys/bob", 1),
    ]  # fmt: skip
    only = await service.usage(everything, Period(now - DAY, now), {"queue": "projects/acme/queues/urgent"}, [])
    assert service.total(only).held_seconds == 3600
    with pytest.raises(BadOrder):
        service.ordered(rows, ["user"], "queue")


async def test_a_project_sees_its_own_usage_alone(session: Session, clock: ManualClock) -> None:
    now = clock.now()
    await enter_project(session, "*")
    await put(session, now - 5 * HOUR, now - HOUR, project="other")
    await put(session, now - 2 * HOUR, now - HOUR)
    await service.roll_up(session)
    await put(session, now - 2 * HOUR, None, project="other")
    await enter_project(session, "acme")
    found = await service.usage(session, Period(now - DAY, now), {}, ["project"])
    assert [row.group["project"] for row in found] == ["acme"]
    assert service.total(found).held_seconds == 3600


async def test_waits_and_preemptions_are_counted_by_queue(everything: Session, clock: ManualClock) -> None:
    now = clock.now()
    for minutes in (1, 2, 9):
        await put(everything, now - HOUR, now, queued=now - HOUR - timedelta(minutes=minutes))
    await put(everything, now - 2 * HOUR, now - HOUR, queue="urgent", preempted=True)
    names = ["projects/acme/queues/default", "projects/acme/queues/urgent"]
    waits = await store.waits(everything, Period(now - DAY, now), names)
    assert waits[names[0]] == (3, 240.0, 120.0, pytest.approx(498.0), pytest.approx(531.6))
    preempted = await store.preemptions(everything, Period(now - DAY, now), names)
    assert {queue: len(attempts) for queue, attempts in preempted.items()} == {names[1]: 1}


async def test_who_lost_its_place_waits_since_then(everything: Session, clock: ManualClock) -> None:
    now = clock.now()
    name = "projects/acme/queues/default"
    everything.add(Queue(name=name, project="acme", state="ACTIVE", cluster_queue="clusterQueues/default"))
    attempt = await put(everything, now - 5 * HOUR, now - HOUR, preempted=True, queued=now - 9 * HOUR)
    workload = await everything.get_one(Workload, attempt.workload)
    workload.state = "QUEUED"
    await everything.flush()
    assert await store.heads(everything) == [(name, False, 1, now - HOUR)]


async def test_capacity_counts_while_a_node_is_heard_of(everything: Session, clock: ManualClock) -> None:
    node = Node(
        name="nodes/a", state="READY", create_time=clock.now(), update_time=clock.now(), hostname="a",
        flavor="flavors/cpu", cpu_milli=2000, memory_bytes=0, gpu=2, last_seen_time=clock.now(),
    )  # fmt: skip
    everything.add(node)
    for index in range(2):
        everything.add(
            Card(
                name=f"nodes/a/cards/{index}", node="nodes/a", index=index, uuid="", model="", memory_bytes=0,
                simulated=index == 1,
            )
        )  # fmt: skip
    await everything.flush()
    begin = clock.now()
    for _ in range(12):
        await capacity.look(everything)
        clock.advance(minutes=5)
    node.state, node.last_seen_time = "LOST", clock.now()
    await everything.flush()
    await capacity.look(everything)
    clock.advance(hours=2)
    await put(everything, begin, begin + timedelta(minutes=30), gpu=1)
    first, *rest = await capacity.utilisation(everything, Period(begin, begin + 3 * HOUR), "HOUR")
    assert capacity.seconds(first.card_capacity) == 2 * 3600
    assert capacity.seconds(first.simulated_card_capacity) == 3600
    assert (first.card_utilisation, first.core_utilisation) == (0.25, 0.125)
    assert [step.card_utilisation for step in rest] == [None, None]
    (day,) = await capacity.utilisation(everything, Period(begin, begin + 3 * HOUR), "DAY")
    assert day.card_utilisation == 0.25


async def test_a_long_gap_between_two_looks_counts_as_nothing(everything: Session, clock: ManualClock) -> None:
    everything.add(
        Node(
            name="nodes/a", state="READY", create_time=clock.now(), update_time=clock.now(), hostname="a",
            flavor="flavors/cpu", cpu_milli=1000, memory_bytes=0, gpu=0, last_seen_time=clock.now(),
        )
    )  # fmt: skip
    await everything.flush()
    begin = clock.now()
    for minutes in (5, 55):
        await capacity.look(everything)
        clock.advance(minutes=minutes)
    await capacity.look(everything)
    clock.advance(minutes=5)
    await capacity.look(everything)
    (step,) = await capacity.utilisation(everything, Period(begin, clock.now()), "DAY")
    assert capacity.seconds(step.core_capacity) == 10 * 60
