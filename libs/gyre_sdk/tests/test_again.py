"""`gyre runs again`, over real HTTP: what the second run's trainer is given, and how the two results compare."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gyre.training_scheduler.v1.run_pb2 import Run
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually
from gyre_sdk import Gyre, GyreError
from gyre_sdk.cli.root import run as command
from gyre_sdk.resources.training import INPUTS_CHANGED
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.training_scheduler.tests.neighbours import neighbours
from services.training_scheduler.tests.served import quick
from services.training_scheduler.tests.world import BASE, SFT_ROWS, World, populated

COMPONENTS = ("api_gateway", "training_scheduler")
OF_ITS_OWN = ("run", "output_prefix")  # what differs between the specs of two trainers that do the same
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


async def test_the_second_trainer_is_given_what_the_first_was_and_their_files_are_compared(
    gyre: Gyre, world: World, capsys: Capture
) -> None:
    first = await _create(gyre, hyperparameters={"max_steps": 40, "learning_rate": 2e-4}, seed=11)
    await _finish(gyre, world, first, b"the weights")
    second = await _again(gyre, world, first, b"the weights")
    given = [_given(world, run) for run in (first, second)]
    assert given[0] == given[1]
    assert given[0]["seed"] == 11 and given[0]["data"][0]["digest"].startswith("sha256:")
    assert f"Its files are those of run #{first.number}, byte for byte: sha256:" in capsys.readouterr().out

    await _again(gyre, world, first, b"other weights")
    assert f"Its files are not those of run #{first.number}" in capsys.readouterr().out


async def test_rows_that_are_no_longer_the_same_are_named_and_nothing_is_trained(gyre: Gyre, world: World) -> None:
    first = await _create(gyre)
    world.dataset_versions[SFT_ROWS].train_digest = "sha256:" + "b" * 64
    with pytest.raises(GyreError, match=f"hotline@1 is no longer what run #{first.number} was made of") as caught:
        await asyncio.to_thread(gyre.runs.again, first.name)
    assert caught.value.reason == INPUTS_CHANGED and caught.value.remedy
    newest = (await asyncio.to_thread(gyre.runs.page)).items[0]
    assert newest.number == first.number + 1
    assert newest.state in (Run.STATE_CANCELLING, Run.STATE_CANCELLED)


async def _create(gyre: Gyre, **fields: Any) -> Run:
    return await asyncio.to_thread(lambda: gyre.runs.create(base=BASE, datasets=[SFT_ROWS], **fields))


async def _again(gyre: Gyre, world: World, first: Run, weights: bytes) -> Run:
    """The command, while the trainer that it waits for leaves `weights`."""
    before = {item.name for item in (await asyncio.to_thread(gyre.runs.page)).items}
    running = asyncio.create_task(asyncio.to_thread(command, ["runs", "again", str(first.number)]))

    async def made() -> Run | None:
        items = (await asyncio.to_thread(gyre.runs.page)).items
        return next((item for item in items if item.name not in before), None)

    second: Run = await eventually(made, seconds=20)
    await _finish(gyre, world, second, weights)
    assert await asyncio.wait_for(running, 20) == 0
    return second


async def _finish(gyre: Gyre, world: World, run: Run, weights: bytes) -> None:
    workload = run.name.replace("/runs/", "/workloads/")

    async def launched() -> bool:
        return workload in world.workloads

    await eventually(launched, seconds=20)
    await world.finish_workload(workload, weights=weights)
    await asyncio.to_thread(gyre.runs.wait, run.name, 20)


def _given(world: World, run: Run) -> dict[str, Any]:
    spec = json.loads(world.workloads[run.name.replace("/runs/", "/workloads/")].spec.spec_json)
    return {name: value for name, value in spec.items() if name not in OF_ITS_OWN}


async def _empty(platform: Platform) -> None:
    for component in COMPONENTS:
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
