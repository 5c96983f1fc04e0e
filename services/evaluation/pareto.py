"""Which variants are worth a look, and which one to take. Pure: figures in, a choice out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A measured variant. `cost` in any one unit, less is better; `score` 0 to 1, more is better."""

    name: str
    cost: float
    score: float
    size_bytes: int
    within_margin: bool  # its score is not significantly lower than the baseline's, beyond what is allowed


def front(points: Sequence[Point]) -> frozenset[str]:
    """Those that no other dominates: is at least as cheap and as good, and better in one of the two. Equals all stay."""
    return frozenset(point.name for point in points if not any(_dominates(other, point) for other in points))


def _dominates(one: Point, other: Point) -> bool:
    no_worse = one.cost <= other.cost and one.score >= other.score
    return no_worse and (one.cost < other.cost or one.score > other.score)


def recommended(points: Sequence[Point]) -> Point:
    """The cheapest within the margin; of equally cheap ones the better, then the smaller. The baseline always is."""
    allowed = [point for point in points if point.within_margin]
    return min(allowed, key=lambda point: (point.cost, -point.score, point.size_bytes))
