"""The books: what was used, by day, key, deployment and model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gyre.inference_gateway.v1.usage_pb2 import UsageReport
from gyre_kit.db import Session
from gyre_kit.periods import Period
from gyre_kit.testing import PROJECT

from services.inference_gateway.proxy.snapshot import Deployment, Target
from services.inference_gateway.proxy.usage import Bill, UsageLine, UsageMeter
from services.inference_gateway.usage import service as usage

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
MICRO = 1_000_000
WEEK = Period(MONDAY, MONDAY + timedelta(days=7))
NAME = f"projects/{PROJECT}/usage"


def line(hour: int = 0, key: str = "a", deployment: str = "hotline", target: str = "t1", **given: object) -> UsageLine:
    """One request of 10 + 5 tokens for 3 microdollars, so many hours after Monday's beginning."""
    fields = {
        "hour": int((MONDAY + timedelta(hours=hour)).timestamp()),
        "project": PROJECT,
        "api_key": f"projects/{PROJECT}/keys/{key}",
        "deployment": f"projects/{PROJECT}/deployments/{deployment}",
        "target": target,
        "model_version": "",
        "upstream_model": "rented",
        "request_count": 1,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cost_picousd": 3 * MICRO,
    }
    return UsageLine(**(fields | given))  # type: ignore[arg-type]


async def told(session: Session, group_by: str = "", period: Period = WEEK) -> UsageReport:
    return await usage.report(session, NAME, period, group_by)


async def test_a_segment_that_comes_twice_counts_once(session: Session) -> None:
    for _ in range(2):
        await usage.keep(session, "1-7", [line(), line()])
    await usage.keep(session, "2-7", [line()])
    total = (await told(session)).total
    assert (total.request_count, total.prompt_tokens, total.completion_tokens) == (3, 30, 15)
    assert total.cost_microusd == 9


async def test_usage_is_told_by_day_key_deployment_and_model(session: Session) -> None:
    version = f"projects/{PROJECT}/models/m/versions/2"
    lines = [
        line(),
        line(23, key="b"),
        line(24, deployment="other"),
        line(25, target="t2", model_version=version, upstream_model=""),
    ]
    await usage.keep(session, "1-7", lines)
    days = (await told(session, "day")).rows
    assert [(row.day.ToDatetime(UTC) - MONDAY, row.request_count) for row in days] == [
        (timedelta(), 2),
        (timedelta(days=1), 2),
    ]
    keys = {row.api_key[-1]: row.request_count for row in (await told(session, "key")).rows}
    assert keys == {"a": 3, "b": 1}
    found = (await told(session, "deployment,model")).rows
    assert {(row.deployment.rsplit("/")[-1], row.model_version or row.upstream_model) for row in found} == {
        ("hotline", "rented"),
        ("other", "rented"),
        ("hotline", version),
    }


async def test_what_lies_outside_of_the_period_is_not_told(session: Session) -> None:
    await usage.keep(session, "1-7", [line(-1), line(0), line(7 * 24)])
    assert (await told(session)).total.request_count == 1


async def test_little_amounts_are_summed_before_they_are_rounded(session: Session) -> None:
    await usage.keep(session, "1-7", [line(hour, cost_picousd=MICRO // 2) for hour in range(4)])
    assert (await told(session)).total.cost_microusd == 2


async def test_an_unknown_group_is_refused(session: Session) -> None:
    with pytest.raises(usage.UnknownGroup):
        await told(session, "day,colour")


def test_a_meter_sums_by_hour_key_and_target_and_begins_anew() -> None:
    now = [MONDAY.timestamp()]
    meter = UsageMeter(lambda: now[0])
    rented, own = Target("t1", upstream_model="big"), Target("t2", variant="v", upstream_model="x")
    deployment = Deployment("hotline", PROJECT, (rented, own))
    for target in (rented, rented, own):
        meter.add("k", deployment, target, Bill(10, 5, 7))
    now[0] += 3600
    meter.add("k", deployment, rented, Bill(1, 1, 1))
    lines = meter.take()
    assert [(each.target, each.request_count, each.prompt_tokens, each.cost_picousd) for each in lines] == [
        ("t1", 2, 20, 14),
        ("t2", 1, 10, 7),
        ("t1", 1, 1, 1),
    ]
    assert [each.upstream_model for each in lines] == ["big", "", "big"]
    assert meter.take() == []
