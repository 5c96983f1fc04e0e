"""How many replicas: enough for what waits, never flapping, none where nobody asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference_gateway.proxy.outcomes import BUCKETS, Outcomes
from services.inference_gateway.replicas.scaling import (
    DOWN_SECONDS,
    SLOW_BUCKET,
    UP_SECONDS,
    BadScale,
    Bounds,
    Load,
    Need,
    Scaler,
    check_scale,
    decide,
)

PLACES = 4
NEVER_IDLE = 0.0
some_bounds = st.tuples(st.integers(0, 5), st.integers(1, 9)).map(
    lambda pair: Bounds(min(pair), max(pair), idle_seconds=60)
)
some_needs = st.lists(st.integers(0, 12), min_size=1, max_size=80)


def history(needs: list[int], now: float, every: float = 2.0) -> list[Need]:
    """A look each `every` seconds, the last one now."""
    return [Need(now - every * back, need) for back, need in enumerate(reversed(needs))][::-1]


@given(some_needs, st.integers(1, 9), some_bounds, st.floats(0, 200))
def test_the_number_is_always_within_its_bounds(needs: list[int], current: int, bounds: Bounds, idle: float) -> None:
    wanted = decide(current, history(needs, 1000.0), idle, bounds, 1000.0)
    if bounds.least == 0 and idle >= bounds.idle_seconds:
        assert wanted == 0
    else:
        assert max(bounds.least, 1) <= wanted <= bounds.most


@given(some_needs, st.integers(1, 9))
def test_it_never_moves_further_than_what_was_needed_of_late(needs: list[int], current: int) -> None:
    wanted = decide(current, history(needs, 1000.0), NEVER_IDLE, Bounds(1, 9), 1000.0)
    assert min([current, *needs]) <= wanted or wanted == 1
    assert wanted <= max(current, *needs)


@given(some_needs, st.integers(1, 9), some_bounds)
def test_asked_again_at_the_same_time_it_says_the_same(needs: list[int], current: int, bounds: Bounds) -> None:
    known = history(needs, 1000.0)
    once = decide(current, known, NEVER_IDLE, bounds, 1000.0)
    assert decide(once, known, NEVER_IDLE, bounds, 1000.0) == once


@given(st.integers(1, 4), st.integers(2, 5))
def test_a_load_that_swings_faster_than_the_windows_changes_nothing(low: int, times: int) -> None:
    """High and low in turns, each shorter than the stretch that must agree."""
    high, current, now = low * 3, low * 3, 10_000.0
    swinging = ([high] * 2 + [low] * 2) * 20 * times
    for end in range(len(swinging) // 2, len(swinging)):
        current = decide(current, history(swinging[:end], now), NEVER_IDLE, Bounds(1, 20), now)
        assert current == high


def load(requests: int, ready: int = 1, done: int = 0, slow: int = 0) -> Load:
    answered = (done, *[0] * (BUCKETS - 1))
    waited = [0] * BUCKETS
    waited[SLOW_BUCKET + 1] = slow
    return Load(requests, ready, PLACES, Outcomes(0, answered), Outcomes(0, tuple(waited)))


def watched(scaler: Scaler, start: float, seconds: float, current: int, bounds: Bounds, *loads: Load) -> int:
    """A look a second; the loads in turn, the last of them to the end."""
    for second in range(int(seconds) + 1):
        current = scaler.wanted("t", current, loads[min(second, len(loads) - 1)], bounds, start + second)
    return current


def test_a_queue_brings_more_replicas_after_seconds_and_its_end_takes_them_away_after_minutes() -> None:
    scaler, bounds = Scaler(), Bounds(1, 8)
    assert watched(scaler, 0, UP_SECONDS - 2, 1, bounds, load(12)) == 1
    assert watched(scaler, 5, 3, 1, bounds, load(12)) == 4
    assert watched(scaler, 9, DOWN_SECONDS - 5, 4, bounds, load(1, ready=4)) == 4
    assert watched(scaler, 9 + DOWN_SECONDS - 4, 5, 4, bounds, load(1, ready=4)) == 1


def test_answers_that_waited_too_long_bring_one_more_and_a_third_only_when_the_second_answers() -> None:
    scaler, bounds = Scaler(), Bounds(1, 8)
    slow = [load(2, ready=1, done=10 * n, slow=2 * n) for n in range(40)]
    assert watched(scaler, 0, 30, 1, bounds, *slow) == 2
    slow = [load(2, ready=2, done=400 + 10 * n, slow=80 + 2 * n) for n in range(40)]
    assert watched(scaler, 31, 10, 2, bounds, *slow) == 3


def test_none_is_left_where_nobody_asks_and_a_request_between_two_looks_counts() -> None:
    scaler, bounds = Scaler(), Bounds(0, 2, idle_seconds=20)
    assert watched(scaler, 0, 15, 1, bounds, load(0)) == 1
    assert watched(scaler, 16, 15, 1, bounds, load(0, done=1)) == 1
    assert watched(scaler, 32, 5, 1, bounds, load(0, done=1)) == 0


def test_what_starts_is_not_idle_however_long_it_takes() -> None:
    assert watched(Scaler(), 0, 100, 1, Bounds(0, 1, idle_seconds=5), load(0, ready=0)) == 1


@pytest.mark.parametrize("bounds", [Bounds(-1, 1), Bounds(2, 1), Bounds(0, 0), Bounds(1, 65), Bounds(0, 1, 0.5)])
def test_bounds_that_make_no_sense_are_refused(bounds: Bounds) -> None:
    with pytest.raises(BadScale):
        check_scale(bounds)
