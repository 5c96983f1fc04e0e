"""How long work typically takes: a regression on what is known before it begins, learnt one end at a time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

from services.gpu_scheduler.decisions.work import Workload

START = math.log2(3600.0)  # doublings of a second, before anything has ended
NOISE = 4.0  # variance of what no feature explains; this and those below in squared doublings
SWEEP = 600.0  # seconds: what one script sends comes within minutes, and lasts alike
AHEAD = 2.0  # standard deviations below what is expected: to have run for so long says nothing
ALL, SIZE, KIND, CLASS, USER = 25.0, 4.0, 4.0, 2.0, 2.0  # variance of effects of which nothing is known
SENT, PAIRS = 2.0, 8.0  # of a sweep's effect; neighbours in sweeps that say otherwise before they are believed

Effects = dict[Hashable, tuple[float, float]]  # feature → what it adds to log2 of the seconds: mean and variance
Features = tuple[tuple[Hashable, float], ...]  # each with the variance of its effect before anything is known of it


class Typical:
    """Bayesian linear regression of log2(seconds) on features that are there or not, the effects kept independent of one
    another (as Graepel et al., ICML 2010, keep them): an end moves those most that are known least.

    Who still runs longer than expected is told of too, by the truncated normal distribution: otherwise those that end
    first, the short ones, would speak for their class. How much a sweep's members have in common is itself learnt, from
    neighbours in one: where people do not send sweeps, or nobody knows who sent what, it goes to 0.
    """

    def __init__(self) -> None:
        self._of_ended: Effects = {}
        self._effects: Effects = {}  # the same, and what is learnt of those that have not ended
        self._last: dict[Hashable, float] = {}  # sweep → how far off its last member was, without what its sweep adds
        self._common, self._pairs = SENT * PAIRS, PAIRS

    def of(self, workload: Workload) -> float:
        """Doublings of a second: the median."""
        return _expected(self._effects, self._features(workload))[0]

    def ended(self, workload: Workload, seconds: float) -> None:
        features, length = self._features(workload), math.log2(max(1.0, seconds))
        self._compare(workload, length - _expected(self._of_ended, features[:-1])[0])
        for effects in (self._of_ended, self._effects):
            mean, variance = _expected(effects, features)
            _learn(effects, features, (length - mean) / variance, 1 / variance)

    def run(self, attained: Iterable[tuple[Workload, float]]) -> None:
        """All that have begun and not ended, each with its seconds so far, instead of those that were given before."""
        self._effects = dict(self._of_ended)
        for workload, seconds in attained:
            features = self._features(workload)
            mean, variance = _expected(self._effects, features)
            deviation = math.sqrt(variance)
            behind = (math.log2(max(1.0, seconds)) - mean) / deviation
            if behind > -AHEAD:
                hazard = _hazard(behind)
                _learn(self._effects, features, hazard / deviation, hazard * (hazard - behind) / variance)

    def _compare(self, workload: Workload, error: float) -> None:
        """Their covariance is the variance of what sweeps add."""
        sweep = _sweep(workload)
        if sweep in self._last:
            self._common += error * self._last[sweep]
            self._pairs += 1
        self._last[sweep] = error

    def _features(self, workload: Workload) -> Features:
        """The sweep is the last."""
        cards, kind, user = workload.requests.gpu_milli, workload.kind, (workload.queue, workload.user)
        return (
            ("", ALL),
            (cards, SIZE),
            (kind or None, KIND),
            ((kind, cards), CLASS),
            ((user, cards), USER),
            (_sweep(workload), max(0.0, self._common / self._pairs)),
        )


def _sweep(workload: Workload) -> Hashable:
    return workload.queue, workload.user, workload.requests.gpu_milli, workload.queued_at // SWEEP


def _expected(effects: Effects, features: Features) -> tuple[float, float]:
    """Mean and variance."""
    mean, variance = START, NOISE
    for feature, prior in features:
        known = effects.get(feature)
        if known is None:
            variance += prior
        else:
            mean += known[0]
            variance += known[1]
    return mean, variance


def _learn(effects: Effects, features: Features, step: float, told: float) -> None:
    """Each by its own variance: the mean by `step` times that, the variance by `told` times its square."""
    for feature, prior in features:
        if prior:
            mean, variance = effects.get(feature, (0.0, prior))
            effects[feature] = mean + variance * step, variance * (1 - variance * told)


def _hazard(deviations: float) -> float:
    """Of the standard normal distribution there: its density over what is beyond; far out, its asymptote."""
    if deviations > 6:
        return deviations + 1 / deviations
    beyond = math.erfc(deviations / math.sqrt(2)) / 2
    return math.exp(-deviations * deviations / 2) / math.sqrt(2 * math.pi) / beyond
