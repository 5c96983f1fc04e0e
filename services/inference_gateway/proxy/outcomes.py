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
# Upper edges in tokens of an answer, half an octave apart: 1 to 16,384; the last bucket has no edge.
LENGTH_EDGES = tuple(2 ** (step / 2) for step in range(29))
LENGTHS = len(LENGTH_EDGES) + 1


@dataclass(frozen=True)
class Outcomes:
    """Of one target: requests that failed at it, and answers by how long they took, and by how long they were."""

    failed: int = 0
    answered: tuple[int, ...] = (0,) * BUCKETS
    lengths: tuple[int, ...] = (0,) * LENGTHS

    def __add__(self, other: Outcomes) -> Outcomes:
        return self._with(other, 1)

    def __sub__(self, other: Outcomes) -> Outcomes:
        return self._with(other, -1)

    def _with(self, other: Outcomes, sign: int) -> Outcomes:
        answered, lengths = _each(self.answered, other.answered, sign), _each(self.lengths, other.lengths, sign)
        return Outcomes(self.failed + sign * other.failed, answered, lengths)

    @property
    def all(self) -> int:
        return self.failed + sum(self.answered)

    def slower_than(self, bucket: int) -> int:
        return sum(self.answered[bucket + 1 :])

    def quantile(self, share: float) -> int:
        """The bucket that holds the answer at that share of all."""
        return quantile(self.answered, share)


class Counting:
    """One worker's, by target."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}  # failed, then a count a bucket of time, then one a bucket of length

    def answered(self, target: str, seconds: float, tokens: int = 0) -> None:
        counts = self._of(target)
        counts[1 + bisect_left(EDGES, seconds)] += 1
        if tokens:
            counts[1 + BUCKETS + bisect_left(LENGTH_EDGES, tokens)] += 1

    def failed(self, target: str) -> None:
        self._of(target)[0] += 1

    def forget_others(self, targets: Collection[str]) -> None:
        self._counts = {target: counts for target, counts in self._counts.items() if target in targets}

    def as_json(self) -> dict[str, list[int]]:
        return self._counts

    def _of(self, target: str) -> list[int]:
        if target not in self._counts:
            self._counts[target] = [0] * (1 + BUCKETS + LENGTHS)
        return self._counts[target]


def from_json(given: Mapping[str, Sequence[int]]) -> dict[str, Outcomes]:
    cut = 1 + BUCKETS
    return {target: Outcomes(each[0], tuple(each[1:cut]), tuple(each[cut:])) for target, each in given.items()}


def quantile(counts: Sequence[int], share: float) -> int:
    """The bucket that holds the one at that share of all."""
    wanted, seen = share * sum(counts), 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return bucket
    return len(counts) - 1


def _each(first: Sequence[int], second: Sequence[int], sign: int) -> tuple[int, ...]:
    return tuple(one + sign * other for one, other in zip(first, second, strict=True))
