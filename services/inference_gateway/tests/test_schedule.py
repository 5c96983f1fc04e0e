"""Bounds by the time of the week: which hold when, also where clocks change, and what makes no sense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from gyre.gpu_scheduler.v1.node_pb2 import Resources
from gyre.gpu_scheduler.v1.queue_pb2 import FlavorQuota
from gyre.inference_gateway.v1.replica_pb2 import Scale
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT, ManualClock
from gyre_sdk.resources.serving import scale, window, window_text

from services.inference_gateway import api, service
from services.inference_gateway.models.deployments import ReplicaState, TargetState
from services.inference_gateway.replicas import guarantee
from services.inference_gateway.replicas import service as replicas
from services.inference_gateway.replicas.scaling import BadScale, Bounds
from services.inference_gateway.replicas.schedule import (
    ALWAYS,
    BadSchedule,
    Schedule,
    check_schedule,
    lead,
    most_guaranteed,
    wanted_bounds,
)
from services.inference_gateway.targets import bounds
from services.inference_gateway.tests.test_replicas import READY, see, target_of, variant

NIGHT, DAY = Bounds(0, 1), Bounds(2, 6)


def plan(*windows: str, zone: str = "Europe/Berlin") -> Schedule:
    return api.schedule_of(scale(0, 1, windows=[window(each) for each in windows], time_zone=zone))


OFFICE = plan("mon-fri 08:00-20:00 2-6")


def berlin(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("time", "wanted"),
    [
        ("2026-01-05 07:59", NIGHT),  # a Monday
        ("2026-01-05 08:00", DAY),
        ("2026-01-09 19:59", DAY),
        ("2026-01-09 20:00", NIGHT),
        ("2026-01-10 12:00", NIGHT),
        ("2026-07-06 08:00", DAY),  # 06:00 UTC, in winter it is 07:00
    ],
)
def test_a_window_begins_and_ends_by_the_clocks_of_its_zone(time: str, wanted: Bounds) -> None:
    assert wanted_bounds(NIGHT, OFFICE, berlin(time)) == wanted


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    late = plan("sun 22:00-06:00 2-6")
    held = ["2026-01-04 22:00", "2026-01-05 05:59"]  # Sunday, and the first hours of the week
    assert [wanted_bounds(NIGHT, late, berlin(time)) for time in held] == [DAY, DAY]
    free = ["2026-01-04 05:00", "2026-01-05 06:00", "2026-01-05 22:00"]
    assert [wanted_bounds(NIGHT, late, berlin(time)) for time in free] == [NIGHT] * 3


def test_an_hour_that_clocks_skip_has_no_window_and_one_that_they_repeat_has_it_twice() -> None:
    early = plan("every 02:00-03:00 2-6")
    spring = [berlin("2026-03-29 00:00") + timedelta(minutes=minutes) for minutes in range(24 * 60)]
    autumn = [berlin("2026-10-25 00:00") + timedelta(minutes=minutes) for minutes in range(24 * 60)]
    assert sum(wanted_bounds(NIGHT, early, time) == DAY for time in spring) == 0
    assert sum(wanted_bounds(NIGHT, early, time) == DAY for time in autumn) == 120


def test_a_whole_week_of_windows_leaves_nothing_out() -> None:
    whole = plan("mon-thu 00:00-24:00 1-1", "fri-sun 00:00-24:00 2-2", zone="UTC")
    times = [datetime(2026, 1, 5, tzinfo=UTC) + timedelta(minutes=7 * number) for number in range(1440)]
    assert [wanted_bounds(NIGHT, whole, time).least for time in times] == [1 if t.weekday() < 4 else 2 for t in times]


def test_replicas_are_wanted_before_a_window_as_long_as_the_last_start_took_and_stay_to_its_end() -> None:
    assert [lead(seconds).total_seconds() for seconds in (0.0, 600.0, 1e6)] == [60, 600, 1800]
    early = berlin("2026-01-05 07:51")
    assert wanted_bounds(NIGHT, OFFICE, early, lead(600.0)) == DAY
    assert wanted_bounds(NIGHT, OFFICE, early, lead(500.0)) == NIGHT
    assert wanted_bounds(NIGHT, OFFICE, berlin("2026-01-05 19:59"), lead(600.0)) == DAY


def test_without_windows_the_same_bounds_hold_at_all_times() -> None:
    assert wanted_bounds(DAY, ALWAYS, berlin("2026-01-05 07:51")) == DAY
    assert (most_guaranteed(NIGHT, ALWAYS), most_guaranteed(NIGHT, OFFICE), most_guaranteed(Bounds(3, 3), OFFICE)) == (
        0,
        2,
        3,
    )


@pytest.mark.parametrize(
    ("windows", "zone", "error"),
    [
        (("mon 08:00-20:00 2-6",), "Mars/Olympus", BadSchedule),
        (("mon 08:00-20:00 2-6",), "../../etc/passwd", BadSchedule),
        (("mon 08:00-08:00 2-6",), "UTC", BadSchedule),
        (("mon 24:00-08:00 2-6",), "UTC", BadSchedule),
        (("mon 08:60-09:00 2-6",), "UTC", BadSchedule),
        (("mon 08:00-25:00 2-6",), "UTC", BadSchedule),
        (("mon,mon 08:00-09:00 2-6",), "UTC", BadSchedule),
        (("mon-fri 08:00-20:00 2-6", "fri 19:59-21:00 1-1"), "UTC", BadSchedule),
        (("sun 22:00-06:00 2-6", "mon 05:00-07:00 1-1"), "UTC", BadSchedule),
        (("mon 08:00-20:00 6-2",), "UTC", BadScale),
        (("mon 08:00-20:00 0-65",), "UTC", BadScale),
        (
            tuple(f"mon {n // 60:02}:{n % 60:02}-{n // 60:02}:{n % 60 + 1:02} 1-1" for n in range(51)),
            "UTC",
            BadSchedule,
        ),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(windows: tuple[str, ...], zone: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_schedule(plan(*windows, zone=zone))


def test_a_window_may_begin_when_another_ends_also_over_midnight_and_over_the_week() -> None:
    check_schedule(plan("every 22:00-06:00 0-1", "mon-sun 06:00-22:00 2-6"))


@pytest.mark.parametrize("text", ["mon-fri 08:00-20:00 2-6", "every 22:00-06:00 0-1", "fri-mon 00:00-24:00 1-1"])
def test_what_the_command_line_takes_is_what_it_shows(text: str) -> None:
    shown = window_text(window(text))
    assert window(shown) == window(text)


@pytest.mark.parametrize("text", ["mon 8-20 1-2", "mon-fri 08:00-20:00", "someday 08:00-20:00 1-2", ""])
def test_a_window_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a window"):
        window(text)


async def test_cards_go_back_at_night_and_replicas_come_again_before_the_window_begins(
    session: Session, clock: ManualClock
) -> None:
    clock.advance(seconds=(berlin("2030-01-07 12:00") - clock.now()).total_seconds())  # a Monday
    deployment = await service.create(session, PROJECT, "many", [variant(1)], scale=NIGHT, schedule=OFFICE)
    target = await target_of(session, deployment)
    rows = await see(session, deployment, wanted=2)
    await see(session, deployment, *[READY] * len(rows), wanted=2)
    rows = await see(session, deployment, READY, READY)
    assert [row.state for row in rows] == ["READY", "READY"]
    assert replicas.guaranteed(target, rows, bounds(deployment, clock.now())) == {row.id for row in rows}

    clock.advance(hours=9)  # 21:00
    assert bounds(deployment, clock.now()) == NIGHT
    assert replicas.guaranteed(target, rows, bounds(deployment, clock.now())) == set()
    rows = await see(session, deployment, wanted=0)
    assert {row.state for row in rows} == {ReplicaState.DRAINING}
    assert await see(session, deployment, *[replicas.Seen(ReplicaState.STOPPED)] * 2) == []
    assert target.state == TargetState.ASLEEP

    target.cold_start_seconds = 300.0
    clock.advance(hours=10, minutes=54)  # 07:54
    await see(session, deployment)
    assert target.state == TargetState.ASLEEP
    clock.advance(minutes=2)
    rows = await see(session, deployment)
    assert (target.state, target.replicas, len(rows)) == (TargetState.PENDING, 2, 2)
    assert replicas.guaranteed(target, rows, bounds(deployment, clock.now(), 300.0)) == {row.id for row in rows}


async def test_what_was_set_is_what_is_shown_and_another_scale_takes_the_windows_away(session: Session) -> None:
    deployment = await service.create(session, PROJECT, "many", [variant(1)])
    await service.scale(session, deployment.name, NIGHT, OFFICE)
    shown = api.to_proto(deployment, [], {}, None).scale
    assert [window_text(each) for each in shown.schedule.windows] == ["mon,tue,wed,thu,fri 08:00-20:00 2-6"]
    assert (shown.schedule.time_zone, api.schedule_of(shown)) == ("Europe/Berlin", OFFICE)
    await service.scale(session, deployment.name, NIGHT)
    assert api.to_proto(deployment, [], {}, None).scale == Scale(
        min_replicas=0, max_replicas=1, idle_time=shown.idle_time
    )
    with pytest.raises(BadSchedule):
        await service.scale(session, deployment.name, NIGHT, plan("mon 08:00-20:00 2-6", zone="Mars/Olympus"))


async def test_only_as_many_as_there_are_to_be_at_least_are_guaranteed_those_that_serve_first(session: Session) -> None:
    deployment = await service.create(session, PROJECT, "many", [variant(1)], scale=Bounds(2, 4))
    await see(session, deployment, wanted=4)
    await see(session, deployment, wanted=4)
    rows = await see(session, deployment, replicas.Seen(ReplicaState.STARTING), READY, READY, READY)
    target = await target_of(session, deployment)
    kept = replicas.guaranteed(target, rows, bounds(deployment, session.clock.now()))
    assert len(kept) == 2 and rows[0].id not in kept
    target.state = TargetState.STANDBY
    assert replicas.guaranteed(target, rows, bounds(deployment, session.clock.now())) == set()


def test_a_warning_says_how_many_replicas_the_queues_own_quota_holds() -> None:
    asked = Resources(cpu_milli=1000, memory_bytes=10, gpu=1)
    quotas = [
        FlavorQuota(flavor="flavors/a100", nominal=Resources(cpu_milli=64_000, memory_bytes=1000, gpu=2)),
        FlavorQuota(flavor="flavors/h100", nominal=Resources(cpu_milli=1000, memory_bytes=1000, gpu=8)),
    ]
    assert [guarantee.held(quotas, asked, most) for most in (2, 3, 4)] == [2, 3, 3]
    assert guarantee.held([], asked, 4) == 4, "without quotas nothing bounds it"
    assert guarantee.said(3, 3) == ""
    assert "holds 3 of the 4 replicas" in guarantee.said(4, 3)
