"""What own machines cost, by day and kind of work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gyre.gpu_scheduler.v1 import cost_service_pb2
from gyre_kit.periods import BadPeriod, Period, period_of

from services.gpu_scheduler.models import Attempt
from services.gpu_scheduler.usage import costs_of

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = Period(MONDAY, MONDAY + timedelta(days=7))


def attempt(begins: datetime, ends: datetime | None, gpu: int = 0) -> Attempt:
    """Half a core at 2 dollars an hour, and cards at 10."""
    return Attempt(
        name="a", project="acme", workload="w", number=1, node="n", flavor="f", cpu_milli=500, memory_bytes=0, gpu=gpu,
        cpu_hour_microusd=2_000_000, gpu_hour_microusd=10_000_000, admit_time=begins, end_time=ends,
    )  # fmt: skip


def test_what_runs_over_midnight_is_paid_on_both_days() -> None:
    work = attempt(MONDAY + 23 * HOUR, MONDAY + 26 * HOUR, gpu=1)
    rows = costs_of([("TRAINER", work)], WEEK, MONDAY + 48 * HOUR)
    assert [(row.held_seconds, row.gpu_seconds, row.cost_microusd) for row in rows] == [
        (3600, 3600, 11_000_000),
        (7200, 7200, 22_000_000),
    ]


def test_what_still_runs_is_paid_until_now_and_only_within_the_period() -> None:
    replica = attempt(MONDAY - 5 * HOUR, None)
    (row,) = costs_of([("REPLICA", replica)], WEEK, MONDAY + 2 * HOUR)
    assert (row.held_seconds, row.cost_microusd) == (7200, 2_000_000)


def test_kinds_of_work_are_told_apart() -> None:
    hour = attempt(MONDAY, MONDAY + HOUR)
    rows = costs_of([("REPLICA", hour), ("JOB", hour), ("REPLICA", hour)], WEEK, MONDAY + 9 * HOUR)
    assert [row.held_seconds for row in rows] == [3600, 7200]


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    request = cost_service_pb2.GetCostsRequest()
    request.start_time.FromDatetime(MONDAY)
    with pytest.raises(BadPeriod):
        period_of(request, MONDAY)
    assert period_of(request, MONDAY + HOUR) == Period(MONDAY, MONDAY + HOUR)
