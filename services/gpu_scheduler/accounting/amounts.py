"""What attempts hold, in whole numbers: microseconds times thousandths, so that sums come out the same in any order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from gyre_kit.periods import Period, midnight_before

from services.gpu_scheduler.models import Attempt

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
MILLI_US = 1000 * 1_000_000  # of one unit for one second
COST_UNITS = MILLI_US * 3600  # of one microdollar


class Key(NamedTuple):
    """What usage can be grouped by, but for the day."""

    project: str
    user: str
    queue: str
    flavor: str
    kind: str


@dataclass(frozen=True)
class Sums:
    """`held_us`: microseconds; cores and cards: thousandths times microseconds; `cost`: those times microdollars an hour."""

    held_us: int = 0
    core_milli_us: int = 0
    card_milli_us: int = 0
    cost: int = 0
    attempt_count: int = 0
    preemption_count: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.held_us + other.held_us,
            self.core_milli_us + other.core_milli_us,
            self.card_milli_us + other.card_milli_us,
            self.cost + other.cost,
            self.attempt_count + other.attempt_count,
            self.preemption_count + other.preemption_count,
        )

    @property
    def held_seconds(self) -> float:
        return self.held_us / 1_000_000

    @property
    def core_seconds(self) -> float:
        return self.core_milli_us / MILLI_US

    @property
    def card_seconds(self) -> float:
        return self.card_milli_us / MILLI_US

    @property
    def cost_microusd(self) -> int:
        return (2 * self.cost + COST_UNITS) // (2 * COST_UNITS)


@dataclass(frozen=True)
class Held:
    """What one attempt holds from `begin` to `end`, None while it has none. Cores and cards in thousandths."""

    key: Key
    begin: datetime
    end: datetime | None
    core_milli: int
    card_milli: int
    core_hour_microusd: int
    card_hour_microusd: int
    preempted: bool = False

    def within(self, period: Period, now: datetime) -> Sums:
        """Its part of `period`, but for what is still to come. It is counted where it began, its preemption where it ended."""
        end = self._end(now)
        held_us = max(0, (min(end, period.end) - max(self.begin, period.start)) // MICROSECOND)
        price = self.core_milli * self.core_hour_microusd + self.card_milli * self.card_hour_microusd
        return Sums(
            held_us=held_us,
            core_milli_us=held_us * self.core_milli,
            card_milli_us=held_us * self.card_milli,
            cost=held_us * price,
            attempt_count=int(period.start <= self.begin < period.end),
            preemption_count=int(self.preempted and period.start <= end < period.end),
        )

    def by_day(self, period: Period, now: datetime) -> Iterator[tuple[datetime, Sums]]:
        """Its part of each day of `period` on which there is one."""
        touched = Period(max(period.start, self.begin), min(period.end, self._end(now) + MICROSECOND))
        for day in touched.days():
            midnight = midnight_before(day.start)
            whole = Period(max(period.start, midnight), min(period.end, midnight + DAY))
            sums = self.within(whole, now)
            if sums != Sums():
                yield midnight, sums

    def _end(self, now: datetime) -> datetime:
        """Not before the beginning, also when the clock was set back meanwhile."""
        return max(self.begin, now if self.end is None else self.end)


def held_of(attempt: Attempt, user: str, queue: str, kind: str) -> Held:
    return Held(
        key=Key(attempt.project, user, queue, attempt.flavor, kind),
        begin=attempt.admit_time,
        end=attempt.end_time,
        core_milli=attempt.cpu_milli,
        card_milli=card_milli(attempt),
        core_hour_microusd=attempt.cpu_hour_microusd,
        card_hour_microusd=attempt.gpu_hour_microusd,
        preempted=attempt.preempted,
    )


def card_milli(attempt: Attempt) -> int:
    """Thousandths of a card that it holds in all."""
    return attempt.gpu * 1000 + attempt.gpu_milli


def add(into: dict[tuple[datetime, Key], Sums], held: Iterable[Held], period: Period, now: datetime) -> None:
    """Adds what `held` has of `period`, day by day."""
    for each in held:
        for day, sums in each.by_day(period, now):
            into[day, each.key] = into.get((day, each.key), Sums()) + sums


def whole_days(period: Period, now: datetime) -> tuple[Period, list[Period]]:
    """The days that lie in `period` as a whole, and what of it is left at both ends.

    What is still to come holds nothing: a day that has begun is whole if the period lasts until now.
    """
    end = period.end if period.end < now else midnight_before(period.end) + DAY
    first, last = _midnight_from(period.start), midnight_before(end)
    if first >= last:
        return Period(first, first), [period]
    edges = [Period(period.start, first), Period(last, end)]
    return Period(first, last), [edge for edge in edges if edge.start < edge.end]


def _midnight_from(time: datetime) -> datetime:
    midnight = midnight_before(time)
    return midnight if midnight == time else midnight + DAY
