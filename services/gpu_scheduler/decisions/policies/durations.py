"""How long work takes, learnt from what ended: by throughput class and cards, with wider groups where that is thin.

Log-scale histograms, so that memory is bounded and an estimate costs the same after ten jobs and after a million.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from services.gpu_scheduler.decisions.work import Workload

STEP = 5  # buckets for each doubling: 15 % wide, far finer than durations can be known
FRESH = 60.0  # seconds below which an age tells nothing yet
WEIGHT = 16.0  # ended jobs after which a class stands on its own, against the wider groups
DOUBT = 1.0  # an imagined job that runs once more as long as it has, an hour at least: who ran long runs on (Lindy)
HOUR = 3600.0
REFRESH = 1.1  # an estimate holds until a tenth more jobs ended


class Histogram:
    """`buckets`: number → [how many ended in it, seconds of them all]."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, list[float]] = {}
        self.total = 0

    def add(self, seconds: float) -> None:
        bucket = self.buckets.setdefault(_bucket(seconds), [0, 0.0])
        bucket[0] += 1
        bucket[1] += seconds
        self.total += 1


class Expected(NamedTuple):
    """Normalised seconds that are left of something.

    `mean`: of all that got so far. `gittins`, his index: of all times that one might give it, the one with the fewest
    seconds for each end that it brings; small where many end soon. By it, work of unknown length is ordered so that the
    mean completion is the least there is on one machine (Gittins 1979; for training jobs Gu et al., Tiresias, NSDI 2019).
    """

    gittins: float
    mean: float


class Durations:
    """In normalised seconds: what a flavor's speed makes of them is the caller's.

    `epoch` counts how often the estimates were made anew: within one, all that was ordered by them is ordered alike.
    """

    def __init__(self) -> None:
        self._groups: dict[Hashable, Histogram] = {}
        self._known: dict[tuple[str, int, int], Expected] = {}  # class, cards, age →
        self._ended = 0
        self._next = 1.0
        self.epoch = 0

    def add(self, workload: Workload, seconds: float) -> None:
        for group, _ in _groups(workload):
            self._groups.setdefault(group, Histogram()).add(seconds)
        self._ended += 1
        if self._ended >= self._next:
            self._next = self._ended * REFRESH + 1
            self._known.clear()
            self.epoch += 1

    def seen(self, workload: Workload) -> int:
        """How many of its throughput class and size have ended."""
        group = self._groups.get((workload.kind, _size(workload)))
        return group.total if group else 0

    def of(self, workload: Workload, attained: float) -> Expected:
        """Of what got as far as `attained`."""
        age = 0 if attained < FRESH else _bucket(attained) + 1
        key = (workload.kind, workload.requests.gpu_milli, age)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _estimate(list(self._weighted(workload)), age)
        return known

    def _weighted(self, workload: Workload) -> Iterator[tuple[Histogram, float]]:
        """What ended in its own class and size counts in full, in a wider group for so many jobs in all at most."""
        for group, most in _groups(workload):
            found = self._groups.get(group)
            if found is not None:
                yield found, min(1.0, most / found.total)


def _groups(workload: Workload) -> tuple[tuple[Hashable, float], ...]:
    size = _size(workload)
    return ((workload.kind, size), math.inf), (workload.kind, WEIGHT / 2), (size, WEIGHT / 2), ((), WEIGHT / 4)


def _size(workload: Workload) -> int:
    """Doublings of cards."""
    return max(0, workload.requests.cards - 1).bit_length()


def _bucket(seconds: float) -> int:
    return int(math.log2(seconds) * STEP) if seconds > 1 else 0


def _estimate(groups: list[tuple[Histogram, float]], age: int) -> Expected:
    """Of what is left, given that the first `age` buckets are behind."""
    begun = 2 ** ((age - 0.5) / STEP) if age else 0.0
    doubt = begun + max(begun, HOUR)
    ends: dict[int, list[float]] = {max(age, _bucket(doubt)): [DOUBT, DOUBT * doubt]}
    for group, weight in groups:
        for bucket, (count, seconds) in group.buckets.items():
            if bucket >= age:
                both = ends.setdefault(bucket, [0.0, 0.0])
                both[0] += weight * count
                both[1] += weight * seconds
    total = math.fsum(count for count, _ in ends.values())
    ended = spent = 0.0
    best = math.inf
    for bucket in sorted(ends):
        count, seconds = ends[bucket]
        left = max(1.0, seconds - begun * count)
        ended += count
        spent += left
        best = min(best, (spent + (total - ended) * left / count) / ended)
    return Expected(best, spent / total)
