"""A run that a person steers, by command and in a real browser: the platform and the trainer are real, the model tiny."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gyre_sdk.messages import enum_name
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import LOADING, PATIENCE_MS, signed_in
from tests.browser.language import foreign_labels
from tests.chaos.harness import until
from tests.conftest import Running, start, stop
from tests.tiny import tiny_base

HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
LONG = {"max_steps": 20_000, "checkpoint_every": 20, "batch_size": 4, "max_length": 64}
# What people gave, and what Ant Design calls the icon inside a button that has a name of its own.
NAMES = ("tiny", "rows", "steered", "close", "question-circle", "cpu")

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(GYRE_NODE_CPU_MILLI="4000")
    try:
        gyre, folder = running.client(), tmp_path_factory.mktemp("tiny")
        lines = HOTLINE.read_text("utf-8").splitlines()[:60]
        tiny_base(gyre, folder, lines)
        (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
        gyre.datasets.wait_version(gyre.datasets.import_file(folder / "rows.jsonl", "rows", "SFT").name, timeout=180)
        yield running
    finally:
        stop(running)


@pytest.fixture(scope="module")
def number(platform: Running) -> str:
    """The short number of a run that trains and has checkpoints."""
    gyre = platform.client()
    base, data = gyre.models.version_name("tiny@1"), gyre.datasets.version_name("rows@1")
    run = gyre.runs.create(base=base, datasets=[data], hyperparameters=LONG, display_name="steered")
    until(lambda: list(gyre.runs.checkpoints(run.name)), "a checkpoint", 180)
    return str(run.number)


@pytest.fixture(params=["en-US", "zh-CN"])
def page(request: pytest.FixtureRequest, browser: Browser, platform: Running) -> Iterator[Page]:
    with signed_in(browser, platform.rest_url, platform.admin_key, request.param) as page:
        yield page


def command(running: Running, *arguments: str) -> Any:
    done = running.command("runs", *arguments, "--json", timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def open_run(page: Page, running: Running, number: str) -> None:
    run = running.client().runs.find(number)
    page.goto(f"{running.rest_url}/p/default/runs/{run.name.rpartition('/')[2]}")
    expect(page.locator(LOADING)).to_have_count(0)


def test_what_is_left_of_a_run_and_what_it_will_cost_is_on_its_page(
    page: Page, platform: Running, number: str, tmp_path: Path
) -> None:
    until(lambda: platform.client().runs.find(number).HasField("expected_cost_microusd"), "a price", 60)
    open_run(page, platform, number)
    expect(page.get_by_text(re.compile("95 times in 100|95% 的可能"))).to_be_visible()
    expect(page.get_by_text(re.compile("It will have cost about|预计总费用约为"))).to_be_visible()
    expect(page.locator("dt", has_text=re.compile("Peak memory|内存峰值"))).to_be_visible()
    expect(page.locator("dt", has_text=re.compile("Use of the card|算力利用率"))).to_have_count(0)  # on a CPU
    answers = page.locator(".samples").first
    expect(answers.get_by_text(re.compile("^(Step 0|第 0 步)$"))).to_be_visible()
    _look(page, tmp_path / "left.png")


def test_a_run_is_paused_and_resumed_on_its_page(page: Page, platform: Running, number: str, tmp_path: Path) -> None:
    open_run(page, platform, number)
    page.get_by_role("button", name=re.compile("^(Pause|暂.?停)$")).click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^(Pause|暂.?停)$")).click()
    resume = page.get_by_role("button", name=re.compile("^(Resume|恢.?复)$"))
    expect(page.get_by_text(re.compile("^(Paused|已暂停)$")).first).to_be_visible()
    _look(page, tmp_path / "paused.png")
    paused = platform.client().runs.find(number)
    (workload,) = [it for it in platform.client().workloads.list() if it.spec.owner == paused.name]
    assert (workload.held, enum_name(workload, "state")) == (True, "QUEUED")
    resume.click()

    def goes_on() -> bool:
        run = platform.client().runs.find(number)
        return enum_name(run, "state") == "RUNNING" and run.attempt > paused.attempt and run.step > paused.step

    until(goes_on, "the run goes on", 180)
    assert platform.client().runs.find(number).resumed_from_step >= paused.step


def test_a_run_is_forked_by_command_compared_on_a_page_and_kept(
    browser: Browser, platform: Running, number: str, tmp_path: Path
) -> None:
    fork = command(platform, "fork", number, "--set", "learning_rate=1e-5", "--set", "max_steps=20000")
    assert fork["forked_from"].startswith(fork["name"].rpartition("/")[0])
    gyre = platform.client()
    until(lambda: gyre.runs.get(fork["name"]).step > 30, "the fork trains", 180)
    laid = command(platform, "compare", number, str(fork["number"]))
    assert [len(one["points"]) > 0 for one in laid["runs"]] == [True, True]
    assert laid["runs"][1]["points"][0]["metrics"]["loss"] < laid["runs"][0]["points"][0]["metrics"]["loss"]
    printed = platform.command("runs", "compare", number, str(fork["number"]))
    assert "learning_rate=1e-05" in printed.stdout
    origin = gyre.runs.find(number).name.rpartition("/")[2]
    for locale in ("en-US", "zh-CN"):
        with signed_in(browser, platform.rest_url, platform.admin_key, locale) as page:
            page.goto(f"{platform.rest_url}/p/default/runs/compare?run={origin}&run={fork['name'].rpartition('/')[2]}")
            expect(page.locator("figcaption").first).to_contain_text(re.compile(f"#{number} .*; #{fork['number']} "))
            expect(page.get_by_role("row").filter(has_text="0.00001")).to_have_count(1)
            _look(page, tmp_path / f"compare-{locale}.png")
    ended = command(platform, "stop", number)
    assert (ended["state"], ended["stopped_early"]) == ("STATE_SUCCEEDED", True)
    assert 0 < ended["step"] < LONG["max_steps"]
    assert ended["output_digest"].startswith("sha256:")
    command(platform, "cancel", str(fork["number"]))


def test_what_can_be_set_of_a_method_and_watched_is_asked_for_in_the_drawer(
    page: Page, platform: Running, tmp_path: Path
) -> None:
    page.goto(f"{platform.rest_url}/p/default/runs")
    page.get_by_role("button", name=re.compile("Start a run|开始训练|启动训练")).first.click()
    drawer = page.get_by_role("dialog")
    drawer.locator("#recipe").click()
    page.locator(".ant-select-item-option").filter(has=page.get_by_text("ppo", exact=True)).click()
    drawer.get_by_text(re.compile("^(Best|最佳效果)$")).click()
    expect(drawer.locator("#hyperparameters_lora_rank")).to_have_value("32")
    for closed in drawer.locator("details > summary").all():
        closed.click()
    expect(drawer.locator("#hyperparameters_own_cliprange")).to_have_value("0.2")
    expect(drawer.get_by_text(re.compile("^(Policy clip|策略裁剪范围)"))).to_be_visible()
    expect(drawer.locator("#health_largest_kl")).to_have_value("20")
    expect(drawer.locator("#health_divergence")).to_have_count(0)
    drawer.locator("#health_largest_kl").scroll_into_view_if_needed()
    _look(page, tmp_path / "ppo.png")
    drawer.locator("#recipe").click()
    for _ in range(5):  # a long list shows but a part of itself
        page.keyboard.press("ArrowUp")
    page.locator(".ant-select-item-option").filter(has=page.get_by_text("dpo-lora", exact=True)).click()
    expect(drawer.locator("#hyperparameters_own_label_smoothing")).to_have_value("0")
    expect(drawer.locator("#health_divergence_ratio")).to_have_value("2")
    expect(drawer.locator("#hyperparameters_own_cliprange")).to_have_count(0)


def test_ten_steps_are_tried_in_the_drawer(page: Page, platform: Running, tmp_path: Path) -> None:
    runs = platform.client().runs
    before = runs.page().total_size
    page.goto(f"{platform.rest_url}/p/default/runs")
    page.get_by_role("button", name=re.compile("Start a run|开始训练|启动训练")).first.click()
    drawer = page.get_by_role("dialog")
    for field, wanted in (("recipe", "sft-lora"), ("base", "tiny"), ("datasets", "rows")):
        drawer.locator(f"#{field}").click()
        page.locator(".ant-select-item-option:visible").filter(has_text=wanted).first.click()
    page.keyboard.press("Escape")
    drawer.locator("#hyperparameters_max_length").fill("64")
    tried = drawer.get_by_role("region", name=re.compile("^(Ten steps, tried|试跑十步)$"))
    tried.get_by_role("button", name=re.compile("^(Try ten steps|试跑十步)$")).click()
    expect(tried.locator("figure")).to_have_count(3, timeout=240_000)
    expect(tried.locator("dd").first).to_contain_text(re.compile("^10 "))
    expect(tried.locator("dd").last).to_contain_text(
        re.compile("A share of the rows is longer|部分数据行超过最大词元数，末尾被截断")
    )
    read, learned = (
        tried.locator("figure pre").first.locator(which).first for which in (".try-read", ":not(.try-read)")
    )
    assert read.inner_text() and learned.inner_text()
    colours = [one.evaluate("node => getComputedStyle(node).color") for one in (read, learned)]
    assert colours[0] != colours[1]
    tried.scroll_into_view_if_needed()
    _look(page, tmp_path / "try.png")
    assert runs.page().total_size == before


def test_the_rules_of_a_run_are_on_its_page(page: Page, platform: Running, tmp_path: Path) -> None:
    chosen = ("--set", "max_steps=2", "--health", "divergence=ROLL_BACK", "--health", "divergence_ratio=3")
    run = command(platform, "start", "--base", "tiny@1", "--data", "rows@1", "--no-watch", *chosen)
    open_run(page, platform, str(run["number"]))
    page.get_by_text(re.compile("^(What is watched, and what follows|监测项与处理方式)$")).click()
    rule = page.get_by_text(re.compile("^(Divergence|发散)$")).locator("xpath=..")
    expect(rule).to_contain_text(re.compile("Go back to the best checkpoint|回退到最佳检查点"))
    _look(page, tmp_path / "rules.png")
    refused = platform.command("runs", "start", "--base", "tiny@1", "--data", "rows@1", "--set", "learning_rte=1")
    assert refused.returncode != 0 and "learning_rate" in refused.stderr


def test_a_run_that_is_run_again_makes_the_same_files(platform: Running) -> None:
    settings = ("--set", "max_steps=6", "--set", "lora_dropout=0.1", "--seed", "11")
    first = platform.command("runs", "start", "--base", "tiny@1", "--data", "rows@1", *settings, timeout=240)
    assert first.returncode == 0, first.stderr
    (number,) = re.findall(r"Run #(\d+) succeeded", first.stdout)
    again = platform.command("runs", "again", number, timeout=240)
    assert again.returncode == 0, again.stderr
    assert f"Its files are those of run #{number}, byte for byte: sha256:" in again.stdout


def test_an_ended_run_can_be_forked_on_its_page(page: Page, platform: Running, number: str, tmp_path: Path) -> None:
    open_run(page, platform, number)
    page.get_by_role("button", name=re.compile("^(Fork|派.?生)$")).click()
    drawer = page.get_by_role("dialog")
    drawer.locator("#hyperparameters_learning_rate").fill("0.00002")
    _look(page, tmp_path / "fork.png")
    drawer.get_by_role("button", name=re.compile("^(Fork|派.?生)$")).click()
    expect(page.get_by_text(re.compile("Forked from|派生自"))).to_be_visible()
    made = platform.client().runs.get(page.url.rpartition("/")[2])
    assert made.spec.hyperparameters.learning_rate == 0.00002
    platform.client().runs.cancel(made.name)


def _look(page: Page, picture: Path) -> None:
    expect(page.locator(LOADING)).to_have_count(0)
    if page.locator("html").get_attribute("lang") == "zh-CN":
        assert foreign_labels(page, NAMES) == []
    page.screenshot(path=picture, full_page=True)
