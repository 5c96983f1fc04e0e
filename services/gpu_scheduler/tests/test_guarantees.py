"""A guarantee as a caller gives it and takes it back, and as the scheduler's books follow it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gyre_kit.db import Session

from services.gpu_scheduler import admission, cluster_queues, submission
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.cluster_queues import CohortWish, QueueWish
from services.gpu_scheduler.models import Workload
from services.gpu_scheduler.tests.calls import asked_for, cycle
from services.gpu_scheduler.tests.test_cluster_queues import JOB, SETTINGS, cores, door, node
from services.gpu_scheduler.tests.test_service import fresh_name

__all__ = ["node"]  # a fixture
REPLICA = replace(JOB, kind="REPLICA", guaranteed=True)


async def submitted(session: Session, count: int, wanted: submission.Wanted) -> list[Workload]:
    return [await asked_for(session, fresh_name(), wanted, SETTINGS) for _ in range(count)]


async def test_the_guarantee_is_the_one_thing_that_may_change(session: Session) -> None:
    (row,) = await submitted(session, 1, REPLICA)
    assert row.guaranteed
    for guaranteed in (False, False, True):
        again = await asked_for(session, row.name, replace(REPLICA, guaranteed=guaranteed), SETTINGS)
        assert (again.name, again.guaranteed) == (row.name, guaranteed)
    with pytest.raises(submission.SpecDiffers):
        await asked_for(session, row.name, replace(REPLICA, guaranteed=False, priority=7), SETTINGS)
    assert row.guaranteed


async def test_only_what_serves_is_guaranteed(session: Session) -> None:
    with pytest.raises(submission.BadSpec) as refused:
        await submitted(session, 1, replace(JOB, guaranteed=True))
    assert refused.value.metadata["field"] == "spec.guaranteed"


async def test_who_takes_back_its_own_has_those_that_are_not_guaranteed(session: Session) -> None:
    await cluster_queues.create_cohort(session, "all", CohortWish())
    serve = await door(session, "serve", QueueWish("cohorts/all", quotas=cores(2)))
    train = await door(session, "train", QueueWish("cohorts/all", quotas=cores(2)))
    spare = await submitted(session, 2, replace(REPLICA, queue=serve, guaranteed=False))
    await cycle(session)
    kept = await submitted(session, 2, replace(REPLICA, queue=serve))  # the last to come are the first to go, else
    await cycle(session)
    await submitted(session, 2, replace(JOB, queue=train))
    assert await cycle(session) == admission.Cycle(admitted=0, preempted=2, has_more=False)
    assert [row.state for row in spare] == ["STOPPING"] * 2
    assert [row.state for row in kept] == ["ADMITTED"] * 2


@pytest.mark.parametrize("remember", [True, False])
async def test_when_the_guarantee_ends_who_was_kept_off_by_it_has_the_place(session: Session, remember: bool) -> None:
    await cluster_queues.create_cohort(session, "all", CohortWish(quotas=cores(4)))
    serve = await door(session, "serve", QueueWish("cohorts/all", quotas=cores(0)))
    borrows = {"borrow_within_cohort": "LowerPriority"}
    train = await door(session, "train", QueueWish("cohorts/all", quotas=cores(0), preemption=borrows))
    books = Books("best-effort") if remember else None
    rows = await submitted(session, 4, replace(REPLICA, queue=serve))
    await cycle(session, books)
    assert [row.state for row in rows] == ["ADMITTED"] * 4
    await submitted(session, 1, replace(JOB, queue=train, priority=9))
    assert (await cycle(session, books)).preempted == 0
    for row in rows[2:]:
        await asked_for(session, row.name, replace(REPLICA, queue=serve, guaranteed=False), SETTINGS)
    assert (await cycle(session, books)).preempted == 1
    assert sorted(row.state for row in rows[2:]) == ["ADMITTED", "STOPPING"]
