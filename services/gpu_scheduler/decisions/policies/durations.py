"""How long work takes: what is typical of it, times how far off that was for those that ended.

How far off is kept by throughput class and cards, with wider groups where that is thin. Log-scale histograms, so that an
estimate costs the same after ten jobs and after a million.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

from services.gpu_scheduler.decisions.policies.typical import Typical
from services.gpu_scheduler.decisions.work import Workload

STEP = 5  # buckets for each doubling: 15 % wide, far finer than durations can be known
SMALL = 2.0**-6  # of what is typical: an age below that tells nothing yet
WEIGHT = 16.0  # ended jobs after which a class stands on its own, against the wider groups
IMAGINED = 0.5  # jobs at each doubling from a sixteenth of what is typical to sixteen times that
DOUBT = 1.0  # an imagined job that runs once more as long as it has: who ran long runs on (Lindy)
LEAST = 1e-6  # of what is typical
REFRESH = 1.1  # an estimate holds until a tenth more jobs ended


class Histogram:
    """Of ratios to what was typical. `buckets`: number → [how many ended in it, their sum]."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, list[float]] = {}
        self.total = 0.0

    def add(self, ratio: float, times: float = 1.0) -> None:
        bucket = self.buckets.setdefault(_bucket(ratio), [0.0, 0.0])
        bucket[0] += times
        bucket[1] += times * ratio
        self.total += times


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
        self._typical = Typical()
        self._known: dict[tuple[str, int, int | None], Expected] = {}  # class, cards, age → over what is typical
        self._ended = 0
        self._next = 1.0
        self.epoch = 0

    def add(self, workload: Workload, seconds: float) -> None:
        ratio = seconds / 2 ** self._typical.of(workload)
        self._typical.ended(workload, seconds)
        for group, _ in _groups(workload):
            self._groups.setdefault(group, Histogram()).add(ratio)
        self._ended += 1
        if self._ended >= self._next:
            self._next = self._ended * REFRESH + 1
            self._known.clear()
            self.epoch += 1

    def watch(self, begun: Iterable[Workload], now: float) -> None:
        """All that have begun and not ended; asked for every now and then, it costs as much as there are."""
        self._typical.run((each, each.attained(now)) for each in begun)

    def seen(self, workload: Workload) -> float:
        """How many of its throughput class and size have ended."""
        group = self._groups.get((workload.kind, _size(workload)))
        return group.total if group else 0

    def of(self, workload: Workload, attained: float) -> Expected:
        """Of what got as far as `attained`."""
        typical = 2 ** (round(self._typical.of(workload) * STEP) / STEP)
        age = _bucket(attained / typical) + 1 if attained > SMALL * typical else None
        key = (workload.kind, workload.requests.gpu_milli, age)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _estimate(list(self._weighted(workload)), age)
        return Expected(known.gittins * typical, known.mean * typical)

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


def _bucket(ratio: float) -> int:
    return math.floor(math.log2(max(ratio, LEAST)) * STEP)


def _estimate(groups: list[tuple[Histogram, float]], age: int | None) -> Expected:
    """Of what is left, given that all buckets below `age` are behind."""
    begun = 2 ** ((age - 0.5) / STEP) if age is not None else 0.0
    ends = _imagined(begun)
    for group, weight in groups:
        for bucket, (count, total) in group.buckets.items():
            if age is None or bucket >= age:
                ends.add(total / count, weight * count)
    ended = spent = 0.0
    best = math.inf
    for bucket in sorted(ends.buckets):
        count, seconds = ends.buckets[bucket]
        left = max(LEAST, seconds - begun * count)
        ended += count
        spent += left
        best = min(best, (spent + (ends.total - ended) * left / count) / ended)
    return Expected(best, spent / ends.total)


def _imagined(begun: float) -> Histogram:
    """Before anything has ended: any length within four doublings, and once more what it has."""
    ends = Histogram()
    for doubling in range(-4, 5):
        if 2.0**doubling > begun:
            ends.add(2.0**doubling, IMAGINED)
    ends.add(begun + max(begun, 1.0), DOUBT)
    return ends
