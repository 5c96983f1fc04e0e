from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.gpu_scheduler.policy import (
    Admit,
    Amount,
    ClusterQueue,
    Decision,
    Holding,
    Node,
    Pending,
    Preempt,
    Queue,
    Reason,
    Snapshot,
    Wait,
    schedule,
)

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
GIB = 1024**3
TWO_CORES = Node("nodes/a", "flavors/cpu", Amount(2000, 24 * GIB))
TRAINER = Amount(1500, 2 * GIB)
REPLICA = Amount(250, GIB)
QUEUE = "projects/acme/queues/default"


def pending(name: str, requests: Amount = TRAINER, **values: object) -> Pending:
    order = timedelta(seconds=int(values.pop("age", 0)))  # type: ignore[call-overload]
    return Pending(name, QUEUE, requests, NOW - order, **values)  # type: ignore[arg-type]


def holding(name: str, requests: Amount = TRAINER, **values: object) -> Holding:
    return Holding(name, QUEUE, "nodes/a", "flavors/cpu", requests, NOW, **values)  # type: ignore[arg-type]


def snapshot(*pending: Pending, holding: tuple[Holding, ...] = (), **values: object) -> Snapshot:
    given = Snapshot(
        now=NOW,
        nodes=[TWO_CORES],
        cluster_queues={"clusterQueues/default": ClusterQueue("clusterQueues/default")},
        queues={QUEUE: Queue(QUEUE, "clusterQueues/default")},
        pending=pending,
        holding=holding,
    )
    return replace(given, **values)  # type: ignore[arg-type]


def admitted(decisions: list[Decision]) -> list[str]:
    return [each.workload for each in decisions if isinstance(each, Admit)]


def reasons(decisions: list[Decision]) -> dict[str, Reason]:
    return {each.workload: each.reason for each in decisions if isinstance(each, Wait)}


def test_a_trainer_fits_beside_a_replica_on_two_cores_and_a_second_trainer_waits_for_cpu() -> None:
    decisions = schedule(snapshot(pending("one", age=2), pending("two", age=1), holding=(holding("r", REPLICA),)))
    assert decisions == [Admit("one", "nodes/a", "flavors/cpu"), Wait("two", Reason.NO_FREE_CPU)]


def test_higher_priority_goes_first_and_among_equals_the_older_one() -> None:
    decisions = schedule(snapshot(pending("old", age=9), pending("new"), pending("urgent", priority=5)))
    assert admitted(decisions) == ["urgent"]
    decisions = schedule(snapshot(pending("new"), pending("old", age=9)))
    assert admitted(decisions) == ["old"]


def test_what_is_for_one_flavor_runs_there_and_nowhere_else() -> None:
    other = Node("nodes/b", "flavors/big", Amount(2000, 24 * GIB))
    wanted = pending("one", only_flavor="flavors/big")
    assert schedule(snapshot(wanted, nodes=[TWO_CORES, other])) == [Admit("one", "nodes/b", "flavors/big")]
    assert reasons(schedule(snapshot(wanted))) == {"one": Reason.NO_READY_NODE}


def test_what_is_for_one_flavor_preempts_nobody_elsewhere() -> None:
    urgent = pending("urgent", priority=9, only_flavor="flavors/big")
    busy = Holding("b", QUEUE, "nodes/b", "flavors/big", TRAINER, NOW)
    other = Node("nodes/b", "flavors/big", Amount(2000, 24 * GIB))
    decisions = schedule(snapshot(urgent, nodes=[TWO_CORES, other], holding=(holding("a"), busy)))
    assert [each for each in decisions if isinstance(each, Preempt)] == [Preempt("b", "urgent")]


def test_the_priority_of_a_queue_is_added_to_that_of_its_workloads() -> None:
    rush = Queue("projects/acme/queues/rush", "clusterQueues/default", priority=10)
    queues = {QUEUE: Queue(QUEUE, "clusterQueues/default"), rush.name: rush}
    first = replace(pending("by queue"), queue=rush.name)
    assert admitted(schedule(snapshot(pending("by itself", priority=9, age=9), first, queues=queues))) == ["by queue"]


def test_a_small_workload_steps_over_a_large_one_that_does_not_fit() -> None:
    decisions = schedule(snapshot(pending("large", age=9), pending("small", REPLICA), holding=(holding("t"),)))
    assert admitted(decisions) == ["small"]
    assert reasons(decisions) == {"large": Reason.NO_FREE_CPU}


def test_what_is_stopping_still_holds_its_resources() -> None:
    decisions = schedule(snapshot(pending("next"), holding=(holding("leaving", stopping=True),)))
    assert admitted(decisions) == []


def test_every_refusal_names_what_is_lacking() -> None:
    memory = pending("m", Amount(100, 23 * GIB))
    card = pending("g", Amount(100, 0, 1))
    with_card = replace(TWO_CORES, capacity=Amount(2000, 24 * GIB, 1))
    held = (holding("h", Amount(100, 2 * GIB, 1)),)
    assert reasons(schedule(snapshot(memory, card, holding=held, nodes=[with_card]))) == {
        "m": Reason.NO_FREE_MEMORY,
        "g": Reason.NO_FREE_GPU,
    }


def test_what_no_node_could_ever_hold_is_told_so() -> None:
    assert reasons(schedule(snapshot(pending("huge", Amount(64_000))))) == {"huge": Reason.WOULD_NEVER_FIT}
    assert reasons(schedule(snapshot(pending("card", Amount(100, 0, 1))))) == {"card": Reason.WOULD_NEVER_FIT}


def test_without_a_ready_node_everything_waits_for_one() -> None:
    lost = replace(TWO_CORES, ready=False)
    assert reasons(schedule(snapshot(pending("a"), nodes=[lost]))) == {"a": Reason.NO_READY_NODE}


def test_a_held_queue_admits_nothing() -> None:
    queues = {QUEUE: Queue(QUEUE, "clusterQueues/default", held=True)}
    assert reasons(schedule(snapshot(pending("a"), queues=queues))) == {"a": Reason.QUEUE_HELD}


def test_a_workload_that_backs_off_waits_until_its_time_has_come() -> None:
    later = pending("a", not_before=NOW + timedelta(seconds=1))
    assert reasons(schedule(snapshot(later))) == {"a": Reason.BACKING_OFF}
    assert admitted(schedule(snapshot(later, now=NOW + timedelta(seconds=1)))) == ["a"]


def test_a_quota_is_a_limit_though_the_node_has_room() -> None:
    small = {"clusterQueues/default": ClusterQueue("clusterQueues/default", {"flavors/cpu": Amount(500, 24 * GIB)})}
    decisions = schedule(snapshot(pending("a", REPLICA), holding=(holding("h", Amount(400)),), cluster_queues=small))
    assert reasons(decisions) == {"a": Reason.QUOTA_EXHAUSTED}
    never = schedule(snapshot(pending("b"), cluster_queues=small))
    assert reasons(never) == {"b": Reason.WOULD_NEVER_FIT}


def test_work_without_a_card_goes_to_a_node_without_cards_while_it_can() -> None:
    with_card = Node("nodes/gpu", "flavors/h100", Amount(8000, 64 * GIB, 1))
    decisions = schedule(snapshot(pending("a"), pending("b"), nodes=[with_card, TWO_CORES]))
    assert sorted(each.node for each in decisions if isinstance(each, Admit)) == ["nodes/a", "nodes/gpu"]
    assert decisions[0] == Admit("a", "nodes/a", "flavors/cpu")


def test_higher_priority_takes_the_place_of_lower_but_only_once() -> None:
    urgent = pending("urgent", priority=1)
    decisions = schedule(snapshot(urgent, holding=(holding("low"),)))
    assert decisions == [Preempt("low", "urgent"), Wait("urgent", Reason.WAITING_FOR_PREEMPTION)]
    decisions = schedule(snapshot(urgent, holding=(holding("low", stopping=True),)))
    assert decisions == [Wait("urgent", Reason.WAITING_FOR_PREEMPTION)]


def test_equal_priority_is_never_preempted() -> None:
    assert reasons(schedule(snapshot(pending("a"), holding=(holding("b"),)))) == {"a": Reason.NO_FREE_CPU}


def test_no_more_give_way_than_is_needed_and_the_lowest_first() -> None:
    held = (
        holding("lowest", Amount(400)),
        holding("low", Amount(1000), priority=1),
        holding("r", Amount(600), priority=2),
    )
    decisions = schedule(snapshot(pending("urgent", Amount(900), priority=9), holding=held))
    assert [each.workload for each in decisions if isinstance(each, Preempt)] == ["low"]


def test_nobody_is_stopped_where_that_would_not_help() -> None:
    held = (holding("low", Amount(100)), holding("equal", Amount(1900), priority=1))
    decisions = schedule(snapshot(pending("urgent", priority=1), holding=held))
    assert decisions == [Wait("urgent", Reason.NO_FREE_CPU)]


def test_room_that_is_being_made_is_not_given_to_somebody_else() -> None:
    held = (holding("low", TRAINER),)
    decisions = schedule(snapshot(pending("urgent", priority=1), pending("small", REPLICA), holding=held))
    assert admitted(decisions) == []
    assert reasons(decisions)["small"] is Reason.RESERVED_FOR_HIGHER_PRIORITY


AMOUNTS = st.builds(Amount, st.integers(1, 2500), st.integers(0, 30 * GIB), st.integers(0, 2))


@given(st.lists(st.tuples(AMOUNTS, st.integers(0, 3)), max_size=8), st.lists(AMOUNTS, max_size=4))
def test_nothing_is_ever_given_twice_and_everybody_gets_one_answer(
    wanted: list[tuple[Amount, int]], held: list[Amount]
) -> None:
    nodes = [TWO_CORES, Node("nodes/b", "flavors/h100", Amount(4000, 32 * GIB, 2))]
    room = TWO_CORES.capacity
    holders = []
    for index, amount in enumerate(held):
        if amount.fits_in(room):
            room = room - amount
            holders.append(holding(f"h{index}", amount))
    waiting = [pending(f"p{index}", amount, priority=rank) for index, (amount, rank) in enumerate(wanted)]
    decisions = schedule(snapshot(*waiting, holding=tuple(holders), nodes=nodes))
    answered = [each.workload for each in decisions if isinstance(each, Admit | Wait)]
    assert sorted(answered) == sorted(each.name for each in waiting)
    requests = {each.name: each.requests for each in waiting}
    for node in nodes:
        given_now = [
            requests[each.workload] for each in decisions if isinstance(each, Admit) and each.node == node.name
        ]
        before = [each.requests for each in holders if each.node == node.name]
        assert sum(given_now + before, Amount()).fits_in(node.capacity)
