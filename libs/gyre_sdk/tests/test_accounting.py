"""`gyre usage`, `gyre top`, `gyre queues` and `gyre workloads why` over real work: one holds a card, one waits, one ended."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gyre.gpu_scheduler.v1 import workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit import migrate
from gyre_kit.auth import Identity, Role, acting_as
from gyre_kit.names import new_id
from gyre_kit.testing import Platform
from gyre_sdk import Gyre
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import run
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.gpu_scheduler import main as scheduler_main
from services.gpu_scheduler.settings import Settings as SchedulerSettings
from services.gpu_scheduler.tests.calls import MODULE, OVERRIDES, until

ENGINEER = Identity("keys/engineer", "default", Role.ENGINEER)
USER = "projects/default/keys/nightly"
WANTED = {"TRAINER": ({"do": "wait"}, 1), "JOB": ({"do": "result", "text": "{}"}, 0), "REPLICA": ({"do": "serve"}, 2)}


@pytest.fixture(scope="module")
async def held(platform: Platform) -> AsyncIterator[Platform]:
    """Two simulated cards: a trainer holds one, a replica waits for both, a job has ended."""
    await _empty(platform)
    gateway = replace(gateway_main.app, settings=platform.settings(GatewaySettings))
    settings = platform.settings(SchedulerSettings, **OVERRIDES, simulated_cards=2)
    async with platform.serving(gateway, replace(scheduler_main.app, settings=settings)):
        clients = platform.clients()
        stub = clients.stub(WorkloadServiceStub)
        with acting_as(ENGINEER):
            names = {kind: await _ensure(stub, kind, *asked) for kind, asked in WANTED.items()}
            await until(stub, names["TRAINER"], "RUNNING")
            await until(stub, names["JOB"], "FINISHED")
        yield platform
        with acting_as(ENGINEER):
            for name in names.values():
                await stub.CancelWorkload(api.CancelWorkloadRequest(name=name))
            await until(stub, names["TRAINER"], "CANCELLED")
        await clients.close()
    await _empty(platform)


@pytest.fixture
def connected(held: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYRE_URL", rest_url(held))
    monkeypatch.setenv("GYRE_API_KEY", (held.home / "admin.key").read_text())


async def gyre(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


@pytest.mark.usefixtures("connected")
async def test_usage_is_a_table_json_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("usage", "--by", "user,kind") == Exit.OK
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in table[1:3]] == [["nightly", "TRAINER"], ["nightly", "JOB"]]
    assert table[3].startswith("all")
    assert await gyre("usage", "--by", "kind", "--json", "-n", "1") == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert [row["kind"] for row in report["rows"]] == ["KIND_TRAINER"]
    assert float(report["total"]["card_seconds"]) > 0
    assert await gyre("usage", "--by", "user,flavor", "--everywhere", "--csv") == Exit.OK
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out.removeprefix("\ufeff"))))
    assert [(row["user"], row["flavor"]) for row in rows] == [(USER, "flavors/simulated")]
    assert await gyre("usage", "--csv", "--json") == Exit.USAGE
    assert await gyre("usage", "--by", "planet") == Exit.USAGE


@pytest.mark.usefixtures("connected")
async def test_how_well_machines_were_used_is_a_table_json_and_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("efficiency") == Exit.OK
    titles, row, total, *_ = capsys.readouterr().out.splitlines()
    assert titles.split()[0] == "FLAVOR" and row.startswith("simulated ") and total.startswith("all ")
    assert await gyre("efficiency", "--by", "node", "--json", "-n", "1") == Exit.OK
    report = json.loads(capsys.readouterr().out)
    assert [row["node"] for row in report["rows"]] == ["nodes/test-node"]
    assert report["total"]["card_held_seconds"] > 0
    assert await gyre("efficiency", "--csv") == Exit.OK
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out.removeprefix("\ufeff"))))
    assert [row["flavor"] for row in rows] == ["flavors/simulated"] and float(rows[0]["card_held_seconds"]) > 0
    assert await gyre("efficiency", "--csv", "--json") == Exit.USAGE
    capsys.readouterr()
    assert await gyre("queues", "stats", "--csv") == Exit.OK
    (queue,) = csv.DictReader(io.StringIO(capsys.readouterr().out.removeprefix("\ufeff")))
    assert (queue["queue"], queue["admission_count"]) == ("projects/default/queues/default", "2")


@pytest.mark.usefixtures("connected")
async def test_top_shows_cards_and_who_waits(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("top", "--once") == Exit.OK
    shown = capsys.readouterr().out
    assert "cards 2 (2 simulated, 1 free), workloads 2" in shown
    assert "■□" in shown
    assert await gyre("top", "--json") == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert [item["state"] for item in told["workloads"]] == ["STATE_RUNNING", "STATE_QUEUED"]
    assert told["total_workloads"] == 2


@pytest.mark.usefixtures("connected")
async def test_a_workload_says_why_it_waits(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("workloads", "why", "3") == Exit.OK
    told = capsys.readouterr().out
    assert "NO_FREE_GPU" in told and "position 1 in default" in told
    assert await gyre("workloads", "why", "2", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["state"] == "FINISHED"
    assert await gyre("workloads", "why", "77") == Exit.NOT_FOUND


@pytest.mark.usefixtures("connected")
async def test_a_queue_is_changed_held_and_released(capsys: pytest.CaptureFixture[str]) -> None:
    assert await gyre("queues", "set", "default", "--priority", "7", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["priority"] == 7
    assert await gyre("queues", "hold", "default", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["state"] == "STATE_HELD"
    assert await gyre("queues", "release", "default", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["state"] == "STATE_ACTIVE"
    assert await gyre("queues", "set", "default") == Exit.USAGE
    capsys.readouterr()
    assert await gyre("queues", "stats", "--json") == Exit.OK
    (queue,) = json.loads(capsys.readouterr().out)["queues"]
    assert (queue["admission_count"], queue["waiting_count"]) == ("2", 1)


async def test_the_client_reads_attempts_and_utilisation(held: Platform) -> None:
    def read() -> None:
        with Gyre(url=rest_url(held), key=(held.home / "admin.key").read_text()) as client:
            start = datetime.now(UTC) - timedelta(hours=1)
            attempts = list(client.accounting.attempts(start, datetime.now(UTC)))
            assert [(each.kind, each.user) for each in attempts] == [(3, USER), (1, USER)]
            assert not attempts[1].HasField("end_time")
            assert len(attempts[1].card_uuids) == 1
            told = client.accounting.utilisation(start, step="STEP_HOUR")
            assert (told.fragmentation.free_cards, told.fragmentation.stranded_cards) == (1, 1)

    await asyncio.to_thread(read)


async def _ensure(stub: WorkloadServiceStub, kind: str, spec: dict[str, str], gpu: int) -> str:
    wanted = workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.Kind.Value(f"KIND_{kind}"),
        module=MODULE,
        spec_json=json.dumps(spec),
        requests={"cpu_milli": 500, "gpu": gpu},
        user=USER,
    )
    name = f"projects/default/workloads/{new_id()}"
    return str((await stub.EnsureWorkload(api.EnsureWorkloadRequest(name=name, spec=wanted))).name)


async def _empty(platform: Platform) -> None:
    for component in ("api_gateway", "gpu_scheduler"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
