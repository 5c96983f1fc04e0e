"""How long work takes, learnt from what ended: by throughput class and cards, with wider groups where that is thin.

Log-scale histograms, so that memory is bounded and an estimate costs the same after ten jobs and after a million.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator

from services.gpu_scheduler.decisions.work import Workload

STEP = 5  # buckets for each doubling: 15 % wide, far finer than durations can be known
BUCKETS = 34 * STEP  # up to 2^34 s, five centuries
FRESH = 60.0  # seconds below which an age tells nothing yet
WEIGHT = 16.0  # ended jobs after which a class stands on its own, against the wider groups
DOUBT = 2.0  # imagined jobs that run once more as long as they have, an hour at least: who ran long runs on (Lindy)
HOUR = 3600.0
REFRESH = 1.05  # an estimate holds until 5 % more jobs ended


class Histogram:
    __slots__ = ("counts", "seconds", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.seconds = [0.0] * BUCKETS
        self.total = 0

    def add(self, seconds: float) -> None:
        index = _bucket(seconds)
        self.counts[index] += 1
        self.seconds[index] += seconds
        self.total += 1


class Durations:
    """In normalised seconds: what a flavor's speed makes of them is the caller's."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Histogram] = {}
        self._known: dict[tuple[str, int, int], tuple[float, float, float]] = {}  # class, size, age → when asked, both

    def add(self, workload: Workload, seconds: float) -> None:
        for group, _ in _groups(workload):
            self._groups.setdefault(group, Histogram()).add(seconds)

    @property
    def ended(self) -> int:
        return self._groups[()].total if () in self._groups else 0

    def seen(self, workload: Workload) -> int:
        """How many of its throughput class and size have ended."""
        group = self._groups.get((workload.kind, _size(workload)))
        return group.total if group else 0

    def left(self, workload: Workload, attained: float) -> float:
        """The mean of what those that got as far as `attained` still had to run."""
        return self._of(workload, attained)[1]

    def index(self, workload: Workload, attained: float) -> float:
        """Gittins': of all times that one might give it, the best seconds for each end that it brings.

        It orders work of unknown length so that the mean completion is the least there is on one machine
        (Gittins 1979; for training jobs Gu et al., Tiresias, NSDI 2019). Small where many end soon.
        """
        return self._of(workload, attained)[0]

    def _of(self, workload: Workload, attained: float) -> tuple[float, float]:
        age = 0 if attained < FRESH else _bucket(attained) + 1
        key = (workload.kind, _size(workload), age)
        known = self._known.get(key)
        if known is None or self.ended > known[0] * REFRESH + 1:
            known = self._known[key] = (self.ended, *_estimate(list(self._weighted(workload)), age))
        return known[1], known[2]

    def _weighted(self, workload: Workload) -> Iterator[tuple[Histogram, float]]:
        """Wider groups count for as many jobs as `WEIGHT` says in all, however many they have."""
        for group, share in _groups(workload):
            found = self._groups.get(group)
            if found is not None:
                weight = share * WEIGHT
                yield found, (weight / max(weight, found.total) if share < 1 else 1.0)


def _groups(workload: Workload) -> tuple[tuple[Hashable, float], ...]:
    size = _size(workload)
    return ((workload.kind, size), 1.0), (workload.kind, 0.5), (size, 0.49), ((), 0.25)


def _size(workload: Workload) -> int:
    """Doublings of cards."""
    return max(0, workload.requests.cards - 1).bit_length()


def _bucket(seconds: float) -> int:
    return min(BUCKETS - 1, int(math.log2(seconds) * STEP)) if seconds > 1 else 0


def _estimate(groups: list[tuple[Histogram, float]], age: int) -> tuple[float, float]:
    """(index, mean) of what is left, given that the first `age` buckets are behind."""
    begun = 2 ** ((age - 0.5) / STEP) if age else 0.0
    doubt = begun + max(begun, HOUR)
    last = max(age, _bucket(doubt))
    chances: list[tuple[float, float]] = []  # how many end in a bucket, and after how many more seconds in all
    for bucket in range(age, BUCKETS):
        count = sum(weight * group.counts[bucket] for group, weight in groups)
        seconds = sum(weight * group.seconds[bucket] for group, weight in groups)
        if bucket == last:
            count, seconds = count + DOUBT, seconds + DOUBT * doubt
        if count:
            chances.append((count, max(1.0, seconds - begun * count)))
    total = sum(count for count, _ in chances)
    ends = spent = 0.0
    best = math.inf
    for count, seconds in chances:
        ends += count
        spent += seconds
        best = min(best, (spent + (total - ends) * seconds / count) / ends)
    return best, spent / total
