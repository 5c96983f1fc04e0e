from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.places import Node
from services.gpu_scheduler.decisions.promise import Promise
from services.gpu_scheduler.decisions.quotas import ClusterQueue, Limit
from services.gpu_scheduler.decisions.reasons import Reason, Rule
from services.gpu_scheduler.decisions.tests.clusters import (
    GIB,
    NOW,
    QUEUE,
    REPLICA,
    TWO_CORES,
    admitted,
    cards,
    cluster,
    evicted,
    gpu_node,
    holds,
    reasons,
    run,
    work,
)


def test_a_trainer_fits_beside_a_replica_on_two_cores_and_a_second_trainer_waits_for_cpu() -> None:
    made = cluster(work("one", age=2), work("two", age=1))
    holds(made, work("r", REPLICA))
    assert admitted(run(made)) == ["one"]
    assert reasons(made) == {"two": Reason.NO_FREE_CPU}


def test_higher_priority_goes_first_and_among_equals_the_older_one() -> None:
    assert admitted(run(cluster(work("old", age=9), work("new"), work("urgent", priority=5)))) == ["urgent"]
    assert admitted(run(cluster(work("new"), work("old", age=9)))) == ["old"]


def test_what_is_for_one_flavor_runs_there_and_nowhere_else() -> None:
    other = Node("b", "big", Amount(2000, 24 * GIB))
    assert [each.flavor for each in run(cluster(work("one", flavors=("big",)), nodes=[TWO_CORES, other]))] == ["big"]  # type: ignore[union-attr]
    alone = cluster(work("one", flavors=("big",)))
    assert run(alone) == [] and reasons(alone) == {"one": Reason.NO_READY_NODE}


def test_what_is_for_one_flavor_preempts_nobody_elsewhere() -> None:
    made = cluster(nodes=[TWO_CORES, Node("b", "big", Amount(2000, 24 * GIB))])
    holds(made, work("a"), work("b", flavors=("big",)))
    made.submit(work("urgent", priority=9, flavors=("big",)))
    assert evicted(run(made)) == [("b", "urgent", Rule.HIGHER_PRIORITY)]


def test_a_small_workload_steps_over_a_large_one_that_does_not_fit_but_not_where_order_is_strict() -> None:
    for policy, through in (("best-effort", ["small"]), ("fifo", [])):
        made = holds(cluster(policy=policy), work("t"))
        made.submit(work("large", age=9))
        made.submit(work("small", REPLICA))
        assert admitted(run(made)) == through
        assert reasons(made)["large"] == Reason.NO_FREE_CPU


def test_what_is_leaving_holds_its_place_until_it_is_gone() -> None:
    made = holds(cluster(), work("low"))
    made.submit(work("urgent", priority=1))
    assert evicted(run(made)) == [("low", "urgent", Rule.HIGHER_PRIORITY)]
    assert run(made) == [] and reasons(made) == {"urgent": Reason.WAITING_FOR_PREEMPTION}
    made.submit(made.release("low", NOW))
    assert admitted(run(made)) == ["urgent"]
    assert reasons(made) == {"low": Reason.NO_FREE_CPU}


def test_room_that_is_being_made_is_not_given_to_somebody_else() -> None:
    made = holds(cluster(), work("low"))
    made.submit(work("urgent", priority=1))
    run(made)
    made.submit(work("small", Amount(600)))
    assert run(made) == [] and reasons(made)["small"] == Reason.RESERVED_FOR_HIGHER_PRIORITY
    made.submit(work("tiny", Amount(500)))
    assert admitted(run(made)) == ["tiny"], "it fits beside what is promised"


def test_a_cancelled_preemptor_leaves_no_promise_behind() -> None:
    made = holds(cluster(), work("low"))
    made.submit(work("urgent", priority=1))
    run(made)
    made.withdraw("urgent")
    made.submit(work("next"))
    assert admitted(run(made)) == [], "what leaves has not left yet"
    made.release("low", NOW)
    assert admitted(run(made)) == ["next"]


def test_every_refusal_names_what_is_lacking() -> None:
    with_card = Node("a", "cpu", Amount(2000, 24 * GIB, CARD))
    made = holds(cluster(nodes=[with_card]), work("h", Amount(100, 2 * GIB, CARD)))
    made.submit(work("m", Amount(100, 23 * GIB)))
    made.submit(work("g", Amount(100, 0, CARD)))
    made.submit(work("huge", Amount(64_000)))
    run(made)
    assert reasons(made) == {"m": Reason.NO_FREE_MEMORY, "g": Reason.NO_FREE_GPU, "huge": Reason.WOULD_NEVER_FIT}


def test_without_a_ready_node_everything_waits_for_one() -> None:
    made = cluster(work("a"), nodes=[Node("a", "cpu", Amount(2000, GIB), ready=False)])
    assert run(made) == [] and reasons(made) == {"a": Reason.NO_READY_NODE}


def test_a_quota_is_a_limit_though_the_node_has_room() -> None:
    small = ClusterQueue(QUEUE, limits={("cpu", 0): Limit(500), ("cpu", 1): Limit(24 * GIB)})
    made = holds(cluster(queues=[small]), work("h", Amount(400)))
    made.submit(work("a", REPLICA))
    made.submit(work("b"))
    run(made)
    assert reasons(made) == {"a": Reason.QUOTA_EXHAUSTED, "b": Reason.WOULD_NEVER_FIT}


def test_work_without_a_card_goes_to_a_node_without_cards_while_it_can() -> None:
    made = cluster(work("a"), work("b"), nodes=[Node("gpu", "cpu", Amount(8000, 64 * GIB, CARD)), TWO_CORES])
    assert [each.placement[0].node for each in run(made)] == ["a", "gpu"]  # type: ignore[union-attr]


def test_equal_priority_is_never_preempted() -> None:
    made = holds(cluster(), work("b"))
    made.submit(work("a"))
    assert run(made) == []


def test_no_more_give_way_than_is_needed_and_the_lowest_first() -> None:
    made = holds(
        cluster(),
        work("lowest", Amount(400)),
        work("low", Amount(1000), priority=1),
        work("r", Amount(600), priority=2),
    )
    made.submit(work("urgent", Amount(900), priority=9))
    assert [who for who, _, _ in evicted(run(made))] == ["low"]


def test_nobody_is_stopped_where_that_would_not_help() -> None:
    made = holds(cluster(), work("low", Amount(100)), work("equal", Amount(1900), priority=1))
    made.submit(work("urgent", priority=1))
    assert run(made) == []


def test_a_gang_is_placed_on_one_node_if_one_has_room_else_on_whole_nodes_and_a_rest_or_not_at_all() -> None:
    nodes = [gpu_node("a"), gpu_node("b"), gpu_node("c")]
    made = holds(cluster(nodes=nodes), work("busy", cards(1)))
    made.submit(work("gang", cards(12)))
    made.submit(work("eight", cards(8)))
    made.submit(work("too many", cards(20)))
    shares = {each.workload.name: [(s.node, len(s.cards)) for s in each.placement] for each in run(made)}  # type: ignore[union-attr]
    assert shares == {"gang": [("b", 8), ("a", 4)], "eight": [("c", 8)]}, "the rest goes where it leaves nodes whole"
    made.release("gang", NOW)
    assert run(made) == [], "twenty are not begun with fifteen"


def test_cards_of_one_link_group_are_taken_together() -> None:
    node = gpu_node("a", links=(0, 0, 0, 0, 1, 1, 1, 1))
    made = holds(cluster(nodes=[node]), work("one", cards(1)))
    made.submit(work("two", cards(2)))
    made.submit(work("four", cards(4)))
    got = {each.workload.name: [index for index, _ in each.placement[0].cards] for each in run(made)}  # type: ignore[union-attr]
    assert got == {"two": [1, 2], "four": [4, 5, 6, 7]}


def test_shares_of_a_card_fill_one_card_before_the_next() -> None:
    made = cluster(*(work(f"s{i}", cards(0, 400)) for i in range(3)), nodes=[gpu_node("a", 2)])
    assert [each.placement[0].cards for each in run(made)] == [((0, 400),), ((0, 400),), ((1, 400),)]  # type: ignore[union-attr]
    made.submit(work("whole", cards(1)))
    assert run(made) == [] and reasons(made) == {"whole": Reason.NO_FREE_GPU}


AMOUNTS = st.builds(
    Amount, st.integers(1, 2500), st.integers(0, 30 * GIB), st.sampled_from([0, 0, 250, 500, CARD, 2 * CARD, 3 * CARD])
)


@given(st.lists(st.tuples(AMOUNTS, st.integers(0, 3)), max_size=8), st.lists(AMOUNTS, max_size=4))
def test_nothing_is_ever_given_twice_and_everybody_has_one_answer(
    wanted: list[tuple[Amount, int]], held: list[Amount]
) -> None:
    nodes = [TWO_CORES, gpu_node("b", 2, "h100"), gpu_node("c", 2, "h100")]
    made = cluster(nodes=nodes)
    for number, amount in enumerate(held):
        made.submit(work(f"h{number}", amount))
    run(made)
    for number, (amount, rank) in enumerate(wanted):
        made.submit(work(f"p{number}", amount, priority=rank))
    run(made)
    assert len(made.holding) + len(made.waiting) == len(held) + len(wanted)
    _check_nodes(made, nodes)


def test_what_a_victim_holds_beyond_what_is_promised_is_nobodys_until_it_is_gone() -> None:
    made = holds(cluster(nodes=[gpu_node("a", 2)]), work("low", cards(2)))
    made.submit(work("urgent", cards(1), priority=1))
    made.submit(work("next", cards(1)))
    assert evicted(run(made)) == [("low", "urgent", Rule.HIGHER_PRIORITY)] and "next" in made.waiting
    made.release("low", NOW)
    assert admitted(run(made)) == ["urgent", "next"]


def _check_nodes(made: Cluster, nodes: list[Node]) -> None:
    for node in nodes:
        shares = [s for each in made.holding.values() for s in each.placement if s.node == node.name]
        total = Amount(*(sum(kind) for kind in zip(*(s.amount for s in shares), strict=True))) if shares else Amount()
        assert total.fits_in(node.capacity)
        by_card: dict[int, int] = {}
        for share in shares:
            for index, milli in share.cards:
                by_card[index] = by_card.get(index, 0) + milli
        assert all(milli <= CARD for milli in by_card.values())


def test_what_was_promised_waits_where_a_quota_was_lowered_until_all_who_leave_are_gone() -> None:
    """Nobody left in vain, and nothing goes beyond the quota that there is now."""
    limited = [ClusterQueue(QUEUE, limits={("a100", 2): Limit(2000)})]
    wide = [ClusterQueue(QUEUE, limits={("a100", 2): Limit(4000)})]
    before = holds(cluster(nodes=[gpu_node("a", 4)], queues=wide), *(work(f"low{n}", cards(2)) for n in (0, 1)))
    before.submit(work("urgent", cards(2), priority=9))
    ((victim, _, _),) = evicted(run(before))
    (other,) = before.holding.keys() - {victim}
    promise = before.promises["urgent"]

    made = cluster(nodes=[gpu_node("a", 4)], queues=limited)
    for name in (victim, other):
        held = before.holding[name]
        made.restore(work(name, cards(2)), "a100", held.placement, NOW)
    made.leaves(other)  # cancelled
    made.submit(work("urgent", cards(2), priority=9))
    leaving = {victim: made.holding[victim]}
    again = Promise(made.waiting["urgent"][2], "a100", promise.placement, {}, leaving, promise.rule, NOW)
    assert made.keep([again]) == []
    made.release(victim, NOW)
    assert admitted(run(made)) == [], "other still holds all of the quota"
    made.release(other, NOW)
    assert admitted(run(made)) == ["urgent"]


def test_what_a_queue_never_lends_is_no_reason_to_ask_another_to_go_for_each_that_takes_back_the_rest() -> None:
    """Its own beyond that comes back one by one, as those leave who have it, and no more of them are asked."""
    queues = [
        ClusterQueue("mine", "all", {("a100", 2): Limit(10_000, lending=4000)}),
        ClusterQueue("theirs", "all", {("a100", 2): Limit(5000)}),
    ]
    made = cluster(nodes=None, queues=queues)
    holds(made, *(work(f"lent{n}", cards(1), queue="theirs") for n in range(9)))
    for number in range(10):
        made.submit(work(f"own{number}", cards(1), queue="mine"))
    leaving = [victim for victim, _, _ in evicted(run(made))]
    assert len(leaving) == 4
    for number, victim in enumerate(leaving):
        made.release(victim, NOW)
        assert admitted(run(made)) == [f"own{6 + number}"]


def test_a_queue_takes_back_its_own_of_one_flavor_though_it_borrows_much_of_another() -> None:
    queues = [
        ClusterQueue("mine", "all", {("a100", 2): Limit(1000)}),
        ClusterQueue("theirs", "all", {("h100", 2): Limit(4000)}),
    ]
    made = cluster(nodes=None, queues=queues, policy="fair")
    holds(made, work("lent", cards(1), queue="theirs", flavors=("a100",)))
    holds(made, work("borrowed", cards(4), queue="mine", flavors=("h100",)))
    made.submit(work("owner", cards(1), queue="mine", flavors=("a100",)))
    assert evicted(run(made)) == [("lent", "owner", Rule.RECLAIM)]
