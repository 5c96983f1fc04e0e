"""Cluster map and showback in a real browser, over work that really holds cards (simulated ones, and labelled so)."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gyre.gpu_scheduler.v1 import workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.auth import Identity, Role, Signer, acting_as
from gyre_kit.db import Database
from gyre_kit.names import new_id
from gyre_kit.rpc import Clients
from gyre_kit.settings import KitSettings
from gyre_sdk import messages
from playwright.sync_api import Browser, Page, expect

from services.gpu_scheduler import store_nodes
from services.gpu_scheduler.models import Attempt, Workload
from tests.browser.browsing import LOADING, PATIENCE_MS, signed_in
from tests.browser.language import foreign_labels
from tests.chaos.harness import until
from tests.conftest import Running, start, stop

MODULE = "services.gpu_scheduler.tests.sample_work"
USER = "projects/default/keys/nightly"
CARDS = 2  # of 4
FIGURES = 14  # that a what-if compares

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def platform() -> Iterator[Running]:
    """Four simulated cards, of which one workload holds two; another has failed. And a past to replay."""
    running = start(GYRE_SIMULATED_CARDS="4", GYRE_WORKLOAD_MODULES=json.dumps([MODULE]))
    try:
        with ThreadPoolExecutor(1) as aside:  # the browser has a loop in this thread
            aside.submit(asyncio.run, _ensure(running, {"do": "wait"}, gpu=CARDS)).result()
            aside.submit(asyncio.run, _ensure(running, {"do": "exit", "code": 3}, gpu=0)).result()
        until(lambda: _states(running) == {"RUNNING", "FAILED"}, "one that holds and one that failed", 60)
        with ThreadPoolExecutor(1) as aside:
            aside.submit(asyncio.run, _past_jobs(running)).result()
        yield running
    finally:
        stop(running)


@pytest.fixture(params=["en-US", "zh-CN"])
def page(request: pytest.FixtureRequest, browser: Browser, platform: Running) -> Iterator[Page]:
    with signed_in(browser, platform.rest_url, platform.admin_key, request.param) as page:
        yield page


def test_every_card_is_a_tile_that_tells_who_holds_it(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/cluster")
    tiles = page.locator(".map-node .tile")
    expect(tiles).to_have_count(4)
    expect(page.locator(".map-node .tile.held.simulated")).to_have_count(CARDS)
    expect(page.locator("figure svg, figure canvas")).to_have_count(2)
    expect(page.locator("figcaption").last).to_contain_text(re.compile(r"attempt|尝试"))
    expect(page.locator(LOADING)).to_have_count(0)
    _check_language(page)
    tiles.first.hover()
    expect(page.get_by_role("tooltip").first).to_contain_text(re.compile(r"Workload …|工作负载 …"))
    expect(page.get_by_role("tooltip").first).to_contain_text(re.compile(r"Simulated|模拟"))
    page.screenshot(path=tmp_path / "cluster.png", full_page=True)


def test_what_was_held_is_told_by_user_and_comes_as_a_file(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/showback?by=user,kind&scope=all&days=7")
    report = page.locator("section.panel").nth(1)  # below the chart
    expect(report.locator("tbody tr.ant-table-row")).to_have_count(2)
    expect(page.locator("figure svg")).to_have_count(1)
    expect(page.locator(LOADING)).to_have_count(0)
    page.screenshot(path=tmp_path / "showback.png", full_page=True)
    _check_language(page)
    with page.expect_download() as download:
        page.locator("header a[download]").click()
    file = tmp_path / "showback.csv"
    download.value.save_as(file)
    title, *rows = csv.reader(file.read_text("utf-8-sig").splitlines())
    assert title[:2] == ["user", "kind"]
    assert {(each[0], each[1]) for each in rows} == {(USER, "TRAINER"), (USER, "JOB")}
    assert max(float(each[4]) for each in rows) > 0, "cards were held"


def test_how_well_machines_were_used_and_how_long_work_waited_stands_beside(
    page: Page, platform: Running, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": 1440, "height": 1900})
    page.goto(f"{platform.rest_url}/p/default/showback?days=7")
    machines, waits = (
        page.locator("section.panel").filter(has_text=re.compile(title))
        for title in ("How well machines were used|机器使用情况", "How long work waited|等待时间")
    )
    held = machines.get_by_role("meter", name="simulated")
    expect(held.first).to_have_attribute("aria-valuetext", re.compile(r"\d%$"))
    expect(machines).to_contain_text(re.compile("Fragmentation: of|碎片："))
    expect(waits.locator("tbody tr.ant-table-row")).to_have_count(1)
    expect(waits.locator("tbody tr.ant-table-row td").nth(1)).to_have_text("5")  # of the past, and now
    expect(page.locator(LOADING)).to_have_count(0)
    _check_language(page)
    page.screenshot(path=tmp_path / "showback-machines.png")
    machines.get_by_text(re.compile("^(Node|节点)$")).first.click()
    expect(page).to_have_url(re.compile("machines=node"))
    expect(machines.locator("thead th").first).to_have_text(re.compile("^(Node|节点)"))
    with page.expect_download() as download:
        machines.locator("a[download]").click()
    file = tmp_path / "efficiency.csv"
    download.value.save_as(file)
    (row,) = csv.DictReader(file.read_text("utf-8-sig").splitlines())
    assert row["node"].startswith("nodes/") and float(row["card_held_seconds"]) > 0


def test_a_node_is_taken_out_of_use_and_put_back(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/cluster")
    node = page.locator(".map-node")
    expect(node.get_by_role("button", name=re.compile("^(Drain|排空)$"))).to_be_visible()
    _check_language(page)
    node.get_by_role("button", name=re.compile("^(Cordon|停止接纳)$")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^(Cordon|停止接纳)$")).click()
    expect(page.locator(".map-node.cordoned")).to_have_count(1)
    page.screenshot(path=tmp_path / "cordoned.png", full_page=True)
    page.get_by_role("button", name=re.compile("^(Undo|撤销)$")).click()
    expect(page.locator(".map-node.ready")).to_have_count(1)


def test_the_map_shows_nodes_of_one_state_alone(page: Page, platform: Running) -> None:
    page.goto(f"{platform.rest_url}/p/default/cluster")
    expect(page.locator(".map-node")).to_have_count(1)
    page.get_by_role("combobox", name=re.compile("^(State|状态)$")).press("Enter")
    page.get_by_title(re.compile("^(Lost|失联)$")).click()
    expect(page.get_by_text(re.compile("No node is like that|没有符合条件的节点"))).to_be_visible()
    expect(page.locator(".map-node")).to_have_count(0)


def test_the_history_is_shown_by_queue_and_for_an_hour(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/cluster")
    lanes = page.locator("figcaption").last
    expect(lanes).to_contain_text(re.compile(r"attempt|尝试"))
    by_node = lanes.inner_text()
    page.get_by_text(re.compile("^(Queues|队列)$")).last.click()
    with page.expect_response(lambda reply: "/attempts" in reply.url):
        page.get_by_text(re.compile("^1 (h|小时)$")).click()
    expect(lanes).not_to_have_text(by_node)
    expect(page.locator("figure svg text", has_text=re.compile("^(now|现在)$"))).to_have_count(1)
    page.screenshot(path=tmp_path / "by-queue.png", full_page=True)
    _check_language(page)


def test_what_if_tells_what_another_node_would_have_changed(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/what-if")
    expect(page.get_by_text(re.compile("Nothing asked yet|尚未提问"))).to_be_visible()
    page.locator("button[type=submit]").click()
    expect(page.locator("tbody tr.ant-table-row")).to_have_count(FIGURES)
    expect(page.locator("figure svg")).to_have_count(1)
    expect(page.get_by_text(re.compile("^(Simulated|模拟)$"))).to_be_visible()
    page.screenshot(path=tmp_path / "what-if.png", full_page=True)
    _check_language(page)


def test_what_if_takes_nodes_away_and_leaves_one(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/what-if")
    page.locator("#nodes").fill("0")
    page.locator("button[type=submit]").click()
    expect(page.get_by_text(re.compile("Add a node, or choose one|请增加节点，或选择"))).to_be_visible()
    page.locator("#removals").click()
    page.locator(".ant-select-dropdown:visible .ant-select-item-option").first.click()
    page.keyboard.press("Escape")
    page.locator("button[type=submit]").click()
    expect(page.get_by_text(re.compile("Leave a node, or add one|请至少保留或增加一个节点"))).to_be_visible()
    page.locator("#nodes").fill("2")
    page.locator("button[type=submit]").click()
    rows = page.locator("tbody tr.ant-table-row")
    expect(rows).to_have_count(FIGURES)
    expect(rows.first.locator("td")).to_have_text([re.compile("Nodes|节点数"), "1", "2", "+100%"])
    expect(page.get_by_text(re.compile("What is taken away cost|移除部分原为"))).to_be_visible()
    page.screenshot(path=tmp_path / "what-if-fewer.png", full_page=True)
    _check_language(page)


async def _past_jobs(running: Running) -> None:
    """Three of an hour ago, one after another: a replay ends at the last whole five minutes."""
    settings = KitSettings(home=running.home, port_offset=running.port_offset, database_url="")  # no other test's
    db = Database(settings.database_url_of("gpu_scheduler"), "gpu_scheduler")
    async with db.transaction() as session:
        node = (await store_nodes.nodes(session))[0]
        for number in range(3):
            begin = datetime.now(UTC) - timedelta(minutes=60 - 10 * number)
            name = f"projects/default/workloads/{new_id()}"
            held = {"project": "default", "cpu_milli": 200, "memory_bytes": 0, "gpu": CARDS}
            session.add(
                Workload(
                    name=name, uid=name, number=900 + number, state="FINISHED", kind="JOB", module=MODULE, user=USER,
                    spec_json="{}", queue="projects/default/queues/default", queue_time=begin, attempt=1, **held,
                )
            )  # fmt: skip
            session.add(
                Attempt(
                    name=f"{name}/attempts/1", workload=name, number=1, node=node.name, flavor=node.flavor,
                    cpu_hour_microusd=0, gpu_hour_microusd=0, admit_time=begin, end_time=begin + timedelta(minutes=8),
                    exit_code=0, **held,
                )
            )  # fmt: skip
    await db.close()


def _states(running: Running) -> set[str]:
    return {messages.enum_name(item, "state") for item in running.client().workloads.list()}


def _check_language(page: Page) -> None:
    if page.locator("html").get_attribute("lang") == "zh-CN":
        assert foreign_labels(page) == []


async def _ensure(running: Running, spec: dict[str, object], gpu: int) -> None:
    settings = KitSettings(home=running.home, port_offset=running.port_offset)
    clients = Clients(settings, Signer("api_gateway", settings.keys_folder))
    wanted = workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.KIND_TRAINER if gpu else workload_pb2.Workload.KIND_JOB,
        module=MODULE,
        spec_json=json.dumps(spec),
        requests={"cpu_milli": 200, "gpu": gpu},
        max_attempts=1,
        user=USER,
        display_name="<b>nightly</b>",
    )
    request = api.EnsureWorkloadRequest(name=f"projects/default/workloads/{new_id()}", spec=wanted)
    with acting_as(Identity("keys/test", "default", Role.ENGINEER)):
        await clients.stub(WorkloadServiceStub).EnsureWorkload(request)
    await clients.close()
