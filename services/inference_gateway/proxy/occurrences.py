"""How often things happened since this worker began; it is told with the worker's status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Place = tuple[str, ...]  # the project, then what and where


class Occurrences:
    def __init__(self) -> None:
        self._counts: Counter[Place] = Counter()

    def count(self, *place: str) -> None:
        self._counts[place] += 1

    def as_json(self) -> list[list[str | int]]:
        return [[*place, count] for place, count in self._counts.items()]


def from_json(given: Sequence[Sequence[str | int]]) -> Counter[Place]:
    return Counter({tuple(map(str, place)): int(count) for *place, count in given})
