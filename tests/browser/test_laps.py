"""A lap that waits for people and learns by a reward model, in a real browser: asked for, seen waiting, cancelled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gyre.dataset.v1.version_pb2 import SplitSettings
from gyre_sdk.client import Gyre
from playwright.sync_api import Browser, Page, expect

from tests.browser.browsing import LOADING, PATIENCE_MS, signed_in
from tests.browser.language import foreign_labels
from tests.conftest import Running
from tests.tiny import tiny_base

PROJECT = "console-laps"
HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
NAMES = ("tiny", "rows", "corrections", "held-out", "close", "hotline-bot", "production", "default", PROJECT)

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gyre(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Gyre:
    running.client().projects.create(PROJECT)
    gyre, folder = running.client(PROJECT), tmp_path_factory.mktemp("tiny")
    lines = HOTLINE.read_text("utf-8").splitlines()[:48]
    tiny_base(gyre, folder, lines)
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    split = SplitSettings(test_fraction=0.25)
    version = gyre.datasets.import_file(folder / "rows.jsonl", "rows", "SFT", split=split)
    gyre.suites.create("held-out", gyre.datasets.wait_version(version.name, timeout=180).name)
    return gyre


def choose(page: Page, field: str, text: str) -> None:
    page.get_by_role("dialog").locator(field).click()
    page.locator(".ant-select-dropdown:visible .ant-select-item-option").filter(has_text=text).first.click()
    page.get_by_role("dialog").locator("h3").last.click()  # a list of several stays open


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_a_lap_is_asked_for_and_says_for_how_much_feedback_it_waits(
    browser: Browser, running: Running, gyre: Gyre, locale: str, tmp_path: Path
) -> None:
    key = gyre.keys.create("ADMIN", "the one at the keyboard").secret
    with signed_in(browser, running.rest_url, key, locale) as page:
        page.goto(f"{running.rest_url}/p/{PROJECT}/pipelines")
        page.get_by_role("button", name=re.compile("Start a lap|启动流水线")).first.click()
        drawer = page.get_by_role("dialog")
        drawer.get_by_role("switch", name=re.compile("Wait until people|等待足够的反馈")).click()
        drawer.locator("#min_feedback").fill("3")
        drawer.locator("#collect_into").fill("corrections")
        choose(page, "#base", "tiny")
        drawer.get_by_role("switch", name=re.compile("train a reward model|训练奖励模型")).click()
        expect(drawer.locator("#ppo_max_new_tokens, #ppo_beta").first).to_be_visible()
        expect(drawer.locator("#reward_learning_rate")).to_be_visible()
        drawer.locator("#register_as").fill("hotline-bot")
        choose(page, "#suites", "held-out")
        if locale == "zh-CN":
            assert foreign_labels(page, NAMES) == []
        page.screenshot(path=tmp_path / "drawer.png")
        drawer.get_by_role("button", name=re.compile("^(Start|启.?动)$")).click()

        page.wait_for_url("**/pipelines/*")
        expect(
            page.get_by_text(
                re.compile("^(0 of 3 pieces of feedback are approved.|已有 0 条反馈通过审核，共需 3 条。)$")
            )
        ).to_be_visible()
        expect(page.locator(LOADING)).to_have_count(0)
        page.screenshot(path=tmp_path / "lap.png", full_page=True)
        lap = gyre.pipelines.get(page.url.rpartition("/")[2])
        assert (lap.spec.collect.min_feedback, lap.spec.HasField("reward"), lap.spec.HasField("ppo")) == (3, True, True)
        gyre.pipelines.cancel(lap.name)
        expect(page.get_by_text(re.compile("^(Stopped|已停止)$")).first).to_be_visible()
