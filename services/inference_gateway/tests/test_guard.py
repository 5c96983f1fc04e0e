"""The guard's test: rarely wrong however often it looks, and quick where the new version is clearly worse."""

from __future__ import annotations

import numpy as np
import pytest

from services.inference_gateway.rollouts.guard import MARGINS, Count, Evidence, add, alarm, from_json, sentence, to_json

ALPHA = 0.05


def looks(random: np.random.Generator, new_share: float, old_share: float, *, count: int, measure: str) -> int | None:
    """The look at which it raises an alarm; None if it never does. A block is what came since the look before."""
    evidence = Evidence(measure)
    for look in range(count):
        new, old = int(random.integers(0, 4)), int(random.integers(0, 20))
        block = Count(int(random.binomial(new, new_share)), new), Count(int(random.binomial(old, old_share)), old)
        evidence = add(evidence, *block)
        if alarm([evidence], ALPHA):
            return look
    return None


@pytest.mark.parametrize(
    ("measure", "old_share", "worse"),
    [("errors", 0.02, 0.01), ("errors", 0.3, 0.01), ("latency", 0.1, 0.1), ("feedback", 0.2, 0.05), ("errors", 0.1, 0)],
)
def test_a_version_that_is_worse_by_no_more_than_the_margin_is_rarely_refused_though_one_looks_200_times(
    measure: str, old_share: float, worse: float
) -> None:
    random = np.random.default_rng(5)
    runs = 100
    alarms = sum(
        looks(random, old_share + worse, old_share, count=200, measure=measure) is not None for _ in range(runs)
    )
    assert alarms <= runs * ALPHA + 3 * (runs * ALPHA * (1 - ALPHA)) ** 0.5


@pytest.mark.parametrize(
    ("measure", "new_share", "old_share", "within"),
    [("errors", 0.5, 0.01, 60), ("errors", 0.15, 0.01, 300), ("latency", 0.6, 0.1, 60), ("feedback", 0.6, 0.2, 150)],
)
def test_a_version_that_is_clearly_worse_is_refused_soon(
    measure: str, new_share: float, old_share: float, within: int
) -> None:
    random = np.random.default_rng(7)
    found = [looks(random, new_share, old_share, count=within, measure=measure) for _ in range(50)]
    assert sum(look is not None for look in found) >= 45


def test_a_better_version_is_never_refused() -> None:
    random = np.random.default_rng(9)
    assert not any(looks(random, 0.0, 0.3, count=300, measure="errors") for _ in range(50))


def test_what_came_on_one_side_alone_waits_for_the_other() -> None:
    evidence = add(Evidence("errors"), Count(2, 3), Count())
    assert (evidence.log_e, evidence.new, evidence.pending_new) == (0.0, Count(), Count(2, 3))
    settled = add(evidence, Count(1, 1), Count(0, 9))
    assert (settled.new, settled.old, settled.pending_new) == (Count(3, 4), Count(0, 9), Count())


def test_evidence_survives_being_written_down() -> None:
    evidence = add(add(Evidence("latency"), Count(1, 2), Count(0, 5)), Count(3, 3), Count(0, 0))
    assert from_json(to_json(evidence)) == evidence


def test_the_sentence_says_what_was_seen_on_both_sides() -> None:
    evidence = Evidence("errors", Count(31, 1000), Count(8, 4000))
    assert sentence(evidence) == "3.1% of 1,000 answers of the new version failed, 0.2% of 4,000 of the one before"


def test_an_alarm_counts_the_measures_that_are_watched() -> None:
    strong = Evidence("errors", log_e=4.7)  # over ln(100), under ln(300)
    assert alarm([strong], 0.01) is strong
    assert alarm([strong, Evidence("latency"), Evidence("feedback")], 0.01) is None
    assert set(MARGINS) == {"errors", "latency", "feedback"}
