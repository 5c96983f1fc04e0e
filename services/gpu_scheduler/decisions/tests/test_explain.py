from __future__ import annotations

import math
import random

import pytest

from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.explain import explain, sentence
from services.gpu_scheduler.decisions.quotas import ClusterQueue
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.decisions.tests.clusters import GIB, NOW, cards, cluster, gpu_node, holds, run, work
from services.gpu_scheduler.decisions.work import Workload


def clock(time: float) -> str:
    return f"{time - NOW:+.0f} s"


def test_what_waits_for_cards_says_how_many_are_free_and_whose_end_it_waits_for() -> None:
    made = cluster(nodes=[gpu_node("a"), gpu_node("b")])
    holds(made, work("long", cards(6)), work("412", cards(2), max_run=1200.0), work("413", cards(6), max_run=600.0))
    made.submit(work("first", cards(8)))
    made.submit(work("eight", cards(8)))
    run(made)
    found = explain(made, "eight", NOW)
    assert (found.reason, found.position, found.free, found.most) == (Reason.NO_FREE_GPU, 2, 2, 2)
    assert found.earliest == NOW + 600
    said = sentence(found, made.waiting["eight"][2], lambda name: f"trainer {name}", clock)
    assert said == (
        "Needs 8 × a100 on one node; 2 free, at most 2 on one node, "
        "6 free at +600 s at the latest, when trainer 413 ends; position 2 in q."
    )


def test_whom_one_may_not_name_is_another_workload_and_without_known_ends_no_time_is_told() -> None:
    made = holds(cluster(nodes=[gpu_node("a")]), work("secret", cards(8), max_run=60.0))
    made.submit(work("one", cards(1)))
    run(made)
    said = sentence(explain(made, "one", NOW), made.waiting["one"][2], lambda _: "", clock)
    assert "when another workload ends" in said and "secret" not in said
    made = holds(cluster(nodes=[gpu_node("a")]), work("endless", cards(8)))
    made.submit(work("one", cards(1)))
    run(made)
    assert explain(made, "one", NOW).earliest is None
    assert len(made.holding) == 1 and made.place(made.waiting["one"][2], "a100") is None, "the books are as before"


@pytest.mark.parametrize("policy", ["backfill", "hetero"])
def test_where_no_longest_run_was_given_the_end_is_what_such_work_took_before_and_is_called_an_estimate(
    policy: str,
) -> None:
    made = cluster(nodes=[gpu_node("a")], policy=policy)
    for _ in range(200):
        made.policy.ended(work("past", cards(8), kind="bert"), 600.0)
    holds(made, work("now", cards(8), kind="bert"))
    made.submit(work("one", cards(1)))
    run(made)
    found = explain(made, "one", NOW)
    assert found.is_estimate
    assert found.earliest is not None and NOW + 300 < found.earliest < NOW + 3600
    assert [step.guessed for step in found.ends] == [True]
    assert "by estimate, when trainer now ends" in sentence(
        found, made.waiting["one"][2], lambda _: "trainer now", clock
    )


ASKED = (cards(1), cards(2), cards(8), cards(20), cards(0, 500), Amount(9000, 40 * GIB), Amount(100, 200 * GIB))


@pytest.mark.parametrize("seed", range(12))
def test_position_and_the_ends_it_waits_for_are_those_of_a_look_at_everybody_after_each_end(seed: int) -> None:
    dice = random.Random(seed)
    made = cluster(
        nodes=[gpu_node(f"n{number}") for number in range(4)],
        queues=[ClusterQueue("q"), ClusterQueue("other")],
        policy=("best-effort", "backfill", "hetero")[seed % 3],
    )
    for round in range(6):
        for number in range(12):
            made.submit(
                work(
                    f"{round}-{number}", dice.choice(ASKED), age=dice.randrange(500), queue=dice.choice(("q", "other")),
                    priority=dice.randrange(3), max_run=dice.choice((0.0, 60.0, 600.0 + dice.randrange(900))),
                )
            )  # fmt: skip
        run(made)
        for name in dice.sample(sorted(made.waiting), min(2, len(made.waiting))):
            made.withdraw(name)
        for name in dice.sample(sorted(made.holding), min(3, len(made.holding))):
            made.release(name, NOW)
        for name, entry in made.waiting.items():
            found = explain(made, name, NOW)
            ahead = [each for each in made.waiting.values() if each[2].queue == entry[2].queue and each[:2] < entry[:2]]
            assert found.position == len(ahead) + 1
            if found.reason in (Reason.NO_FREE_GPU, Reason.NO_FREE_CPU, Reason.NO_FREE_MEMORY):
                assert [step.workload for step in found.ends] == ends_by_trial(made, entry[2], found.flavor)


def ends_by_trial(made: Cluster, workload: Workload, flavor: str) -> list[str]:
    held = [each for each in made.holding.values() if each.flavor == flavor and not each.leaving]
    ends = sorted((made.policy.expects(each, NOW, each.speed), each.serial, each) for each in held)
    gone: list[Workload] = []
    for seconds, _, each in ends:
        if math.isfinite(seconds) and (not gone or made.place(workload, flavor) is None):
            made.take_out(each)
            gone.append(each)
    fits = made.place(workload, flavor) is not None
    for each in gone:
        made.put_back(each)
    return [each.name for each in gone] if fits else []
