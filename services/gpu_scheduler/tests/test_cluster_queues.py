from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gyre_kit.db import Session
from gyre_kit.names import new_id
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import PROJECT

from services.gpu_scheduler import admission, cluster_queues, nodes, queues, quota, service, store, submission
from services.gpu_scheduler.cluster_queues import CohortWish, QueueWish
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.hardware import Machine
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.quota import Quota
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import asked_for, find_workload

GIB = 1024**3
SETTINGS = Settings(home=Path("/nonexistent"), workload_modules=("sample",))
MACHINE = Machine("a", "a", "cpu", 4000, 24 * GIB, 0.0, 0)
JOB = submission.Wanted("JOB", "sample", "{}", Amount(1000, GIB))


def cores(count: int, **bounds: Amount) -> dict[str, Quota]:
    return {"flavors/cpu": Quota(Amount(count * 1000, 24 * GIB), **bounds)}


@pytest.fixture(autouse=True)
async def node(session: Session) -> None:
    await nodes.heard_of(session, MACHINE, SETTINGS)


async def door(session: Session, id: str, wish: QueueWish) -> str:
    """A cluster queue and a local queue that points to it."""
    await cluster_queues.create(session, id, wish)
    queue = await queues.create(session, PROJECT, id, cluster_queue=f"clusterQueues/{id}")
    return queue.name


async def submitted(session: Session, queue: str, count: int) -> list[str]:
    names = [f"projects/{PROJECT}/workloads/{new_id()}" for _ in range(count)]
    for name in names:
        await asked_for(session, name, replace(JOB, queue=queue), SETTINGS)
    return names


async def states(session: Session, names: list[str]) -> list[str]:
    session.expire_all()
    return [(await find_workload(session, name)).state for name in names]


async def test_what_one_queue_lent_it_takes_back_from_the_other(session: Session) -> None:
    await cluster_queues.create_cohort(session, "all", CohortWish())
    ours = await door(session, "ours", QueueWish("cohorts/all", quotas=cores(2)))
    theirs = await door(session, "theirs", QueueWish("cohorts/all", quotas=cores(2)))
    borrowers = await submitted(session, theirs, 4)
    assert (await admission.run_cycle(session)).admitted == 4, "nobody else wants them"
    mine = await submitted(session, ours, 1)
    assert await admission.run_cycle(session) == admission.Cycle(admitted=0, preempted=1, has_more=False)
    assert (await states(session, borrowers)).count("STOPPING") == 1
    last = await find_workload(session, borrowers[-1])
    assert (last.state, last.preempted_for, last.preemption_rule) == ("STOPPING", mine[0], "RECLAIM")
    attempt = await store.attempt(session, last.name, 1)
    await service.attempt_ended(session, last, attempt, Ended(143), SETTINGS)
    assert (await admission.run_cycle(session)).admitted == 1
    assert await states(session, mine) == ["ADMITTED"]


async def test_nobody_borrows_more_than_its_limit_nor_what_is_not_lent(session: Session) -> None:
    await cluster_queues.create_cohort(session, "all", CohortWish())
    bound = Amount(1000, 24 * GIB)
    await door(session, "lender", QueueWish("cohorts/all", quotas=cores(2, lending=bound)))
    borrower = await door(session, "borrower", QueueWish("cohorts/all", quotas=cores(1)))
    await submitted(session, borrower, 3)
    assert (await admission.run_cycle(session)).admitted == 2, "its own and the one that is lent"


async def test_cohorts_form_no_ring_and_go_only_when_nothing_is_in_them(session: Session) -> None:
    await cluster_queues.create_cohort(session, "root", CohortWish())
    await cluster_queues.create_cohort(session, "leaf", CohortWish(parent="cohorts/root"))
    with pytest.raises(cluster_queues.CohortRing):
        await cluster_queues.update_cohort(session, "cohorts/root", CohortWish("cohorts/leaf"), ["parent"], "")
    with pytest.raises(cluster_queues.CohortRing):
        await cluster_queues.update_cohort(session, "cohorts/root", CohortWish("cohorts/root"), ["parent"], "")
    with pytest.raises(cluster_queues.CohortNotFound):
        await cluster_queues.create_cohort(session, "lost", CohortWish(parent="cohorts/none"))
    with pytest.raises(cluster_queues.CohortInUse):
        await cluster_queues.delete_cohort(session, "cohorts/root", "")
    with pytest.raises(EtagMismatch):
        await cluster_queues.delete_cohort(session, "cohorts/leaf", "7")
    await cluster_queues.delete_cohort(session, "cohorts/leaf", "1")
    await cluster_queues.delete_cohort(session, "cohorts/root", "")


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        (QueueWish(weight=-1), cluster_queues.BadWeight),
        (QueueWish(weight=float("inf")), cluster_queues.BadWeight),
        (QueueWish(cohort="cohorts/none"), cluster_queues.CohortNotFound),
        (QueueWish(quotas={"flavors/none": Quota(Amount(1))}), quota.FlavorNotFound),
        (QueueWish(quotas={"flavors/cpu": Quota(Amount(-1))}), quota.BadQuota),
        (QueueWish(quotas={"flavors/cpu": Quota(Amount(5000))}), quota.QuotaOverCapacity),
    ],
)
async def test_a_cluster_queue_that_makes_no_sense_is_refused(
    session: Session, wish: QueueWish, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await cluster_queues.create(session, "bad", wish)
    with pytest.raises(cluster_queues.ClusterqueueNotFound):
        await cluster_queues.get(session, "clusterQueues/bad")


async def test_a_queue_with_work_in_it_stays(session: Session) -> None:
    name = await door(session, "busy", QueueWish())
    (workload,) = await submitted(session, name, 1)
    with pytest.raises(queues.QueueNotEmpty):
        await queues.delete(session, name)
    with pytest.raises(cluster_queues.ClusterQueueInUse):
        await cluster_queues.delete(session, "clusterQueues/busy", "")
    await service.cancel(session, workload)
    await queues.delete(session, name)
    await cluster_queues.delete(session, "clusterQueues/busy", "")
    with pytest.raises(queues.DefaultQueueStays):
        default = await queues.default_queue(session, PROJECT)
        await queues.delete(session, default.name)


async def test_quotas_below_what_is_used_stop_nobody_and_admit_nothing_more(session: Session) -> None:
    name = await door(session, "shrinks", QueueWish(quotas=cores(3)))
    running = await submitted(session, name, 2)
    await admission.run_cycle(session)
    await cluster_queues.update(session, "clusterQueues/shrinks", QueueWish(quotas=cores(1)), ["quotas"], "")
    await submitted(session, name, 1)
    assert await admission.run_cycle(session) == admission.Cycle(admitted=0, preempted=0, has_more=False)
    assert await states(session, running) == ["ADMITTED", "ADMITTED"]
