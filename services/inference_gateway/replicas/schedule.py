"""Bounds that change with the time of the week: many replicas by day, few at night, when others have the cards."""

from __future__ import annotations

import re
from calendar import day_name
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from gyre_kit.errors import Invalid

from services.inference_gateway.replicas.scaling import Bounds, check_scale

MOST_WINDOWS = 50
DAY, WEEK = 24 * 60, 7 * 24 * 60  # minutes
CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
SHORTEST_LEAD, LONGEST_LEAD = 60.0, 1800.0  # seconds


class BadSchedule(Invalid):
    """A schedule names a time zone of the IANA database and at most 50 windows, each from HH:MM to another HH:MM, of which no
    two overlap: correct what is named.
    """


@dataclass(frozen=True)
class Window:
    """On each of `days` (0 is Monday) from `start`, in minutes after midnight, to `end`; before `start`, of the next day."""

    days: tuple[int, ...]
    start: int
    end: int
    least: int
    most: int

    def minutes(self) -> list[tuple[int, int]]:
        """From when to when it holds, in minutes of the week; beyond its end where it goes on into the next."""
        length = (self.end - self.start) % DAY or DAY
        return [(day * DAY + self.start, day * DAY + self.start + length) for day in self.days]


@dataclass(frozen=True)
class Schedule:
    """Windows by the clocks of `time_zone`. An hour that these skip is in no window, one that they repeat is twice."""

    time_zone: str = "UTC"
    windows: tuple[Window, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) if self.windows else {}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Schedule:
        windows = (Window(**(each | {"days": tuple(each["days"])})) for each in stored.get("windows", ()))
        return Schedule(stored.get("time_zone", "UTC"), tuple(windows))


ALWAYS = Schedule()


def wanted_bounds(always: Bounds, schedule: Schedule, now: datetime, lead: timedelta = timedelta()) -> Bounds:
    """Those of the window that `now` is in, else `always`; and no fewer than are to be there in `lead`, so that they are."""
    here, soon = (_at(always, schedule, time) for time in (now, now + lead))
    return replace(here, least=max(here.least, soon.least), most=max(here.most, soon.most))


def lead(cold_start_seconds: float) -> timedelta:
    """How long before a window its replicas are wanted: as long as the last start took, from a minute to half an hour."""
    return timedelta(seconds=min(max(cold_start_seconds, SHORTEST_LEAD), LONGEST_LEAD))


def most_guaranteed(always: Bounds, schedule: Schedule) -> int:
    """The largest number of replicas that are to be there at least at any time."""
    return max([always.least, *(window.least for window in schedule.windows)])


def minute(clock: str, field: str) -> int:
    """Minutes after midnight of `HH:MM`. Raises: BadSchedule."""
    if not CLOCK.fullmatch(clock):
        raise BadSchedule(field=field, given=clock[:20], wanted="HH:MM from 00:00 to 24:00")
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def check_schedule(schedule: Schedule) -> None:
    """Raises: BadSchedule; BadScale."""
    if schedule.time_zone not in available_timezones():
        raise BadSchedule(field="scale.schedule.time_zone", given=schedule.time_zone[:80])
    if len(schedule.windows) > MOST_WINDOWS:
        raise BadSchedule(field="scale.schedule.windows", most=MOST_WINDOWS)
    for window in schedule.windows:
        if window.start == DAY or window.start == window.end:
            given = f"{clock(window.start)} to {clock(window.end)}"
            raise BadSchedule(field="scale.schedule.windows.start", given=given)
        check_scale(Bounds(window.least, window.most))
    _check_apart(schedule.windows)


def _check_apart(windows: Sequence[Window]) -> None:
    """What goes on into the next week is there once more, a week earlier. Raises: BadSchedule."""
    held = [span for window in windows for span in window.minutes()]
    spans = sorted([*held, *((start - WEEK, end - WEEK) for start, end in held if end > WEEK)])
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            overlap = f"{day_name[start // DAY]} {clock(start % DAY)}"
            raise BadSchedule(field="scale.schedule.windows", overlap=overlap)


def _at(always: Bounds, schedule: Schedule, time: datetime) -> Bounds:
    if not schedule.windows:
        return always
    local = time.astimezone(ZoneInfo(schedule.time_zone))
    minute = local.weekday() * DAY + local.hour * 60 + local.minute
    for window in schedule.windows:
        if any(start <= minute < end or start <= minute + WEEK < end for start, end in window.minutes()):
            return replace(always, least=window.least, most=window.most)
    return always
