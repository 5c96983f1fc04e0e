"""Queues of projects: held, with quotas behind them, with budgets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT, ManualClock

from services.gpu_scheduler import budgets, cluster_queues, queues, service
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import QueueState
from services.gpu_scheduler.quota import Quota
from services.gpu_scheduler.tests.calls import cycle
from services.gpu_scheduler.tests.test_service import GIB, REPLICA, SETTINGS, ensured, launched, node

__all__ = ["node"]  # a fixture


async def test_a_held_queue_admits_nothing_until_it_is_active_again(session: Session) -> None:
    workload = await ensured(session)
    await queues.update(session, workload.queue, ["state"], state="HELD")
    await cycle(session)
    await session.refresh(workload)
    assert workload.waiting_reason == Reason.QUEUE_HELD
    await queues.update(session, workload.queue, ["state"], state=QueueState.ACTIVE)
    await cycle(session)
    assert workload.state == "ADMITTED"


async def test_queues_refuse_what_makes_no_sense(session: Session) -> None:
    await queues.create(session, PROJECT, "night", priority=-5)
    with pytest.raises(queues.QueueExists):
        await queues.create(session, PROJECT, "night")
    with pytest.raises(queues.FieldImmutable):
        await queues.update(session, f"projects/{PROJECT}/queues/night", ["cluster_queue"])
    with pytest.raises(queues.BadState):
        await queues.update(session, f"projects/{PROJECT}/queues/night", ["state"], state="")


async def test_a_quota_limits_its_cluster_queue(session: Session) -> None:
    quota = {"flavors/cpu": Quota(Amount(300, 24 * GIB))}
    await cluster_queues.create(session, "small", cluster_queues.QueueWish(quotas=quota))
    queue = await queues.create(session, PROJECT, "small", cluster_queue="clusterQueues/small")
    first, second = [await ensured(session, replace(REPLICA, queue=queue.name)) for _ in range(2)]
    await cycle(session)
    await session.refresh(second)
    assert (first.state, second.waiting_reason) == ("ADMITTED", Reason.QUOTA_EXHAUSTED)


async def test_a_queue_that_used_up_its_budget_admits_nothing_until_the_next_period(
    session: Session, clock: ManualClock
) -> None:
    books = Books("best-effort")
    first, second = await ensured(session), await ensured(session)
    await queues.update(
        session, first.queue, ["budget_microusd", "budget_period"], budget_microusd=1, budget_period="DAY"
    )
    assert (await cycle(session, books)).admitted == 1
    attempt = await launched(session, first)
    clock.advance(hours=1)
    await service.attempt_ended(session, first, attempt, Ended(0), SETTINGS)
    assert (await cycle(session, books)).admitted == 0
    assert second.waiting_reason == Reason.BUDGET_EXHAUSTED
    clock.advance(days=1)
    assert (await cycle(session, books)).admitted == 1 and second.state == "ADMITTED"
    with pytest.raises(budgets.BadBudget):
        await queues.update(session, first.queue, ["budget_microusd"], budget_microusd=-1)
