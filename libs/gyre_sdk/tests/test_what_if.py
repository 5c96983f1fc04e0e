"""`gyre what-if` through REST, RPC, database and the replay's own process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gyre_kit import migrate
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, Platform
from gyre_sdk.cli.root import run
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.gpu_scheduler import main as scheduler_main
from services.gpu_scheduler import nodes
from services.gpu_scheduler.hardware import CardReading, Machine
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.simulation import rows

MACHINE = Machine("card-node", "card-node", "a100", 8000, 1 << 34, 0.0, 0, [CardReading(0, "GPU-1", "A100", 1 << 36)])


@pytest.fixture(scope="module")
async def scheduler(platform: Platform) -> AsyncIterator[Context]:
    """One card, and yesterday three jobs of an hour each that all wanted it at once."""
    for component in ("api_gateway", "gpu_scheduler"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    (platform.home / "admin.key").unlink(missing_ok=True)
    gateway = replace(gateway_main.app, settings=platform.settings(GatewaySettings))
    app = replace(scheduler_main.app, settings=platform.settings(Settings))
    async with platform.serving(gateway, app) as (_, context):
        await yesterday(context)
        yield context
    for component in ("api_gateway", "gpu_scheduler"):
        await platform.empty(component)
    (platform.home / "admin.key").unlink(missing_ok=True)


async def yesterday(context: Context) -> None:
    begin = datetime.now(UTC) - timedelta(days=1)
    with acting_as(ENGINEER):
        async with context.db.transaction() as session:
            await nodes.heard_of(session, MACHINE, context.settings)
            session.add(rows.queue())
            for number in range(3):
                starts = begin + timedelta(hours=number)
                workload = rows.workload(begin, number=number + 1, end_time=starts + timedelta(hours=1))
                session.add_all([workload, rows.attempt(workload, starts, 3600)])


@pytest.fixture
def as_admin(platform: Platform, scheduler: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYRE_URL", rest_url(platform))
    monkeypatch.setenv("GYRE_API_KEY", (Path(platform.home) / "admin.key").read_text())


async def gyre(*words: str) -> int:
    return await asyncio.to_thread(run, list(words))


async def test_two_more_cards_take_the_wait_away(as_admin: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("what-if", "--add", "2xa100x1", "--policy", "fifo", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    before, after = report["before"], report["after"]
    assert (before["job_count"], after["job_count"]) == (3, 3)
    assert (before["mean_wait_seconds"], after["mean_wait_seconds"]) == pytest.approx((3600, 0))
    assert (before["utilisation"], after["utilisation"]) == pytest.approx((1, 1))
    assert report["input_digest"].startswith("sha256:")


async def test_people_get_a_table_that_says_that_it_is_simulated(
    as_admin: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await gyre("what-if", "--add", "1xa100x1", "--policy", "fifo", "--days", "2") == 0
    out = capsys.readouterr().out
    assert "Simulated: 3 jobs of 2 days" in out and "UTC" in out
    assert "1 h 00 min" in out and "an hour" in out


async def test_without_the_node_nothing_fits_and_another_may_take_its_place(
    as_admin: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await gyre("what-if", "--remove", "card-node", "--policy", "fifo", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["before"]["refused_count"], report["after"]["refused_count"]) == (0, 3)
    assert report["before"]["node_count"] - report["after"]["node_count"] == 1
    assert int(report["removed_hour_microusd"]) > 0 == int(report["added_hour_microusd"])
    assert await gyre("what-if", "--remove", "card-node", "--add", "1xa100x3", "--policy", "fifo", "--json") == 0
    assert json.loads(capsys.readouterr().out)["after"]["mean_wait_seconds"] == pytest.approx(0)


async def test_to_change_nothing_is_no_question_and_an_unknown_node_is_refused(
    as_admin: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await gyre("what-if") == 2
    assert "--remove" in capsys.readouterr().err
    assert await gyre("what-if", "--remove", "nowhere") == 1
    assert "gyre nodes list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("addition", "code", "says"),
    [("1xa100", 2, "NODESxFLAVORxCARDS"), ("1xh900x8", 3, "a100"), ("0xa100x8", 1, "node_count 1 to 1000")],
)
async def test_an_addition_without_sense_is_refused(
    as_admin: None, addition: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await gyre("what-if", "--add", addition) == code
    assert says in capsys.readouterr().err


async def test_who_is_no_administrator_may_not_ask(
    as_admin: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await gyre("keys", "create", "--role", "ENGINEER") == 0
    monkeypatch.setenv("GYRE_API_KEY", capsys.readouterr().out.strip())
    assert await gyre("what-if", "--add", "1xa100x1") == 1
    assert "role" in capsys.readouterr().err
