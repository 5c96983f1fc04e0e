from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from services.evaluation import gate

BETTER_THAN_ZERO = gate.Rule("", "exact", 0.0)


def rows(hits: list[int], slice: str = "main") -> dict[str, gate.Row]:
    return {f"{slice}-{index}": gate.Row(slice, {"exact": float(hit)}) for index, hit in enumerate(hits)}


def judge(new: dict[str, gate.Row], old: dict[str, gate.Row], *rules: gate.Rule) -> list[gate.Outcome]:
    return gate.judge(new, old, rules or [BETTER_THAN_ZERO], seed=1, resamples=4_000)


def test_the_same_answers_are_no_improvement() -> None:
    (outcome,) = judge(rows([1, 0] * 50), rows([1, 0] * 50))
    assert (outcome.passed, outcome.difference, outcome.lower, outcome.upper) == (False, 0.0, 0.0, 0.0)
    assert outcome.reason == "LOWER_BOUND_TOO_LOW"


def test_the_same_answers_do_not_hurt() -> None:
    (outcome,) = judge(rows([1, 0] * 50), rows([1, 0] * 50), gate.Rule("", "exact", -0.05))
    assert outcome.passed


def test_a_clear_gain_passes() -> None:
    (outcome,) = judge(rows([1] * 50 + [0] * 10), rows([0] * 60))
    assert outcome.passed
    assert outcome.difference == pytest.approx(50 / 60)
    assert outcome.lower < outcome.difference < outcome.upper


def test_a_gain_on_a_handful_of_rows_may_be_luck() -> None:
    (outcome,) = judge(rows([1, 0, 0, 0, 1, 0]), rows([0, 0, 0, 1, 0, 0]))
    assert not outcome.passed


def test_rows_are_paired_by_id_and_others_do_not_count() -> None:
    new, old = rows([1] * 40), rows([0] * 40)
    new["only-new"] = gate.Row("main", {"exact": 0.0})
    old["only-old"] = gate.Row("main", {"exact": 1.0})
    assert judge(new, old)[0].count == 40


def test_a_rule_chooses_a_slice_or_all_the_others() -> None:
    new = rows([1] * 30, "parks") | rows([0] * 30, "waste")
    old = rows([0] * 30, "parks") | rows([0] * 30, "waste")
    parks, rest = judge(new, old, gate.Rule("parks", "exact", 0.0), gate.Rule("!parks", "exact", -0.05))
    assert (parks.passed, parks.count, parks.difference) == (True, 30, 1.0)
    assert (rest.passed, rest.count, rest.difference) == (True, 30, 0.0)


def test_a_rule_without_rows_fails_and_says_so() -> None:
    (outcome,) = judge(rows([1]), rows([0]), gate.Rule("nowhere", "exact", 0.0))
    assert (outcome.passed, outcome.reason) == (False, "NO_ROWS")


def test_the_same_seed_gives_the_same_verdict() -> None:
    new, old = rows([1, 1, 0, 1] * 20), rows([1, 0, 0, 1] * 20)
    assert judge(new, old) == judge(new, old)


def test_the_interval_agrees_with_scipys_percentile_bootstrap() -> None:
    values = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], size=200, p=[0.1, 0.5, 0.4])
    lower, upper = gate.interval(values, seed=5)
    reference = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=10_000, rng=7).confidence_interval
    assert lower == pytest.approx(reference.low, abs=0.01)
    assert upper == pytest.approx(reference.high, abs=0.01)


def test_the_interval_holds_the_true_gain_about_nineteen_times_in_twenty() -> None:
    random = np.random.default_rng(11)
    inside = 0
    for seed in range(200):
        sample = random.choice([-1.0, 0.0, 1.0], size=120, p=[0.05, 0.65, 0.30])
        lower, upper = gate.interval(sample, seed=seed, resamples=1_000)
        inside += lower <= 0.25 <= upper
    assert 180 <= inside <= 198
