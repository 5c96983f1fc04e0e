"""Queues and quotas, and the page of a workload, in a real browser: two teams share four simulated cards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gyre_sdk import messages
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import LOADING, PATIENCE_MS, signed_in
from tests.browser.language import foreign_labels
from tests.chaos.harness import until
from tests.conftest import Running, start, stop
from tests.work import MODULE, trainer

OWN = "simulated=gpu:2,cpu:2,memory:2GiB"
# What people gave, and what Ant Design calls the icon inside a button that has a name of its own.
NAMES = ("labs", "vision", "speech", "nightly", "default", "simulated", "deadline", "close")
BORROWED = re.compile(r"^(3 of 2 · 1 borrowed|3 / 2 · 借用 1)$")
LENT = re.compile(r"^(0 of 2 · 1 lent|0 / 2 · 借出 1)$")
CARDS = re.compile(r"^simulated · (Cards|算力卡)$")

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def platform() -> Iterator[Running]:
    """Of four simulated cards each of two teams has two, and one of them uses three."""
    running = start(
        GYRE_SIMULATED_CARDS="4",
        GYRE_NODE_CPU_MILLI="4000",
        GYRE_NODE_MEMORY_BYTES=str(4 * 1024**3),
        GYRE_STOP_GRACE_SECONDS="1",
        GYRE_WORKLOAD_MODULES=json.dumps([MODULE]),
    )
    try:
        _command(running, "cohorts", "create", "labs")
        for team in ("vision", "speech"):
            _command(running, "cluster-queues", "create", team, "--cohort", "labs", "--quota", OWN)
            _command(running, "queues", "create", team, "--cluster-queue", team)
        for _ in range(3):
            trainer(running, "speech", cpu_milli=200, gpu=1)
        until(lambda: _states(running) == ["RUNNING"] * 3, "three that run, one on a borrowed card", 60)
        yield running
    finally:
        stop(running)


@pytest.fixture(params=["en-US", "zh-CN"])
def page(request: pytest.FixtureRequest, browser: Browser, platform: Running) -> Iterator[Page]:
    with signed_in(browser, platform.rest_url, platform.admin_key, request.param) as page:
        yield page


def test_who_borrows_and_who_lends_is_seen_in_the_cohort(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/queues")
    labs = page.get_by_role("region", name="labs")
    speech, vision = (labs.get_by_role("article", name=team) for team in ("speech", "vision"))
    expect(speech.get_by_role("meter", name=CARDS)).to_have_attribute("aria-valuetext", BORROWED)
    expect(vision.get_by_role("meter", name=CARDS)).to_have_attribute("aria-valuetext", LENT)
    expect(page.get_by_role("row").filter(has_text="speech")).to_have_count(1)
    expect(page.locator(LOADING)).to_have_count(0)
    _check_language(page)
    page.screenshot(path=tmp_path / "queues.png", full_page=True)


def test_an_operator_makes_changes_and_deletes_a_cluster_queue(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/queues")
    page.get_by_role("button", name=re.compile("New cluster queue|新建集群队列")).click()
    drawer = page.get_by_role("dialog")
    drawer.locator("#cluster_queue_id").fill("nightly")
    drawer.get_by_role("button", name=re.compile("Add a flavor|添加资源类型")).click()
    _choose(page, "#quotas_0_flavor", "simulated")
    drawer.locator("#quotas_0_nominal_cards").fill("9")
    drawer.locator("#quotas_0_nominal_cores").fill("1.5")
    drawer.locator("#quotas_0_nominal_gigabytes").fill("0.5")
    _check_language(page)
    page.screenshot(path=tmp_path / "drawer.png")
    drawer.get_by_role("button", name=re.compile("^(Create|创.?建)$")).click()
    expect(drawer.get_by_text(re.compile("more than all nodes have: 4|超出全部节点所有：4"))).to_be_visible()
    drawer.locator("#quotas_0_nominal_cards").fill("1")
    drawer.get_by_role("button", name=re.compile("^(Create|创.?建)$")).click()
    nightly = page.get_by_role("article", name="nightly")
    expect(nightly.get_by_role("meter", name=CARDS)).to_have_attribute("aria-valuetext", re.compile("^0 (of|/) 1$"))
    nightly.get_by_role("button", name=re.compile("Change|修改")).click()
    _choose(page, "#cohort", "labs")
    drawer.get_by_role("button", name=re.compile("^(Save|保.?存)$")).click()
    inside = page.get_by_role("region", name="labs").get_by_role("article", name="nightly")
    expect(inside).to_be_visible()
    inside.get_by_role("button", name=re.compile("Delete|删除")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^(Delete|删.?除)$")).click()
    expect(nightly).to_have_count(0)


def test_a_quota_below_what_is_used_says_what_will_be_taken_back(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/queues")
    page.get_by_role("article", name="speech").get_by_role("button", name=re.compile("Change|修改")).click()
    drawer = page.get_by_role("dialog")
    excess = drawer.get_by_role("status")
    expect(excess).to_contain_text(re.compile(r"3 used, 2 its own.*beyond that, 1|已用 3，自有 2。超出的 1"))
    drawer.locator("#quotas_0_nominal_cards").fill("0")
    expect(excess).to_contain_text(re.compile("beyond that, 3, counts as borrowed|超出的 3 视为借用"))
    _check_language(page)
    page.screenshot(path=tmp_path / "excess.png")
    _choose(page, "#cohort", re.compile("In no cohort|不属于任何队列组"))
    expect(excess).to_contain_text(re.compile("nothing more is admitted until|在释放 3 之前"))
    drawer.get_by_role("button", name=re.compile("^(Cancel|取.?消)$")).click()


def test_a_drawer_that_is_opened_again_shows_what_is_so_now(page: Page, platform: Running) -> None:
    """Neither what was typed and not saved, nor another queue's figures, nor its own of a while ago."""
    page.goto(f"{platform.rest_url}/p/default/queues")
    drawer, cards = page.get_by_role("dialog"), page.get_by_role("dialog").locator("#quotas_0_nominal_cards")

    def opens(team: str) -> None:
        page.get_by_role("article", name=team).get_by_role("button", name=re.compile("Change|修改")).click()
        expect(cards).to_have_value("2")

    def closes() -> None:
        drawer.get_by_role("button", name=re.compile("^(Cancel|取.?消)$")).click()
        expect(drawer).to_have_count(0)

    opens("speech")
    cards.fill("0")
    closes()
    page.get_by_role("button", name=re.compile("New cluster queue|新建集群队列")).click()
    expect(drawer.locator("#cluster_queue_id")).to_have_value("")
    expect(cards).to_have_count(0)
    closes()
    opens("vision")
    closes()
    opens("speech")
    closes()
    _command(platform, "cluster-queues", "set", "vision", "--quota", OWN.replace("cpu:2", "cpu:3"))
    meter = page.get_by_role("article", name="vision").get_by_role("meter", name=re.compile("Cores|核"))
    expect(meter.first).to_have_attribute("aria-valuetext", re.compile("(of|/) 3"))
    opens("vision")
    expect(drawer.locator("#quotas_0_nominal_cores")).to_have_value("3")
    closes()
    _command(platform, "cluster-queues", "set", "vision", "--quota", OWN)


def test_an_operator_makes_changes_and_deletes_a_priority_class(page: Page, platform: Running, tmp_path: Path) -> None:
    page.goto(f"{platform.rest_url}/p/default/queues")
    page.get_by_role("button", name=re.compile("New priority class|新建优先级类别")).click()
    drawer = page.get_by_role("dialog")
    drawer.locator("#priority_class_id").fill("deadline")
    drawer.locator("#value").fill("1000")
    _check_language(page)
    drawer.get_by_role("button", name=re.compile("^(Create|创.?建)$")).click()
    row = page.get_by_role("row").filter(has_text="deadline")
    expect(row).to_contain_text("1,000")
    page.screenshot(path=tmp_path / "classes.png", full_page=True)
    row.get_by_role("button", name=re.compile("Change|修改")).click()
    drawer.locator("#value").fill("50")
    drawer.get_by_role("button", name=re.compile("^(Save|保.?存)$")).click()
    expect(row.locator("td").nth(1)).to_have_text("50")
    row.get_by_role("button", name=re.compile("Delete|删除")).click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(re.compile("keeps its priority|保留原优先级"))
    _check_language(page)
    question.get_by_role("button", name=re.compile("^(Delete|删.?除)$")).click()
    expect(row).to_have_count(0)


def test_whoever_is_no_operator_sees_why_he_may_not(browser: Browser, platform: Running) -> None:
    key = platform.client().keys.create("ADMIN", "lead").secret
    with signed_in(browser, platform.rest_url, key) as page:
        page.goto(f"{platform.rest_url}/p/default/queues")
        expect(page.get_by_role("article", name="speech")).to_be_visible()
        expect(page.get_by_role("button", name="New cluster queue")).to_be_disabled()
        expect(page.get_by_role("button", name="New priority class")).to_be_disabled()
        page.get_by_role("button", name="New cluster queue").locator("xpath=..").hover()
        expect(page.get_by_role("tooltip")).to_contain_text("takes a key of the whole platform")


def test_a_queue_of_the_project_is_held_and_released(page: Page, platform: Running) -> None:
    page.goto(f"{platform.rest_url}/p/default/queues")
    row = page.get_by_role("row").filter(has_text="vision")
    row.get_by_role("button", name=re.compile("Hold|暂停")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^(Hold|暂.?停)$")).click()
    expect(row).to_contain_text(re.compile("Held|已暂停"))
    row.get_by_role("button", name=re.compile("Release|恢复")).click()
    expect(row).to_contain_text(re.compile("Active|启用|正常|活跃"))


def test_a_workload_tells_why_it_waits_and_for_whom_it_gave_way(page: Page, platform: Running, tmp_path: Path) -> None:
    gave_way = _reclaimed(platform)
    page.goto(f"{platform.rest_url}/p/default/workloads/{gave_way.rpartition('/')[2]}")
    why = page.get_by_role("region", name=re.compile("Why it waits|等待原因"))
    expect(why).to_contain_text(re.compile(r"Needs 1 × simulated; .*osition 1 in speech", re.DOTALL))
    timeline = page.locator(".timeline li")
    expect(timeline).to_have_count(4)
    expect(timeline.nth(3)).to_contain_text(re.compile("A cluster queue took back what it had lent|收回了借出的资源"))
    expect(timeline.nth(3).get_by_role("link")).to_have_count(1)
    expect(page.locator("pre.log")).to_contain_text("attempt 1 begins")
    expect(page.locator(LOADING)).to_have_count(0)
    _check_language(page)
    page.screenshot(path=tmp_path / "workload.png", full_page=True)
    page.get_by_role("button", name=re.compile("^(Hold|暂.?停)$")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^(Hold|暂.?停)$")).click()
    expect(why).to_contain_text(re.compile("It is held|已暂停"))
    page.get_by_role("button", name=re.compile("^(Release|恢.?复)$")).click()
    expect(page.get_by_role("button", name=re.compile("^(Hold|暂.?停)$"))).to_be_visible()


def _reclaimed(running: Running) -> str:
    """The workload of speech that had to go because vision took back its own; makes it so at first."""
    client = running.client()
    if len(list(client.workloads.list())) == 3:
        for _ in range(2):
            trainer(running, "vision", cpu_milli=200, gpu=1)
        until(lambda: sorted(_states(running)) == ["QUEUED", *["RUNNING"] * 4], "one that gave way", 60)
    (found,) = [item for item in client.workloads.list() if item.preemptions]
    assert found.preemption_rule == "RECLAIM"
    return str(found.name)


def _choose(page: Page, field: str, option: str | re.Pattern[str]) -> None:
    page.locator(field).click()
    page.locator(".ant-select-dropdown:visible .ant-select-item-option", has_text=option).click()


def _command(running: Running, *arguments: str) -> None:
    done = running.command(*arguments)
    assert done.returncode == 0, done.stderr


def _states(running: Running) -> list[str]:
    return [messages.enum_name(item, "state") for item in running.client().workloads.list()]


def _check_language(page: Page) -> None:
    if page.locator("html").get_attribute("lang") == "zh-CN":
        assert foreign_labels(page, NAMES) == []
