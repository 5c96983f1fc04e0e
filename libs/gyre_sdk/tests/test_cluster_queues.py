"""`gyre cluster-queues`, `gyre cohorts` and what of queues and workloads hangs on them, over real HTTP and processes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gyre.gpu_scheduler.v1.node_pb2 import Node, Resources
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit import migrate
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, Platform
from gyre_sdk import Gyre
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.quotas import Amounts, capacity_of, merged
from gyre_sdk.cli.root import run
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.gpu_scheduler import main as scheduler_main
from services.gpu_scheduler.settings import Settings as SchedulerSettings
from services.gpu_scheduler.tests.calls import OVERRIDES, cancel_all, ensure, until

Capture = pytest.CaptureFixture[str]
GIB = 1024**3


@pytest.fixture(scope="module")
async def scheduling(platform: Platform) -> AsyncIterator[Platform]:
    settings = platform.settings(SchedulerSettings, **OVERRIDES, node_memory_bytes=4 * GIB, simulated_cards=2)
    apps = [
        replace(gateway_main.app, settings=platform.settings(GatewaySettings)),
        replace(scheduler_main.app, settings=settings),
    ]
    await _empty(platform)
    async with platform.serving(*apps):
        yield platform
    await _empty(platform)


@pytest.fixture(autouse=True)
async def connected(scheduling: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))  # whoever is asked says no
    monkeypatch.setenv("GYRE_URL", rest_url(scheduling))
    monkeypatch.setenv("GYRE_API_KEY", (scheduling.home / "admin.key").read_text())
    with Gyre() as client:
        if "acme" not in {item.name.rpartition("/")[2] for item in await asyncio.to_thread(_projects, client)}:
            await asyncio.to_thread(client.projects.create, "acme")


async def test_a_priority_class_is_made_used_changed_and_deleted(capsys: Capture) -> None:
    made = await said(capsys, "priority-classes", "create", "deadline", "--value", "100", "--description", "papers")
    assert (made["name"], made["value"]) == ("priorityClasses/deadline", 100)
    changed = await said(capsys, "priority-classes", "set", "deadline", "--value", "-3")
    assert (changed["value"], changed["description"]) == (-3, "papers")
    assert await gyre("priority-classes", "list") == Exit.OK
    assert "deadline" in capsys.readouterr().out
    assert await gyre("priority-classes", "delete", "deadline") == 130, "it asks, and the answer is no"
    assert await gyre("priority-classes", "delete", "deadline", "--yes") == Exit.OK
    assert await gyre("priority-classes", "show", "deadline") == 3


async def test_a_cluster_queue_is_for_some_and_bounds_priorities_until_it_does_not(capsys: Capture) -> None:
    made = await said(
        capsys, "cluster-queues", "create", "doors", "--for", "acme", "--for", "beta", "--max-priority", "9"
    )
    assert (made["projects"], made["max_priority"]) == (["projects/acme", "projects/beta"], 9)
    free = await said(capsys, "cluster-queues", "set", "doors", "--for", "", "--no-max-priority")
    assert free["projects"] == [] and "max_priority" not in free
    assert await gyre("cluster-queues", "delete", "doors", "--yes") == Exit.OK


async def test_a_queue_has_a_budget_in_money_for_a_day_or_a_month(capsys: Capture) -> None:
    await said(capsys, "queues", "create", "cards")
    queue = await said(capsys, "queues", "set", "cards", "--budget", "12.5", "--budget-per", "day")
    assert (queue["budget_microusd"], queue["budget_period"]) == ("12500000", "BUDGET_PERIOD_DAY")
    assert await gyre("queues", "list") == Exit.OK
    assert "of $12.50 a day" in capsys.readouterr().out
    assert (await said(capsys, "queues", "set", "cards", "--budget", "0"))["budget_microusd"] == "0"


async def test_a_cluster_queue_is_made_changed_shown_and_deleted(capsys: Capture) -> None:
    await said(capsys, "cohorts", "create", "labs")
    own = "simulated=gpu:1,cpu:0.5,memory:1GiB"
    made = await said(
        capsys, "cluster-queues", "create", "vision", "--cohort", "labs", "--weight", "2", "--reclaim", "any",
        "--quota", own, "--borrow", "simulated=gpu:1,cpu:all,memory:all",
    )  # fmt: skip
    assert (made["name"], made["cohort"], made["weight"]) == ("clusterQueues/vision", "cohorts/labs", 2)
    assert made["quotas"][0]["nominal"] == {"cpu_milli": 500, "memory_bytes": str(GIB), "gpu": 1, "gpu_milli": 0}
    assert made["quotas"][0]["borrowing_limit"]["cpu_milli"] == 2000, "all that the node has"
    changed = await said(capsys, "cluster-queues", "set", "vision", "--strict", "--borrow", "simulated=any")
    assert changed["strategy"] == "STRATEGY_STRICT_FIFO"
    assert "borrowing_limit" not in changed["quotas"][0]
    assert changed["quotas"][0]["nominal"]["gpu"] == 1, "what was not named stays"
    rules = (await said(capsys, "cluster-queues", "set", "vision", "--within-queue", "never"))["preemption"]
    assert (rules["within_cluster_queue"], rules["reclaim_within_cohort"]) == ("POLICY_NEVER", "POLICY_ANY")
    assert await gyre("cluster-queues", "list") == Exit.OK
    assert "simulated: 0 of 1 card, 0 of 0.5 cores, 0 B of 1.1 GB" in capsys.readouterr().out
    assert await gyre("cohorts", "delete", "labs", "--yes") == Exit.FAILURE
    assert "take those out first" in capsys.readouterr().err
    assert await gyre("cluster-queues", "delete", "vision") == 130, "it asks, and the answer is no"
    assert await gyre("cluster-queues", "delete", "vision", "--yes") == Exit.OK
    assert await gyre("cohorts", "delete", "labs", "--yes") == Exit.OK
    capsys.readouterr()
    assert (await said(capsys, "cohorts", "list"))["cohorts"] == []


async def test_a_change_that_somebody_else_was_quicker_with_is_refused(scheduling: Platform) -> None:
    with Gyre() as client:
        made = await asyncio.to_thread(client.cluster_queues.create, "quick")
        await asyncio.to_thread(client.cluster_queues.update, "quick", weight=3)
        with pytest.raises(Exception, match="changed") as refused:
            await asyncio.to_thread(client.cluster_queues.update, "quick", weight=4, etag=made.etag)
        assert refused.value.reason == "ETAG_MISMATCH"  # type: ignore[attr-defined]
        await asyncio.to_thread(client.cluster_queues.delete, "quick")


async def test_a_queue_is_deleted_when_it_is_empty_and_the_default_stays(capsys: Capture) -> None:
    await said(capsys, "queues", "create", "spare", "--cluster-queue", "default", "-p", "acme")
    assert await gyre("queues", "delete", "spare", "-p", "acme") == 130
    assert await gyre("queues", "delete", "spare", "--yes", "-p", "acme") == Exit.OK
    assert await gyre("queues", "delete", "spare", "--yes", "-p", "acme") == Exit.NOT_FOUND
    assert await gyre("queues", "list", "-p", "acme") == Exit.OK
    assert await gyre("queues", "delete", "default", "--yes", "-p", "acme") == Exit.FAILURE
    assert "hold it" in capsys.readouterr().err


async def test_a_workload_is_held_told_why_it_waits_and_released(scheduling: Platform, capsys: Capture) -> None:
    clients = scheduling.clients()
    workloads = clients.stub(WorkloadServiceStub)
    with acting_as(ENGINEER):
        name = await ensure(workloads, do="wait")
        number = str((await until(workloads, name, "RUNNING")).number)
        second = await until(workloads, await ensure(workloads, do="wait"), "QUEUED")
        told = await said(capsys, "workloads", "why", str(second.number), "-p", "acme")
        assert (told["queue_position"], told["held"]) == (1, False)
        assert "Needs" in told["message"]
        await said(capsys, "workloads", "hold", str(second.number), "-p", "acme")
        assert await gyre("workloads", "why", str(second.number), "-p", "acme") == Exit.OK
        assert "release it to have it considered" in capsys.readouterr().out
        assert await gyre("workloads", "hold", number, "-p", "acme") == 130, "it runs, so it asks"
        assert await gyre("workloads", "hold", number, "--yes", "-p", "acme") == Exit.OK
        await until(workloads, name, "QUEUED")
        capsys.readouterr()
        assert (await said(capsys, "workloads", "release", number, "-p", "acme"))["held"] is False
        await until(workloads, name, "RUNNING", attempt=2)
        rows = (await said(capsys, "workloads", "attempts", number, "-p", "acme"))["attempts"]
        assert [row["number"] for row in rows] == [2, 1]
        assert await gyre("workloads", "attempts", number, "-p", "acme") == Exit.OK
        assert "goes on" in capsys.readouterr().out
        await cancel_all(workloads)
    await clients.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("create", "x", "--quota", "simulated"), "simulated=gpu:8"),
        (("create", "x", "--quota", "simulated=tpu:1"), "cpu, memory or gpu"),
        (("create", "x", "--quota", "simulated=gpu:1,gpu:2,cpu:1"), "twice"),
        (
            ("create", "x", "--quota", "simulated=gpu:1"),
            "how much cpu and memory: add an amount, or cpu:all,memory:all",
        ),
        (("create", "x", "--quota", "simulated=gpu:1.5,cpu:all,memory:all"), "whole cards"),
        (("create", "x", "--quota", "simulated=gpu:1,cpu:all,memory:512"), "unit"),
        (("create", "x", "--quota", "simulated=gpu:-1,cpu:all,memory:all"), "a number"),
        (("create", "x", "--quota", "simulated=gpu:99999999999,cpu:all,memory:all"), "counted"),
        (("create", "x", "--borrow", "simulated=any"), "give a --quota"),
        (("create", "x", "--quota", "none=cpu:1,memory:1GiB"), "gyre flavors list"),
        (("set", "default"), "Say what to change"),
        (("set", "default", "--no-quota", "none"), "no quota of that flavor"),
    ],
)
async def test_a_quota_that_makes_no_sense_is_refused_before_anything_is_asked(
    command: tuple[str, ...], words: str, capsys: Capture
) -> None:
    await gyre("queues", "list", "-p", "acme")  # the default cluster queue is made at first use
    assert await gyre("cluster-queues", *command) == Exit.USAGE
    assert words in " ".join(capsys.readouterr().err.split())


async def test_what_only_the_platform_knows_it_refuses_by_name(capsys: Capture) -> None:
    refusals = {
        ("cluster-queues", "create", "x", "--cohort", "none"): "no cohort of that name",
        ("cluster-queues", "create", "x", "--quota", "simulated=gpu:99,cpu:all,memory:all"): "more than all nodes",
        ("cluster-queues", "show", "none"): "no cluster queue of that name",
        ("cohorts", "create", "Labs!"): "1 to 63",
    }
    for command, words in refusals.items():
        assert await gyre(*command) in (Exit.FAILURE, Exit.NOT_FOUND), command
        assert words in capsys.readouterr().err


def test_only_what_is_named_of_a_quota_changes_and_nodes_that_are_away_count_for_nothing() -> None:
    there = [
        Node(flavor="flavors/a", state="STATE_READY", capacity=Resources(cpu_milli=4000, memory_bytes=GIB, gpu=2)),
        Node(flavor="flavors/a", state="STATE_LOST", capacity=Resources(cpu_milli=4000, memory_bytes=GIB, gpu=2)),
    ]
    capacity = capacity_of(there)
    assert capacity == {"flavors/a": {"cpu": 4000, "memory": GIB, "gpu": 2}}
    asked = Amounts().convert("a=gpu:1,cpu:all,memory:0.5GiB", None, None)
    (first,) = merged((), [asked], (), (), (), capacity)
    assert (first.nominal.cpu_milli, first.nominal.memory_bytes, first.nominal.gpu) == (4000, GIB // 2, 1)
    first.used.gpu = 1
    limit = Amounts().convert("a=gpu:0,cpu:0,memory:0B", None, None)
    (second,) = merged([first], (), (), [limit], (), capacity)
    assert second.nominal == first.nominal
    assert second.HasField("lending_limit")
    assert not second.HasField("used")
    assert merged([first], (), (), (), ["a"], capacity) == []


async def gyre(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))


async def said(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert await gyre(*arguments, "--json") == Exit.OK
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def _projects(client: Gyre) -> list[Any]:
    return list(client.projects.list())


async def _empty(platform: Platform) -> None:
    for component in ("api_gateway", "gpu_scheduler"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
