"""The gate: may a candidate replace a baseline? A paired bootstrap over the rows that both answered.

Pairing takes out what the rows have in common, how hard each is, so that a small real difference shows
(Koehn 2004, "Statistical Significance Tests for Machine Translation Evaluation"). The interval is the percentile
interval of the resampled mean difference (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13).
Pure: rows and rules in, outcomes out; the same seed gives the same verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
RESAMPLES = 10_000
CHUNK = 1_000  # resamples held in memory at a time: a chunk of 10,000 rows takes 80 MB

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One answered row: its slice and its figures by metric, each 0 to 1."""

    slice: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Rule:
    """The lower bound of candidate minus baseline on some rows must be over `min_lower_bound`."""

    slice: str
    metric: str
    min_lower_bound: float

    def chooses(self, slice: str) -> bool:
        """`parks` chooses that slice, `!parks` all others, and empty all rows."""
        if self.slice.startswith("!"):
            return slice != self.slice[1:]
        return not self.slice or slice == self.slice


@dataclass(frozen=True)
class Outcome:
    """What became of a rule. `difference` is candidate minus baseline, with its 95 % interval."""

    rule: Rule
    passed: bool
    difference: float
    lower: float
    upper: float
    count: int
    candidate_value: float
    baseline_value: float
    reason: str


def judge(
    candidate: Mapping[str, Row], baseline: Mapping[str, Row], rules: Sequence[Rule], *, seed: int, resamples: int
) -> list[Outcome]:
    """One outcome for each rule, over the row ids that both have. The candidate passes if all of them do."""
    shared = sorted(candidate.keys() & baseline.keys())
    return [_apply(rule, candidate, baseline, shared, seed, resamples) for rule in rules]


def _apply(
    rule: Rule,
    candidate: Mapping[str, Row],
    baseline: Mapping[str, Row],
    shared: Sequence[str],
    seed: int,
    resamples: int,
) -> Outcome:
    chosen = [
        row
        for row in shared
        if rule.chooses(candidate[row].slice)
        and rule.metric in candidate[row].values
        and rule.metric in baseline[row].values
    ]
    if not chosen:
        return Outcome(rule, False, 0.0, 0.0, 0.0, 0, 0.0, 0.0, "NO_ROWS")
    new = np.array([candidate[row].values[rule.metric] for row in chosen])
    old = np.array([baseline[row].values[rule.metric] for row in chosen])
    lower, upper = interval(new - old, seed=seed, resamples=resamples)
    passed = lower > rule.min_lower_bound
    return Outcome(
        rule,
        passed,
        float(np.mean(new - old)),
        lower,
        upper,
        len(chosen),
        float(np.mean(new)),
        float(np.mean(old)),
        "" if passed else "LOWER_BOUND_TOO_LOW",
    )


def interval(values: Values, *, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of `values`, shape (rows,), by `resamples` bootstrap samples."""
    random = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        draws = random.integers(0, len(values), size=(size, len(values)))
        means[start : start + size] = values[draws].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(lower), float(upper)
