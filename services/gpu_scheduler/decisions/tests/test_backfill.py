from __future__ import annotations

import heapq
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit
from services.gpu_scheduler.decisions.quotas import ClusterQueue, Limit
from services.gpu_scheduler.decisions.tests.clusters import (
    NOW,
    QUEUE,
    admitted,
    cards,
    cluster,
    gpu_node,
    reasons,
    run,
    work,
)

HOUR = 3600.0


def busy() -> Cluster:
    """Eight cards: six are held for ten hours, the head wants all eight."""
    made = cluster(work("running", cards(6), max_run=10 * HOUR), nodes=[gpu_node("a")], policy="backfill")
    assert admitted(run(made)) == ["running"]
    made.submit(work("head", cards(8), age=9))
    return made


def test_what_has_ended_before_the_head_starts_may_pass_and_what_lasts_longer_may_not() -> None:
    made = busy()
    made.submit(work("long", cards(1), max_run=11 * HOUR))
    made.submit(work("short", cards(1), max_run=9 * HOUR))
    assert admitted(run(made)) == ["short"]
    assert reasons(made) == {"head": "NO_FREE_GPU", "long": "RESERVED_FOR_HIGHER_PRIORITY"}
    assert made.reservations["head"].at == NOW + 10 * HOUR


def test_of_what_nothing_is_known_nothing_is_expected() -> None:
    made = busy()
    made.submit(work("unbounded", cards(1)))
    assert admitted(run(made)) == []


def test_cards_that_the_head_does_not_need_are_anybodys() -> None:
    made = cluster(work("one", cards(8), max_run=10 * HOUR), nodes=[gpu_node("a"), gpu_node("b", 4)], policy="backfill")
    run(made)
    made.submit(work("head", cards(8), age=9))
    made.submit(work("unbounded", cards(4)))
    assert admitted(run(made)) == ["unbounded"]


def test_what_ended_teaches_how_long_its_class_lasts() -> None:
    made = busy()
    for number in range(5):
        made.policy.ended(work(f"past{number}", cards(1), kind="quick"), HOUR)
        made.policy.ended(work(f"past{number}", cards(1), kind="slow"), 20 * HOUR)
    made.submit(work("slow", cards(1), kind="slow"))
    made.submit(work("quick", cards(1), kind="quick"))
    assert admitted(run(made)) == ["quick"]


def test_a_cancelled_head_keeps_nothing() -> None:
    made = busy()
    made.submit(work("unbounded", cards(1)))
    run(made)
    made.withdraw("head")
    assert admitted(run(made)) == ["unbounded"]


def test_a_reservation_is_of_the_quota_too() -> None:
    half = ClusterQueue(QUEUE, limits={("a100", 2): Limit(8000)})
    made = cluster(
        work("running", cards(6), max_run=10 * HOUR), nodes=[gpu_node("a", 16)], queues=[half], policy="backfill"
    )
    run(made)
    made.submit(work("head", cards(8), age=9))
    made.submit(work("long", cards(2), max_run=11 * HOUR))
    made.submit(work("short", cards(2), max_run=9 * HOUR))
    assert admitted(run(made)) == ["short"]


JOBS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(1, 12), st.integers(1, 40), st.floats(0.1, 1.0)), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(JOBS)
def test_no_head_ever_starts_later_than_it_was_told(jobs: list[tuple[int, int, int, float]]) -> None:
    """Bounds are kept, and most end before theirs, which only makes it earlier."""
    made = cluster(nodes=[gpu_node("a", 8), gpu_node("b", 4)], policy="backfill")
    events = [(float(at), 0, f"j{number}", job) for number, (at, *job) in enumerate(jobs)]
    heapq.heapify(events)
    told: dict[str, float] = {}
    started = set()
    while events:
        now = events[0][0]
        while events and events[0][0] <= now:
            _, ends, name, (size, bound, _) = heapq.heappop(events)
            if ends:
                made.release(name, NOW + now)
            else:
                made.submit(work(name, cards(size), age=-now, max_run=float(bound)))
        for decision in run(made, NOW + now):
            assert isinstance(decision, Admit)
            name = decision.workload.name
            assert NOW + now <= told.get(name, math.inf) + 1e-6
            started.add(name)
            job = jobs[int(name[1:])]
            heapq.heappush(events, (now + job[2] * job[3], 1, name, list(job[1:])))
        for name, reservation in made.reservations.items():
            assert reservation.at <= told.get(name, math.inf) + 1e-6, "told a later time than before"
            told[name] = reservation.at
    assert len(started) == len(jobs)


def test_heads_within_their_own_come_before_heads_that_would_borrow_it() -> None:
    limits = {("a100", 2): Limit(8000)}
    queues = [ClusterQueue("borrower", "all"), ClusterQueue("owner", "all", limits)]
    made = cluster(
        work("old", cards(8), age=9, queue="borrower"), work("new", cards(8), queue="owner"),
        nodes=[gpu_node("a")], queues=queues, policy="backfill",
    )  # fmt: skip
    assert run(made)[0] == Admit(made.holding["new"], "a100", made.holding["new"].placement)
    assert set(made.waiting) == {"old"}, "nobody is admitted to be asked to go at once"


def test_a_head_keeps_its_reservation_while_somebody_leaves_for_another() -> None:
    made = cluster(work("low", cards(4)), nodes=[gpu_node("a")], policy="backfill")
    run(made)
    made.submit(work("head", cards(8), age=9))
    run(made)
    made.leaves("low")
    made.submit(work("unbounded", cards(4)))
    assert admitted(run(made)) == [] and made.reservations["head"].at == NOW
    made.release("low", NOW)
    assert admitted(run(made)) == ["head"]


def test_who_was_parked_for_a_head_is_looked_at_when_another_is_the_head() -> None:
    made = busy()
    made.submit(work("unbounded", cards(1)))
    assert admitted(run(made)) == []
    made.submit(work("impossible", cards(99), priority=9))
    assert admitted(run(made)) == [], "what could never start is no head"
    made.submit(work("other", cards(7), priority=8))
    assert admitted(run(made)) == ["unbounded"]


ASKED = st.sampled_from([cards(0), cards(0, 300), cards(1), cards(2), cards(3), cards(4), cards(6)])


@given(
    st.lists(st.tuples(ASKED, st.integers(1, 20)), min_size=1, max_size=12),
    st.sampled_from([cards(1), cards(2), cards(4), cards(7), cards(12)]),
    st.integers(1, 12),
)
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_the_reserved_time_is_the_first_at_which_the_head_fits(
    running: list[tuple[Amount, int]], head: Amount, quota: int
) -> None:
    nodes = [gpu_node(name, 4, gangs="local") for name in "abc"]
    queue = ClusterQueue(QUEUE, limits={("a100", 2): Limit(quota * CARD)})
    held = [work(f"r{number}", asked, max_run=hours * HOUR) for number, (asked, hours) in enumerate(running)]
    made = cluster(*held, nodes=nodes, queues=[queue], policy="backfill")
    run(made)
    for name in list(made.waiting):
        made.withdraw(name)
    made.submit(work("head", head, age=9))
    run(made)
    reserved = made.reservations.get("head")
    assert (reserved.at if reserved else None) == _first_fit(made)


def _first_fit(made: Cluster) -> float | None:
    """By trying after each end; None where it holds already, or never fits."""
    if "head" not in made.waiting:
        return None
    waits = made.waiting["head"][2]
    for each in sorted(made.holding.values(), key=lambda each: (each.max_run, each.serial)):
        made.take_out(each)
        if made.fits(waits, "a100"):
            return NOW + each.max_run
    return None
