"""What came of the requests to each target: how many were answered, how many failed, and how long answers took.

Counted by each worker, told to the control plane with its status, and summed there: a rollout is judged by it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

# Upper edges in seconds, half an octave apart: 10 ms to 82 s; the last bucket has no edge.
EDGES = tuple(0.01 * 2 ** (step / 2) for step in range(27))
BUCKETS = len(EDGES) + 1


@dataclass(frozen=True)
class Outcomes:
    """Of one target: requests that failed at it, and answers by how long they took."""

    failed: int = 0
    answered: tuple[int, ...] = (0,) * BUCKETS

    def __add__(self, other: Outcomes) -> Outcomes:
        return Outcomes(self.failed + other.failed, _each(self.answered, other.answered, 1))

    def __sub__(self, other: Outcomes) -> Outcomes:
        return Outcomes(self.failed - other.failed, _each(self.answered, other.answered, -1))

    @property
    def all(self) -> int:
        return self.failed + sum(self.answered)

    def slower_than(self, bucket: int) -> int:
        return sum(self.answered[bucket + 1 :])

    def quantile(self, share: float) -> int:
        """The bucket that holds the answer at that share of all."""
        wanted, seen = share * sum(self.answered), 0
        for bucket, count in enumerate(self.answered):
            seen += count
            if seen >= wanted:
                return bucket
        return BUCKETS - 1


class Counting:
    """One worker's, by target."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}  # failed, then a count a bucket

    def answered(self, target: str, seconds: float) -> None:
        self._of(target)[1 + bisect_left(EDGES, seconds)] += 1

    def failed(self, target: str) -> None:
        self._of(target)[0] += 1

    def forget_others(self, targets: Collection[str]) -> None:
        self._counts = {target: counts for target, counts in self._counts.items() if target in targets}

    def as_json(self) -> dict[str, list[int]]:
        return self._counts

    def _of(self, target: str) -> list[int]:
        if target not in self._counts:
            self._counts[target] = [0] * (1 + BUCKETS)
        return self._counts[target]


def from_json(given: Mapping[str, Sequence[int]]) -> dict[str, Outcomes]:
    return {target: Outcomes(counts[0], tuple(counts[1:])) for target, counts in given.items()}


def _each(first: Sequence[int], second: Sequence[int], sign: int) -> tuple[int, ...]:
    return tuple(one + sign * other for one, other in zip(first, second, strict=True))
