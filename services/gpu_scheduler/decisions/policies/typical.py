"""How long work typically takes: a regression on what is known before it begins, learnt one end at a time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import NamedTuple

from services.gpu_scheduler.decisions.work import Workload

START = math.log2(3600.0)  # doublings of a second, before anything has ended
NOISE = 4.0  # variance of what no feature explains; this and those below in squared doublings
SWEEP = 600.0  # seconds: what one script sends comes within minutes, and lasts alike
BEGUN = 60.0  # seconds, before which still to run says nothing
ALL, SIZE, KIND, CLASS, USER, SENT = 25.0, 4.0, 4.0, 2.0, 2.0, 2.0  # variance of effects of which nothing is known


class Effect(NamedTuple):
    """What a feature adds to log2 of the seconds, as a normal distribution."""

    mean: float
    variance: float


Effects = dict[Hashable, Effect]


class Typical:
    """Bayesian linear regression of log2(seconds) on features that are there or not, the effects kept independent of one
    another (as Graepel et al., ICML 2010, keep them): an end moves those most that are known least.

    Who still runs longer than expected is told of too, by the truncated normal distribution: otherwise those that end
    first, the short ones, would speak for their class.
    """

    def __init__(self) -> None:
        self._of_ended: Effects = {}
        self._effects: Effects = {}  # the same, and what is learnt of those that have not ended

    def of(self, workload: Workload) -> float:
        """Doublings of a second: the median."""
        known = self._effects
        return START + math.fsum(known[each].mean for each, _ in _features(workload) if each in known)

    def ended(self, workload: Workload, seconds: float) -> None:
        for effects in (self._of_ended, self._effects):
            error = math.log2(max(1.0, seconds)) - _expected(effects, workload).mean
            _learn(effects, workload, error, 1.0)

    def run(self, attained: Iterable[tuple[Workload, float]]) -> None:
        """All that have begun and not ended, each with its seconds so far, instead of those that were given before."""
        self._effects = dict(self._of_ended)
        for workload, seconds in attained:
            if seconds < BEGUN:
                continue
            expected = _expected(self._effects, workload)
            deviation = math.sqrt(expected.variance)
            behind = (math.log2(seconds) - expected.mean) / deviation
            hazard = _hazard(behind)
            _learn(self._effects, workload, deviation * hazard, hazard * (hazard - behind))


def _features(workload: Workload) -> tuple[tuple[Hashable, float], ...]:
    """Each with the variance of its effect before anything is known of it."""
    cards, kind, who = workload.requests.gpu_milli, workload.kind, (workload.queue, workload.user)
    return (
        ("", ALL),
        (cards, SIZE),
        (kind or None, KIND),
        ((kind, cards), CLASS),
        ((who, cards), USER),
        ((who, cards, workload.queued_at // SWEEP), SENT),
    )


def _expected(effects: Effects, workload: Workload) -> Effect:
    known = [effects.get(feature, Effect(0.0, prior)) for feature, prior in _features(workload)]
    return Effect(START + math.fsum(each.mean for each in known), NOISE + math.fsum(each.variance for each in known))


def _learn(effects: Effects, workload: Workload, error: float, told: float) -> None:
    """`told`: how much of the doubt an observation takes away; 1 where the length is known, less where it is a bound."""
    total = _expected(effects, workload).variance
    for feature, prior in _features(workload):
        mean, variance = effects.get(feature, Effect(0.0, prior))
        gain = variance / total
        effects[feature] = Effect(mean + gain * error, variance * (1 - gain * told))


def _hazard(deviations: float) -> float:
    """Of the standard normal distribution there: its density over what is beyond; far out, its asymptote."""
    if deviations > 6:
        return deviations + 1 / deviations
    beyond = math.erfc(deviations / math.sqrt(2)) / 2
    return math.exp(-deviations * deviations / 2) / math.sqrt(2 * math.pi) / beyond
