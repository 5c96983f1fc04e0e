"""`gyre runs try`, over real HTTP: what it prints, what it gives to programs, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gyre.gpu_scheduler.v1.workload_pb2 import Workload
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually
from gyre_sdk import Gyre
from gyre_sdk.cli.root import run as command
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.training_scheduler.tests.neighbours import neighbours
from services.training_scheduler.tests.served import quick
from services.training_scheduler.tests.test_tries import REPORT
from services.training_scheduler.tests.world import BASE, SFT_ROWS, World, populated

COMPONENTS = ("api_gateway", "training_scheduler")
ASKED = ("--base", BASE, "--data", SFT_ROWS, "--set", "max_steps=10")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
async def world(platform: Platform) -> AsyncIterator[World]:
    await _empty(platform)
    gateway = replace(gateway_main.app, settings=platform.settings(GatewaySettings))
    held = populated()
    async with neighbours(platform, held), platform.serving(gateway, quick(platform)):
        yield held
    await _empty(platform)


@pytest.fixture
async def gyre(world: World, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gyre]:
    for name, value in (
        ("GYRE_URL", rest_url(platform)),
        ("GYRE_API_KEY", (platform.home / "admin.key").read_text()),
        ("GYRE_PROJECT", "acme"),
    ):
        monkeypatch.setenv(name, value)
    with Gyre() as client:
        known = await asyncio.to_thread(lambda: {item.name for item in client.projects.list()})
        if "projects/acme" not in known:
            await asyncio.to_thread(client.projects.create, "acme")
        yield client


async def test_the_report_is_printed_with_what_is_learned_marked(gyre: Gyre, world: World, capsys: Capture) -> None:
    assert await _tried(world, Workload.STATE_FINISHED, result_json=json.dumps(REPORT)) == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[:2] == ["Sample 1", "Q‹A›"]
    assert "steps 2 of 10" in lines and "losses 1.5 nan" in lines
    assert "tokens p50 20, p95 31, max 40 in 40 sequences, 25.0% cut" in lines
    assert "a step first 3.00 s, then 1.00 s" in lines
    assert any(line.startswith("memory 7.0 GB (") and line.endswith("were planned)") for line in lines)
    assert any(line.startswith("all steps 12 s (12 s to 12 s; ") for line in lines)
    assert "alarm NOT_FINITE at step 2: STOP loss" in lines


async def test_programs_get_the_whole_of_it(gyre: Gyre, world: World, capsys: Capture) -> None:
    assert await _tried(world, Workload.STATE_FINISHED, "--json", result_json=json.dumps(REPORT)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "STATE_SUCCEEDED" and found["report"]["losses"] == [1.5, "NaN"]
    assert found["report"]["samples"][0]["sides"]["text"]["pieces"][1] == {"text": "A", "loss": True}


async def test_steps_that_could_not_be_made_end_the_command_with_their_reason(
    gyre: Gyre, world: World, capsys: Capture
) -> None:
    why = "error: data.0.uri: no column messages"
    assert await _tried(world, Workload.STATE_FAILED, failure_reason="BAD_SPEC", failure_message=why) != 0
    assert why in capsys.readouterr().err


async def test_one_that_nobody_watches_is_found_by_its_id(gyre: Gyre, world: World, capsys: Capture) -> None:
    assert await asyncio.to_thread(command, ["runs", "try", *ASKED, "--no-watch", "--json"]) == 0
    name = json.loads(capsys.readouterr().out)["name"].rsplit("/", 1)[-1]
    assert await asyncio.to_thread(command, ["runs", "tried", name, "--cancel", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "STATE_CANCELLED"
    assert await asyncio.to_thread(command, ["runs", "tried", name]) != 0


async def _tried(world: World, state: Workload.State.ValueType, *options: str, **left: Any) -> int:
    """The exit code of the command, while the job that it waits for ends in `state`."""
    before = set(world.workloads)
    running = asyncio.create_task(asyncio.to_thread(command, ["runs", "try", *ASKED, *options]))

    async def made() -> str | None:
        return next(iter(set(world.workloads) - before), None)

    workload = world.workloads[await eventually(made, seconds=20)]
    for name, value in left.items():
        setattr(workload, name, value)
    workload.state = state
    return await asyncio.wait_for(running, 20)


async def _empty(platform: Platform) -> None:
    for component in COMPONENTS:
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    (platform.home / "admin.key").unlink(missing_ok=True)


async def test_a_run_is_written_as_yaml_and_read_again_with_options_over_it(
    gyre: Gyre, world: World, capsys: Capture, tmp_path: Path
) -> None:
    asked = (*ASKED, "--method", "SFT", "--preset", "quick-look", "--no-watch", "--json")
    first = await _printed(capsys, "runs", "start", *asked)
    assert await asyncio.to_thread(command, ["runs", "spec", str(first["number"])]) == 0
    (tmp_path / "run.yaml").write_text(capsys.readouterr().out, "utf-8")
    again = ("runs", "start", "--spec", str(tmp_path / "run.yaml"), "--no-watch", "--json")
    same = await _printed(capsys, *again)
    assert same["spec"] == first["spec"]
    other = await _printed(capsys, *again, "--seed", "9", "--set", "max_steps=11", "--data", SFT_ROWS)
    hyperparameters = first["spec"]["hyperparameters"] | {"max_steps": 11}
    assert other["spec"] == first["spec"] | {"seed": "9", "hyperparameters": hyperparameters}


@pytest.mark.parametrize(("text", "says"), [("base: [", "neither YAML"), ("bass: b", "bass"), ("seed: 1", "--base")])
async def test_a_file_that_is_no_run_is_refused(
    gyre: Gyre, text: str, says: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "run.yaml").write_text(text, "utf-8")
    assert await asyncio.to_thread(command, ["runs", "start", "--spec", str(tmp_path / "run.yaml")]) == 2
    assert says in capsys.readouterr().err


async def _printed(capsys: Capture, *words: str) -> dict[str, Any]:
    code = await asyncio.to_thread(command, list(words))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found: dict[str, Any] = json.loads(printed.out)
    return found
