"""Replicas that are guaranteed: who may take their place all the same, and what those are told who may not."""

from __future__ import annotations

import pytest

from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.explain import explain, sentence
from services.gpu_scheduler.decisions.quotas import ClusterQueue, Limit, Preemption
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.tests.clusters import (
    NOW,
    admitted,
    cards,
    cluster,
    evicted,
    gpu_node,
    holds,
    run,
    work,
)
from services.gpu_scheduler.decisions.work import Workload

CELL = ("a100", 2)


def queue(name: str, own: int, **preemption: object) -> ClusterQueue:
    return ClusterQueue(name, "all", {CELL: Limit(own * CARD)}, preemption=Preemption(**preemption))  # type: ignore[arg-type]


def replica(name: str, queue: str = "serve", *, guaranteed: bool = True, **values: object) -> Workload:
    return work(name, cards(1), queue=queue, serves=True, resumes=False, guaranteed=guaranteed, **values)


def served(*queues: ClusterQueue, policy: str = "best-effort") -> Cluster:
    return cluster(nodes=[gpu_node("a", 4)], queues=queues, policy=policy)


def test_who_takes_back_its_own_leaves_alone_what_is_guaranteed_within_the_others_quota() -> None:
    made = served(queue("serve", 2), queue("train", 2))
    holds(made, replica("more", guaranteed=False, priority=100), replica("spare", guaranteed=False, priority=100))
    holds(made, replica("first"), replica("second"))  # of the lowest priority, and the last that came
    made.submit(work("trainer", cards(2), queue="train"))
    assert sorted(evicted(run(made))) == [("more", "trainer", Rule.RECLAIM), ("spare", "trainer", Rule.RECLAIM)]


def test_a_guarantee_beyond_its_queues_own_quota_does_not_keep_others_from_theirs() -> None:
    made = served(queue("serve", 1), queue("train", 3))
    holds(made, replica("first"), replica("second"), replica("third"))
    made.submit(work("trainer", cards(3), queue="train"))
    gone = evicted(run(made))
    assert [rule for _, _, rule in gone] == [Rule.RECLAIM, Rule.RECLAIM]
    for name, _, _ in gone:
        made.release(name, NOW)
    assert admitted(run(made)) == ["trainer"]


@pytest.mark.parametrize(("priority", "goes"), [(100, []), (101, [("old", "new", Rule.HIGHER_PRIORITY)])])
def test_only_a_higher_priority_of_its_own_queue_takes_its_place(priority: int, goes: list[object]) -> None:
    made = served(queue("serve", 4, within_cluster_queue="LowerOrNewerEqualPriority"))
    holds(made, work("whole", cards(3), queue="serve", priority=200), replica("old", priority=100, age=0.0))
    made.submit(work("new", cards(1), queue="serve", priority=priority, age=60.0))
    assert evicted(run(made)) == goes


@pytest.mark.parametrize("guaranteed", [False, True])
def test_a_borrower_of_higher_priority_passes_it_over(guaranteed: bool) -> None:
    made = served(queue("serve", 0), queue("urgent", 0, borrow_within_cohort="LowerPriority"), queue("lends", 4))
    holds(made, *(replica(f"r{n}", guaranteed=guaranteed) for n in range(4)))
    made.submit(work("wants", cards(1), queue="urgent", priority=500))
    assert len(evicted(run(made))) == (0 if guaranteed else 1)


@pytest.mark.parametrize("guaranteed", [False, True])
def test_a_fair_share_is_not_made_of_what_is_guaranteed(guaranteed: bool) -> None:
    made = served(queue("serve", 0), queue("other", 0), queue("lends", 4), policy="fair")
    holds(made, *(replica(f"r{n}", guaranteed=guaranteed) for n in range(4)))
    made.submit(work("wants", cards(1), queue="other"))
    assert len(evicted(run(made))) == (0 if guaranteed else 1)


def test_who_waits_is_told_how_many_replicas_are_guaranteed_that_would_have_made_room() -> None:
    made = served(queue("serve", 0), queue("urgent", 0, borrow_within_cohort="LowerPriority"), queue("lends", 4))
    holds(made, *(replica(f"r{n}") for n in range(4)))
    made.submit(work("wants", cards(1), queue="urgent", priority=500))
    made.submit(work("humble", cards(1), queue="urgent", priority=-1))
    assert run(made) == []
    found = explain(made, "wants", NOW)
    assert found.guaranteed == 4
    said = sentence(found, made.waiting["wants"][2], lambda _: "", lambda time: f"{time:.0f}")
    assert said.endswith("4 replicas are guaranteed to a deployment and not asked to make room.")
    assert explain(made, "humble", NOW).guaranteed == 0, "it ranks lower: nobody would go for it anyway"
