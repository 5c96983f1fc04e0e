from __future__ import annotations

import pytest

from services.evaluation.pareto import Point, front, recommended


def point(name: str, cost: float, score: float, *, size: int = 1, allowed: bool = True) -> Point:
    return Point(name, cost, score, size, allowed)


def test_what_another_beats_in_both_is_behind_the_front() -> None:
    points = [point("f16", 4, 0.90), point("q8", 2, 0.90), point("q6", 3, 0.88), point("q4", 1, 0.80)]
    assert front(points) == {"q8", "q4"}


def test_equals_stand_on_the_front_together() -> None:
    assert front([point("a", 1, 0.5), point("b", 1, 0.5), point("c", 1, 0.4)]) == {"a", "b"}
    assert front([point("only", 1, 0.0)]) == {"only"}
    assert front([]) == frozenset()


def test_the_cheapest_within_the_margin_is_recommended() -> None:
    points = [point("f16", 4, 0.90), point("q8", 2, 0.90), point("q4", 1, 0.60, allowed=False)]
    assert recommended(points).name == "q8"


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ([point("b", 2, 0.91)], "b"),  # as cheap and better
        ([point("b", 2, 0.90, size=1)], "b"),  # as cheap, as good and smaller
        ([point("b", 3, 0.99)], "a"),  # better and dearer
        ([point("b", 1, 0.10, allowed=False)], "a"),  # cheaper and too bad
    ],
)
def test_ties_in_cost_go_to_the_better_and_then_to_the_smaller(others: list[Point], wanted: str) -> None:
    assert recommended([point("a", 2, 0.90, size=2), *others]).name == wanted
