"""The hours of a deployment, in a real browser: given, refused, shown again and taken away."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gyre_sdk.client import Gyre
from gyre_sdk.resources.serving import target, window_text
from playwright.sync_api import Browser, expect

from tests.browser.browsing import PATIENCE_MS, signed_in
from tests.browser.language import foreign_labels
from tests.chaos.harness import until
from tests.conftest import Running
from tests.tiny import tiny_base

PROJECT = "console-hours"
HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
NAMES = ("hours", "close", "UTC", "Europe/Berlin", "default", PROJECT)

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gyre(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Gyre:
    running.client().projects.create(PROJECT)
    gyre = running.client(PROJECT)
    tiny_base(gyre, tmp_path_factory.mktemp("tiny"), HOTLINE.read_text("utf-8").splitlines()[:48])
    variant = gyre.models.wait_variant(gyre.models.create_variant("tiny@1", "Q8_0").name, timeout=300)
    gyre.deployments.create("hours", [target(variant.name)])
    gyre.deployments.wait_ready("hours", timeout=300)  # its etag moves until then
    return gyre


def windows(gyre: Gyre) -> list[str]:
    return [window_text(each) for each in gyre.deployments.get("hours").scale.schedule.windows]


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_hours_are_given_refused_where_they_overlap_and_taken_away(
    browser: Browser, running: Running, gyre: Gyre, locale: str, tmp_path: Path
) -> None:
    key = gyre.keys.create("ADMIN", "the one at the keyboard").secret
    with signed_in(browser, running.rest_url, key, locale) as page:
        page.goto(f"{running.rest_url}/p/{PROJECT}/deployments")
        opens = page.get_by_role("button", name=re.compile("(Scale|伸缩) hours"))
        opens.click()
        drawer = page.get_by_role("dialog")
        add, save = (
            drawer.get_by_role("button", name=re.compile(name)) for name in ("Add hours|添加时段", "^(Scale|伸.?缩)$")
        )
        drawer.locator("#min_replicas").fill("0")
        add.click()
        drawer.locator("#time_zone").fill("Europe/Ber")
        page.get_by_title("Europe/Berlin").click()
        drawer.locator("#windows_0_max_replicas").fill("6")
        drawer.locator("#windows_0_min_replicas").fill("2")
        add.click()
        drawer.locator("#windows_1_start").fill("19:00")
        if locale == "zh-CN":
            assert foreign_labels(page, NAMES) == []
        page.screenshot(path=tmp_path / "hours.png")
        save.click()
        expect(drawer.get_by_role("alert")).to_contain_text(re.compile("overlap|重叠"))
        drawer.get_by_role("button", name=re.compile("Remove these hours|删除该时段")).last.click()
        save.click()
        until(lambda: windows(gyre) == ["mon,tue,wed,thu,fri 08:00-20:00 2-6"], "the hours are there", 30)
        assert gyre.deployments.get("hours").scale.schedule.time_zone == "Europe/Berlin"

        opens.click()
        expect(drawer.locator("#windows_0_max_replicas")).to_have_value("6")
        drawer.get_by_role("button", name=re.compile("Remove these hours|删除该时段")).click()
        save.click()
        until(lambda: windows(gyre) == [], "they are gone", 30)
