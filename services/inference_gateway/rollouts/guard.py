"""Is the new version worse than the one before? A test that may be looked at as often as one likes.

For each measure (answers that failed, that were slow, that people disliked) an e-process bets against "the new version
is worse by at most a margin". Each block of new counts multiplies the e-value by the likelihood ratio of the alternative
that the counts before it suggest, against the member of the null hypothesis that is closest to it in Kullback-Leibler
divergence. Under the null the e-value's expectation is never over 1, so that the chance that it ever reaches 1/alpha is
at most alpha, whenever one looks and stops (Ville's inequality; Turner, Ly and Grünwald 2024, "Generic E-variables for
exact sequential k-sample tests that allow for optional stopping", Journal of Statistical Planning and Inference 230).
Pure: counts in, evidence out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

FALSE_ALARM = 0.01  # over a whole rollout, all measures together
MARGINS: Mapping[str, float] = {"errors": 0.01, "latency": 0.10, "feedback": 0.05}  # worse by so much is borne
SLOW_SHARE = 0.1  # slow is what is slower than nine in ten answers of the version before
ENOUGH = 50  # answers of the version before from which that is read
HIGHEST = 700.0  # of a logarithm: e to it is still a float


@dataclass(frozen=True)
class Count:
    """`bad` of `all`."""

    bad: int = 0
    all: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.bad + other.bad, self.all + other.all)

    @property
    def share(self) -> float:
        return self.bad / self.all if self.all else 0.0


@dataclass(frozen=True)
class Evidence:
    """What is known by one measure. `new` and `old` are settled; pending ones wait until both sides have some."""

    measure: str
    new: Count = field(default_factory=Count)
    old: Count = field(default_factory=Count)
    pending_new: Count = field(default_factory=Count)
    pending_old: Count = field(default_factory=Count)
    log_e: float = 0.0

    @property
    def e_value(self) -> float:
        return math.exp(min(self.log_e, HIGHEST))


def add(evidence: Evidence, new: Count, old: Count) -> Evidence:
    """Takes in what came since the last look."""
    new, old = evidence.pending_new + new, evidence.pending_old + old
    if not (new.all and old.all):
        return replace(evidence, pending_new=new, pending_old=old)
    bet = _log_ratio(_estimate(evidence.new), _estimate(evidence.old), new, old, MARGINS[evidence.measure])
    return replace(
        evidence,
        new=evidence.new + new,
        old=evidence.old + old,
        pending_new=Count(),
        pending_old=Count(),
        log_e=evidence.log_e + bet,
    )


def alarm(evidences: Sequence[Evidence], false_alarm: float) -> Evidence | None:
    """The measure that says no, if any does; the chance of a wrong no is shared out among the measures."""
    level = math.log(len(evidences) / false_alarm) if evidences else 0.0
    return next((each for each in evidences if each.log_e >= level), None)


def sentence(evidence: Evidence) -> str:
    """For people: what was seen, on both sides."""
    what = {"errors": "failed", "latency": "were slow", "feedback": "were disliked"}[evidence.measure]
    of = "rated answers" if evidence.measure == "feedback" else "answers"
    new, old = evidence.new, evidence.old
    return (
        f"{new.share:.1%} of {new.all:,} {of} of the new version {what}, "
        f"{old.share:.1%} of {old.all:,} of the one before"
    )


def to_json(evidence: Evidence) -> dict[str, Any]:
    return asdict(evidence)


def from_json(values: Mapping[str, Any]) -> Evidence:
    counts = {name: Count(**values[name]) for name in ("new", "old", "pending_new", "pending_old")}
    return Evidence(measure=values["measure"], log_e=values["log_e"], **counts)


def _estimate(count: Count) -> float:
    """Of the share of bad ones, never 0 or 1 (Krichevsky and Trofimov's: half of one added to each side)."""
    return (count.bad + 0.5) / (count.all + 1)


def _log_ratio(new_share: float, old_share: float, new: Count, old: Count, margin: float) -> float:
    """Of the block's likelihood under (new_share, old_share) to that under the closest null; 0 where there is no bet."""
    if new_share <= old_share + margin:
        return 0.0
    null = _closest_null(new_share, old_share, new.all, old.all, margin)
    return (
        _log_likelihood(new_share, new)
        + _log_likelihood(old_share, old)
        - _log_likelihood(null + margin, new)
        - _log_likelihood(null, old)
    )


def _closest_null(new_share: float, old_share: float, new_all: int, old_all: int, margin: float) -> float:
    """The old version's share x at which (x + margin, x) is closest to the alternative: the divergence is convex in x,
    and its derivative changes sign between the two shares.
    """
    low, high = max(old_share, 1e-9), min(new_share - margin, 1 - margin - 1e-9)
    for _ in range(60):
        x = (low + high) / 2
        y = x + margin
        slope = old_all * (x - old_share) / (x * (1 - x)) + new_all * (y - new_share) / (y * (1 - y))
        low, high = (low, x) if slope > 0 else (x, high)
    return (low + high) / 2


def _log_likelihood(share: float, count: Count) -> float:
    return count.bad * math.log(share) + (count.all - count.bad) * math.log1p(-share)
