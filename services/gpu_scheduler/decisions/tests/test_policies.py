from __future__ import annotations

import math
from collections import Counter

import pytest

from services.gpu_scheduler.decisions.policies import POLICIES
from services.gpu_scheduler.decisions.policies.base import Speeds
from services.gpu_scheduler.decisions.policies.durations import Durations
from services.gpu_scheduler.decisions.policies.patience import WEEK
from services.gpu_scheduler.decisions.quotas import ClusterQueue, Limit
from services.gpu_scheduler.decisions.tests.clusters import (
    NOW,
    QUEUE,
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

HOUR = 3600.0
DAY = 24 * HOUR
UNLIKE = Speeds(
    {
        ("conv", 1): {"old": 0.2, "new": 1.0},
        ("table", 1): {"old": 0.9, "new": 1.0},
        ("other", 1): {"old": 0.3, "new": 1.0},
    }
)


def two_flavors(policy: str, *waiting: object, **values: object):  # type: ignore[no-untyped-def]
    nodes = [gpu_node("n", 1, "new"), gpu_node("o", 1, "old")]
    return cluster(*waiting, nodes=nodes, policy=policy, speeds=UNLIKE, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["las", "hetero"])
def test_each_goes_where_it_loses_least(policy: str) -> None:
    made = two_flavors(policy, work("table", cards(1), kind="table"), work("conv", cards(1), kind="conv"))
    assert {each.workload.name: each.flavor for each in run(made)} == {"table": "old", "conv": "new"}  # type: ignore[union-attr]


def test_what_would_only_crawl_there_waits_for_a_card_that_suits_it() -> None:
    made = two_flavors("hetero", work("one", cards(1), kind="conv"), work("two", cards(1), kind="conv"))
    assert admitted(run(made)) == ["one"] and reasons(made) == {"two": "NO_FREE_GPU"}


def test_work_moves_to_a_better_card_when_that_comes_free_and_pays() -> None:
    made = two_flavors("hetero")
    for number in range(20):  # a budget, and what there is to know about durations
        made.submit(each := work(f"past{number}", cards(1), kind="other"))
        made.withdraw(each.name)
        made.policy.ended(each, 40 * HOUR)
    made.submit(work("first", cards(1), kind="other"))
    run(made)
    made.submit(work("second", cards(1), kind="other", flavors=("old",)))
    made.submit(work("third", cards(1), kind="other"))
    assert [each.flavor for each in run(made)] == ["old"]  # type: ignore[union-attr]
    made.release("second", NOW)
    made.admit(made.waiting["third"][2], "old", made.place(made.waiting["third"][2], "old") or (), NOW)
    made.release("first", NOW + HOUR)
    assert evicted(run(made, NOW + HOUR)) == [("third", "third", "BETTER_CARD")]
    made.submit(made.release("third", NOW + HOUR))
    assert [(each.workload.name, each.flavor) for each in run(made, NOW + HOUR)] == [("third", "new")]  # type: ignore[union-attr]


def test_who_was_to_move_and_ended_instead_leaves_nothing_promised() -> None:
    test = two_flavors("hetero")
    holds(test, work("only", cards(1), kind="other", flavors=("old", "new")))
    test.take_out(test.holding["only"])
    placement = test.place(test.holding["only"], "new")
    assert placement is not None
    test.promise(test.holding["only"], "new", placement, [test.holding["only"]], "BETTER_CARD", NOW)
    test.release("only", NOW)
    test.submit(work("next", cards(1), kind="conv"))
    assert admitted(run(test)) == ["next"]


def test_las_stops_those_of_a_lower_queue_and_nobody_of_its_own() -> None:
    made = holds(cluster(nodes=[gpu_node("a", 1)], policy="las"), work("old", cards(1)))
    made.submit(work("fresh", cards(1)))
    assert run(made, NOW + 0.5 * HOUR) == []
    made.rank_again()
    assert evicted(run(made, NOW + 2 * HOUR)) == [("old", "fresh", "LEAST_SERVED")]


def test_hetero_stops_who_needs_far_more_but_not_without_a_budget() -> None:
    for arrivals, stopped in ((0, []), (400, [("long", "quick", "SHORTER")])):
        made = cluster(nodes=[gpu_node("a", 1)], policy="hetero")
        for number in range(arrivals):
            made.submit(each := work(f"past{number}", cards(1), kind="quick" if number % 2 else "long"))
            made.withdraw(each.name)
        for _ in range(30):
            made.policy.ended(work("past", cards(1), kind="quick"), 0.1 * HOUR)
            made.policy.ended(work("past", cards(1), kind="long"), 40 * HOUR)
        holds(made, work("long", cards(1), kind="long"))
        made.submit(work("quick", cards(1), kind="quick"))
        assert evicted(run(made, NOW + HOUR)) == stopped


def test_nobody_of_higher_priority_is_stopped_for_being_long() -> None:
    made = cluster(nodes=[gpu_node("a", 1)], policy="las")
    holds(made, work("important", cards(1), priority=1))
    made.submit(work("fresh", cards(1)))
    assert run(made, NOW + 500 * HOUR) == []


@pytest.mark.parametrize("policy", ["fair", "las", "hetero"])
def test_a_gang_does_not_wait_for_ever_while_small_jobs_keep_coming(policy: str) -> None:
    """Each takes an hour, and there is always another: the node is never free by itself."""
    made = cluster(work("gang", cards(8)), work("first", cards(1), age=1), nodes=[gpu_node("a")], policy=policy)
    holding = {"first"}
    holds(made, made.waiting["first"][2])
    number, now = 0, NOW
    while "gang" in made.waiting and now < NOW + WEEK + DAY:
        now += HOUR / 8
        for name in [each for each in holding if now - made.holding[each].admitted_at >= HOUR]:
            made.policy.ended(made.release(name, now), HOUR)
            holding.discard(name)
        while len(made.waiting) < 10:
            number += 1
            made.submit(work(f"j{number}", cards(1), age=NOW - now))
        decisions = run(made, now)
        for who, _, _ in evicted(decisions):
            made.submit(made.release(who, now))
            holding.discard(who)
        holding |= {name for name in admitted(decisions) if name != "gang"}
        made.rank_again()
    assert "gang" in made.holding, "it waited for more than a week and a day"


def test_learnt_durations_are_near_and_what_ran_long_is_expected_to_run_on() -> None:
    known = Durations()
    for number in range(200):
        known.add(work("w", cards(1), kind="k"), HOUR if number % 4 else 40 * HOUR)
    fresh, old = known.of(work("w", cards(1), kind="k"), 0.0), known.of(work("w", cards(1), kind="k"), 2 * HOUR)
    assert fresh.mean == pytest.approx((3 * HOUR + 40 * HOUR) / 4, rel=0.15)
    assert fresh.gittins == pytest.approx(HOUR * 4 / 3, rel=0.15), "after an hour three of four have ended"
    assert old.mean == pytest.approx(38 * HOUR, rel=0.2)


def test_a_class_that_is_new_is_thought_of_as_like_the_others_of_its_size() -> None:
    known = Durations()
    for _ in range(50):
        known.add(work("w", cards(8), kind="a"), HOUR)
        known.add(work("w", cards(1), kind="b"), 100 * HOUR)
    new, wide = known.of(work("w", cards(1), kind="c"), 0.0), known.of(work("w", cards(8), kind="c"), 0.0)
    assert wide.mean < new.mean / 3


def test_every_policy_says_nothing_about_a_cluster_without_work() -> None:
    for name in POLICIES:
        made = cluster(nodes=[gpu_node("a")], policy=name)
        assert run(made) == [] and math.isfinite(made.policy.looks_again)
        assert Counter(name for name in made.reservations) == Counter()


@pytest.mark.parametrize("policy", ["las", "hetero"])
def test_nobody_waits_for_a_better_card_that_its_queue_never_gets(policy: str) -> None:
    quotas = ClusterQueue(QUEUE, limits={("new", 2): Limit(0), ("old", 2): Limit(1000)})
    made = two_flavors(policy, work("conv", cards(1), kind="conv"), queues=[quotas])
    assert [each.flavor for each in run(made)] == ["old"]  # type: ignore[union-attr]


def test_who_is_stopped_may_be_of_a_queue_that_shares_no_cohort() -> None:
    limits = {("a100", 2): Limit(1000)}
    queues = [ClusterQueue("mine", limits=limits), ClusterQueue("theirs", limits=limits)]
    made = holds(cluster(nodes=[gpu_node("a", 1)], queues=queues, policy="las"), work("old", cards(1), queue="theirs"))
    made.submit(work("fresh", cards(1), queue="mine"))
    assert evicted(run(made, NOW + 2 * HOUR)) == [("old", "fresh", "LEAST_SERVED")]
    made.submit(made.release("old", NOW + 2 * HOUR))
    assert admitted(run(made, NOW + 2 * HOUR)) == ["fresh"]
