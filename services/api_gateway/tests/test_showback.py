"""What was held, as REST tells it: in groups, by project, as a file for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from gyre_kit import migrate
from gyre_kit.app import Context
from gyre_kit.names import new_id
from gyre_kit.testing import Platform

from services.api_gateway import main
from services.api_gateway.settings import Settings
from services.gpu_scheduler import main as scheduler_main
from services.gpu_scheduler.models import Attempt, Workload
from services.gpu_scheduler.settings import Settings as SchedulerSettings

HOUR = timedelta(hours=1)
FORMULA = "=HYPERLINK(1)"


@pytest.fixture(scope="module")
async def http(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """REST and the scheduler, with three hours held in two projects; asked with the first administrator's key."""
    await _fresh(platform)
    gateway = replace(main.app, settings=platform.settings(Settings))
    scheduler = replace(scheduler_main.app, settings=platform.settings(SchedulerSettings, node_id="showback"))
    async with platform.serving(gateway, scheduler) as (_, context):
        await _hold(context, "default", "keys/ada", hours=2)
        await _hold(context, "default", FORMULA, hours=1)
        await _hold(context, "other", "keys/eve", hours=4)
        key = (platform.home / "admin.key").read_text()
        base = f"http://127.0.0.1:{platform.settings().console_port}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=20) as client:
            yield client
    await _fresh(platform)


async def _fresh(platform: Platform) -> None:
    for component in ("api_gateway", "gpu_scheduler"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)


async def _hold(context: Context, project: str, user: str, hours: int) -> None:
    """A workload that ended a minute ago and held one core at 1 dollar an hour."""
    end = datetime.now(UTC) - timedelta(minutes=1)
    name = f"projects/{project}/workloads/{new_id()}"
    async with context.db.transaction() as session:
        session.add(
            Workload(
                name=name, uid=name, project=project, number=hours, state="FINISHED", kind="JOB", module="m",
                spec_json="{}", cpu_milli=1000, memory_bytes=0, gpu=0, attempt=1, user=user,
                queue=f"projects/{project}/queues/default", queue_time=end - hours * HOUR,
            )
        )  # fmt: skip
        session.add(
            Attempt(
                name=f"{name}/attempts/1", project=project, workload=name, number=1, node="nodes/showback",
                flavor="flavors/cpu", cpu_milli=1000, memory_bytes=0, gpu=0, cpu_hour_microusd=1_000_000,
                gpu_hour_microusd=0, admit_time=end - hours * HOUR, end_time=end,
            )
        )  # fmt: skip


async def test_usage_comes_in_groups_the_dearest_first_and_in_pages(http: httpx.AsyncClient) -> None:
    asked = {"group_by": "user", "page_size": 1}
    first = (await http.get("/projects/default/capacity-usage", params=asked)).json()
    assert [(row["user"], row["cost_microusd"]) for row in first["rows"]] == [("keys/ada", "2000000")]
    assert (first["total_size"], first["total"]["held_seconds"]) == (2, 3 * 3600)
    asked |= {"page_token": first["next_page_token"]}
    second = (await http.get("/projects/default/capacity-usage", params=asked)).json()
    assert [row["user"] for row in second["rows"]] == [FORMULA]
    assert second["next_page_token"] == ""


async def test_an_administrator_of_all_sees_all_projects_and_a_member_its_own(http: httpx.AsyncClient) -> None:
    everything = (await http.get("/capacity-usage", params={"group_by": "project"})).json()
    assert [row["project"] for row in everything["rows"]] == ["projects/other", "projects/default"]
    made = (await http.post("/projects/default/keys", json={"role": "ROLE_VIEWER"})).json()
    member = {"authorization": f"Bearer {made['secret']}"}
    own = (await http.get("/capacity-usage", params={"group_by": "project"}, headers=member)).json()
    assert [row["project"] for row in own["rows"]] == ["projects/default"]
    attempts = (await http.get("/attempts", headers=member)).json()
    assert {each["workload"].split("/")[1] for each in attempts["attempts"]} == {"default"}
    for path in ("/projects/other/capacity-usage", "/projects/other/capacity-usage.csv", "/projects/-/attempts"):
        assert (await http.get(path, headers=member)).status_code == 404, path


async def test_a_spreadsheet_gets_no_formula(http: httpx.AsyncClient) -> None:
    asked = {"group_by": "user,kind", "order_by": "held_seconds desc"}
    reply = await http.get("/projects/default/capacity-usage.csv", params=asked)
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="capacity-usage-default-' in reply.headers["content-disposition"]
    title, *rows = csv.reader(io.StringIO(reply.text.removeprefix("\ufeff")))
    assert title == [
        "user", "kind", "held_seconds", "core_seconds", "card_seconds", "cost_usd", "attempt_count", "preemption_count",
    ]  # fmt: skip
    assert rows == [
        ["keys/ada", "JOB", "7200.000", "7200.000", "0.000", "2.000000", "1", "0"],
        [f"'{FORMULA}", "JOB", "3600.000", "3600.000", "0.000", "1.000000", "1", "0"],
    ]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"group_by": "planet"}, "UNKNOWN_GROUP"),
        ({"filter": "planet=earth"}, "BAD_FILTER"),
        ({"group_by": "user", "order_by": "queue"}, "BAD_ORDER"),
        ({"start_time": "2031-01-01T00:00:00Z"}, "BAD_PERIOD"),
    ],
)
async def test_what_cannot_be_told_is_refused_by_name(
    http: httpx.AsyncClient, asked: dict[str, str], reason: str
) -> None:
    for path in ("/capacity-usage", "/capacity-usage.csv"):
        reply = await http.get(path, params=asked)
        assert (reply.status_code, reply.json()["reason"]) == (400, reason)


async def test_utilisation_and_queues_are_told(http: httpx.AsyncClient) -> None:
    start = (datetime.now(UTC) - 5 * HOUR).isoformat()
    told = (await http.get("/utilisation", params={"start_time": start, "step": "STEP_HOUR"})).json()
    assert sum(step["core_held_seconds"] for step in told["steps"]) == pytest.approx(7 * 3600)
    assert told["fragmentation"]["stranded_cards"] == 0
    refused = await http.get("/utilisation", params={"step": "STEP_HOUR"})
    assert refused.json()["reason"] == "TOO_MANY_STEPS"
    await http.get("/projects/default/queues")  # the default queue is made when somebody looks
    queues = (await http.get("/projects/default/queue-statistics")).json()["queues"]
    assert [(queue["queue"], queue["admission_count"]) for queue in queues] == [
        ("projects/default/queues/default", "2")
    ]


async def test_how_well_machines_were_used_is_told_by_node_and_flavor_and_as_a_file(http: httpx.AsyncClient) -> None:
    asked = {"start_time": (datetime.now(UTC) - 5 * HOUR).isoformat(), "by": "BY_NODE"}
    told = (await http.get("/efficiency", params=asked)).json()
    assert [(row["node"], row["flavor"]) for row in told["rows"]] == [("nodes/showback", "")]
    assert told["total"]["core_held_seconds"] == pytest.approx(7 * 3600)
    assert told["total_size"] == 1 and told["stranded_card_seconds"] == 0
    reply = await http.get("/efficiency.csv", params=asked)
    assert 'filename="efficiency-node-' in reply.headers["content-disposition"]
    title, *rows = csv.reader(io.StringIO(reply.text.removeprefix("\ufeff")))
    held = dict(zip(title, rows[0], strict=True))
    assert (held["node"], float(held["core_held_seconds"])) == ("nodes/showback", pytest.approx(7 * 3600))
    flavors = (await http.get("/efficiency.csv")).text.splitlines()
    assert flavors[1].startswith("flavors/cpu,")
    assert (await http.get("/efficiency", params={"order_by": "planet"})).json()["reason"] == "BAD_ORDER"
    assert (await http.get("/efficiency.csv", params={"by": "BY_PLANET"})).status_code == 400


async def test_waits_come_as_a_file_of_the_own_queues(http: httpx.AsyncClient) -> None:
    await http.get("/projects/default/queues")  # the default queue is made when somebody looks
    reply = await http.get("/projects/default/queue-statistics.csv")
    title, *rows = csv.reader(io.StringIO(reply.text.removeprefix("\ufeff")))
    (row,) = (dict(zip(title, each, strict=True)) for each in rows)
    assert (row["queue"], row["admission_count"]) == ("projects/default/queues/default", "2")
    assert (row["wait_p99_seconds"], row["head_wait_seconds"]) == ("0.000", "")


async def test_attempts_come_newest_first_in_pages_and_by_their_user(http: httpx.AsyncClient) -> None:
    first = (await http.get("/attempts", params={"page_size": 2})).json()
    assert [each["user"] for each in first["attempts"]] == [FORMULA, "keys/ada"]
    asked = {"page_size": 2, "page_token": first["next_page_token"]}
    second = (await http.get("/attempts", params=asked)).json()
    assert [(each["user"], each["cost_microusd"]) for each in second["attempts"]] == [("keys/eve", "4000000")]
    assert (second["next_page_token"], second["total_size"]) == ("", 3)
    only = (await http.get("/attempts", params={"filter": "user=keys/ada AND node=nodes/showback"})).json()
    assert [each["workload_number"] for each in only["attempts"]] == [2]
    other = await http.get("/attempts", params=asked | {"filter": "user=keys/ada"})
    assert other.json()["reason"] == "BAD_PAGE_TOKEN"
    long_ago = {"start_time": "2020-01-01T00:00:00Z", "end_time": "2020-01-02T00:00:00Z"}
    assert (await http.get("/attempts", params=long_ago)).json()["attempts"] == []
