"""The period that a report is about, as requests give it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gyre_kit.errors import Invalid

USUAL = timedelta(days=30)
LONGEST = timedelta(days=400)


class BadPeriod(Invalid):
    """A period begins before it ends and is at most 400 days long."""


@dataclass(frozen=True)
class Period:
    """From `start` to before `end`, both in UTC."""

    start: datetime
    end: datetime

    def days(self) -> Iterator[Period]:
        """Its parts, one for each day of UTC that it touches."""
        start = self.start
        while start < self.end:
            midnight = midnight_before(start) + timedelta(days=1)
            yield Period(start, min(midnight, self.end))
            start = midnight


def period_of(request: Any, now: datetime) -> Period:
    """`start_time` and `end_time` of a request; what is unset means the last 30 days. Raises: BadPeriod."""
    end = request.end_time.ToDatetime(tzinfo=UTC) if request.HasField("end_time") else now
    start = request.start_time.ToDatetime(tzinfo=UTC) if request.HasField("start_time") else end - USUAL
    if not timedelta() < end - start <= LONGEST:
        raise BadPeriod(field="start_time", start=start.isoformat(), end=end.isoformat())
    return Period(start, end)


def midnight_before(time: datetime) -> datetime:
    return time.replace(hour=0, minute=0, second=0, microsecond=0)
