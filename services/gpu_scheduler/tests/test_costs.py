"""What attempts hold, by day: whole numbers that add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from gyre.gpu_scheduler.v1 import cost_service_pb2
from gyre_kit.periods import BadPeriod, Period, period_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from services.gpu_scheduler.accounting import capacity
from services.gpu_scheduler.accounting.amounts import Held, Key, Sums, add, whole_days
from services.gpu_scheduler.decisions.amounts import CARD, Amount

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEK = Period(MONDAY, MONDAY + 7 * DAY)
KEY = Key("acme", "keys/ada", "projects/acme/queues/default", "flavors/cpu", "TRAINER")

SPAN = 20 * 86_400 * 10**6  # microseconds around the week

moments = some.integers(0, SPAN).map(lambda us: MONDAY - 7 * DAY + timedelta(microseconds=us))


def held(begin: datetime, end: datetime | None, card_milli: int = 0, *, preempted: bool = False) -> Held:
    """Half a core at 2 dollars an hour, and cards at 10."""
    return Held(KEY, begin, end, 500, card_milli, 2_000_000, 10_000_000, preempted)


@some.composite
def attempts(draw: some.DrawFn) -> Held:
    begin = draw(moments)
    length = draw(some.none() | some.integers(-60, 9 * 86_400))
    ended = None if length is None else begin + timedelta(seconds=length)
    return held(begin, ended, draw(some.sampled_from([0, 250, 333, 1000, 8000])), preempted=draw(some.booleans()))


def test_what_runs_over_midnight_is_paid_on_both_days() -> None:
    work = held(MONDAY + 23 * HOUR, MONDAY + 26 * HOUR, card_milli=1000)
    (first, one), (second, other) = work.by_day(WEEK, MONDAY + 48 * HOUR)
    assert (first, second) == (MONDAY, MONDAY + DAY)
    assert (one.held_seconds, one.card_seconds, one.cost_microusd) == (3600, 3600, 11_000_000)
    assert (other.held_seconds, other.card_seconds, other.cost_microusd) == (7200, 7200, 22_000_000)


def test_what_still_runs_is_paid_until_now_and_only_within_the_period() -> None:
    ((_, sums),) = held(MONDAY - 5 * HOUR, None).by_day(WEEK, MONDAY + 2 * HOUR)
    assert (sums.held_seconds, sums.cost_microusd) == (7200, 2_000_000)


def test_a_share_of_a_card_is_paid_as_its_share() -> None:
    sums = held(MONDAY, MONDAY + HOUR, card_milli=250).within(WEEK, MONDAY + DAY)
    assert (sums.card_seconds, sums.cost_microusd) == (900, 1_000_000 + 2_500_000)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(attempts(), some.lists(moments, min_size=1, max_size=6), moments)
def test_wherever_a_period_is_cut_its_parts_add_up(work: Held, cuts: list[datetime], now: datetime) -> None:
    bounds = sorted({WEEK.start, WEEK.end, *cuts})
    parts = sum((work.within(Period(*pair), now) for pair in pairwise(bounds)), Sums())
    assert parts == work.within(Period(bounds[0], bounds[-1]), now)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some.lists(attempts(), max_size=12), moments, moments, moments)
def test_whole_days_and_edges_make_the_period(works: list[Held], one: datetime, other: datetime, now: datetime) -> None:
    period = Period(min(one, other), max(one, other) + HOUR)
    works = [work for work in works if max(work.begin, work.end or work.begin) < now]
    days, edges = whole_days(period, now)
    sums: dict[tuple[datetime, Key], Sums] = {}
    for part in [days, *edges]:
        add(sums, works, part, now)
    assert sum(sums.values(), Sums()) == sum((work.within(period, now) for work in works), Sums())


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    request = cost_service_pb2.GetCostsRequest()
    request.start_time.FromDatetime(MONDAY)
    with pytest.raises(BadPeriod):
        period_of(request, MONDAY)
    assert period_of(request, MONDAY + HOUR) == Period(MONDAY, MONDAY + HOUR)


def test_free_cards_where_the_smallest_gang_does_not_fit_are_stranded() -> None:
    rooms = [Amount(8000, 64, 3 * CARD), Amount(8000, 64, 4 * CARD), Amount(500, 64, 8 * CARD)]
    found = capacity.fragments(rooms, Amount(1000, 8, 4 * CARD))
    assert (found.free_cards, found.stranded_cards, found.smallest_gang_cards) == (15, 11, 4)
    assert capacity.fragments(rooms, None).ratio == 0
