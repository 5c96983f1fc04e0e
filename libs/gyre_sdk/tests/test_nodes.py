"""`gyre nodes`, `gyre cards` and `gyre flavors` against a scheduler that runs real processes, over real HTTP."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit import migrate
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, Platform
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import run
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.gpu_scheduler import main as scheduler_main
from services.gpu_scheduler.settings import Settings as SchedulerSettings
from services.gpu_scheduler.tests.calls import OVERRIDES, cancel_all, ensure, runs, until, worker_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
async def scheduling(platform: Platform) -> AsyncIterator[Platform]:
    settings = platform.settings(SchedulerSettings, **OVERRIDES, simulated_cards=1)
    apps = [
        replace(gateway_main.app, settings=platform.settings(GatewaySettings)),
        replace(scheduler_main.app, settings=settings),
    ]
    await _empty(platform)
    async with platform.serving(*apps):
        yield platform
    await _empty(platform)


@pytest.fixture(autouse=True)
def connected(scheduling: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))  # whoever is asked says no
    monkeypatch.setenv("GYRE_URL", rest_url(scheduling))
    monkeypatch.setenv("GYRE_API_KEY", (scheduling.home / "admin.key").read_text())


async def gyre(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


async def said(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert await gyre(*arguments, "--json") == Exit.OK
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


async def test_a_node_is_labelled_cordoned_and_given_back(capsys: Capture) -> None:
    node = await said(capsys, "nodes", "label", "test-node", "gyre.dev/zone=east", "rack=7")
    assert node["labels"] == {"gyre.dev/zone": "east", "rack": "7"}
    assert (await said(capsys, "nodes", "label", "test-node", "rack-"))["labels"] == {"gyre.dev/zone": "east"}
    assert (await said(capsys, "nodes", "cordon", "test-node"))["state"] == "STATE_CORDONED"
    assert (await said(capsys, "nodes", "get", "test-node"))["state"] == "STATE_CORDONED"
    assert (await said(capsys, "nodes", "uncordon", "test-node"))["state"] == "STATE_READY"


async def test_a_drain_asks_shows_what_is_left_and_returns_when_the_node_is_empty(
    scheduling: Platform, capsys: Capture
) -> None:
    clients = scheduling.clients()
    workloads = clients.stub(WorkloadServiceStub)
    with acting_as(ENGINEER):
        name = await ensure(workloads, do="wait")
        worker = await worker_of(scheduling, name)
        assert await gyre("nodes", "drain", "test-node") == 130
        assert "waits again: 1 workload." in capsys.readouterr().err
        assert runs(worker)
        assert await gyre("nodes", "drain", "test-node", "--yes") == Exit.OK
        printed = capsys.readouterr()
        assert "test-node: has still to stop: 1 workload" in printed.err
        assert "test-node DRAINING" in printed.out
        assert not runs(worker)
        assert await gyre("nodes", "uncordon", "test-node") == Exit.OK
        await until(workloads, name, "RUNNING", attempt=2)
        await cancel_all(workloads)
    await clients.close()


async def test_what_makes_no_sense_is_refused_and_says_why(capsys: Capture) -> None:
    refusals = {
        ("nodes", "drain", "none", "--yes"): (Exit.NOT_FOUND, "nodes/none"),
        ("nodes", "forget", "test-node", "--yes"): (Exit.FAILURE, "cannot be forgotten"),
        ("nodes", "card-reset", "test-node", "0"): (Exit.FAILURE, "was taken out"),
        ("nodes", "card-reset", "test-node", "9"): (Exit.NOT_FOUND, "no card in that place"),
        ("nodes", "label", "test-node", "rack"): (Exit.USAGE, "NAME=VALUE"),
        ("nodes", "label", "test-node", "a b=c"): (Exit.FAILURE, "a b=c"),
        ("flavors", "price", "cpu"): (Exit.USAGE, "--card"),
        ("flavors", "price", "none", "--card", "1"): (Exit.NOT_FOUND, "none"),
    }
    for command, (code, words) in refusals.items():
        assert await gyre(*command) == code, command
        assert words in capsys.readouterr().err


async def test_the_price_of_a_flavor_is_set_and_says_whose_it_is(capsys: Capture) -> None:
    flavor = await said(capsys, "flavors", "price", "simulated", "--card", "1.25")
    assert (flavor["gpu_hour_microusd"], flavor["price_source"]) == ("1250000", "OPERATOR")
    assert await gyre("flavors", "list") == Exit.OK
    assert "$1.25" in capsys.readouterr().out


async def test_the_table_of_cards_leaves_out_what_is_not_known(capsys: Capture) -> None:
    models = {row["name"]: row for row in (await said(capsys, "cards", "list"))["card_models"]}
    assert models["cardModels/nvidia-h100-sxm"]["memory_bytes"] == str(80 * 1024**3)
    assert "memory_bytes" not in models["cardModels/cambricon-mlu590"]
    assert (await said(capsys, "cards", "list", "--here"))["card_models"] == []


async def _empty(platform: Platform) -> None:
    for component in ("api_gateway", "gpu_scheduler"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
