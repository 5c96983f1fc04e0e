from __future__ import annotations

from services.gpu_scheduler.decisions.policies.typical import Typical
from services.gpu_scheduler.decisions.tests.clusters import (
    admitted,
    cards,
    cluster,
    evicted,
    gpu_node,
    holds,
    run,
    work,
)

HOUR = 3600.0


def learnt(*lengths: float, sweep: float = 0.0) -> Typical:
    typical = Typical()
    for seconds in lengths:
        typical.ended(work("past", cards(1), kind="k", age=sweep), seconds)
    return typical


def test_what_ended_says_what_is_typical_of_its_class_more_than_of_others() -> None:
    typical = learnt(*[64 * HOUR] * 20)
    own, other = (2 ** typical.of(work("w", cards(1), kind=kind)) / HOUR for kind in ("k", "z"))
    assert 50 < own < 80 and 1 < other < own


def test_a_sweep_s_members_speak_for_each_other() -> None:
    typical = learnt(*[HOUR] * 20, sweep=1e6)
    typical.ended(work("first", cards(1), kind="k"), 30 * HOUR)
    same, later = typical.of(work("w", cards(1), kind="k")), typical.of(work("w", cards(1), kind="k", age=-1e6))
    assert same > later + 0.3


def test_who_runs_on_makes_its_like_longer_until_told_otherwise() -> None:
    typical = learnt(*[HOUR] * 20)
    waits = work("w", cards(1), kind="k")
    before = typical.of(waits)
    typical.run([(work(f"r{number}", cards(1), kind="k"), 40 * HOUR) for number in range(5)])
    assert typical.of(waits) > before + 0.5
    typical.run([])
    assert typical.of(waits) == before


def test_a_replica_goes_first_and_is_stopped_for_nobody_by_order_alone() -> None:
    made = cluster(nodes=[gpu_node("a", 1)], policy="hetero")
    for number in range(40):  # a budget, and short work that is known to be short
        made.submit(each := work(f"past{number}", cards(1), kind="k"))
        made.withdraw(each.name)
        made.policy.ended(each, 60.0)
    made.submit(work("short", cards(1), kind="k"))
    made.submit(work("replica", cards(1), resumes=False, serves=True))
    assert admitted(run(made)) == ["replica"]
    for later in range(1, 400, 20):
        made.rank_again()
        assert evicted(run(made, 1000.0 + later * HOUR)) == []


def test_a_replica_stops_nobody_by_order_alone() -> None:
    made = holds(cluster(nodes=[gpu_node("a", 1)], policy="hetero"), work("long", cards(1), kind="k"))
    for number in range(40):
        made.submit(each := work(f"past{number}", cards(1), kind="k"))
        made.withdraw(each.name)
        made.policy.ended(each, 100 * HOUR)
    made.submit(work("replica", cards(1), resumes=False, serves=True))
    assert evicted(run(made, 1000.0 + 2 * HOUR)) == []
