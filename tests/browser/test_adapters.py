"""An adapter from somebody's own disk, in a real browser: its files are sent, its base is found, and engines can load it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from gyre_sdk.client import Gyre
from gyre_trainers.testing import tiny_lora
from playwright.sync_api import Browser, expect

from tests.browser.browsing import PATIENCE_MS, signed_in
from tests.conftest import Running
from tests.tiny import tiny_base

PROJECT = "console-adapters"
HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gyre(running: Running) -> Gyre:
    running.client().projects.create(PROJECT)
    return running.client(PROJECT)


@pytest.fixture
def adapter(gyre: Gyre, tmp_path: Path) -> Path:
    """A folder as PEFT saves it, which names `tiny`, a model of the registry, as its base."""
    tiny_base(gyre, tmp_path, HOTLINE.read_text("utf-8").splitlines()[:48])
    folder = tiny_lora(tmp_path / "adapter", tmp_path / "model", seed=1)
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    named = config | {"base_model_name_or_path": "tiny"}
    (folder / "adapter_config.json").write_text(json.dumps(named), "utf-8")
    return folder


def test_an_adapter_is_imported_without_saying_its_base(
    browser: Browser, running: Running, gyre: Gyre, adapter: Path, tmp_path: Path
) -> None:
    key = gyre.keys.create("ADMIN", "the one at the keyboard").secret
    with signed_in(browser, running.rest_url, key) as page:
        page.goto(f"{running.rest_url}/p/{PROJECT}/models")
        page.get_by_role("button", name="Import model").first.click()
        drawer = page.get_by_role("dialog")
        drawer.locator("#source").click()
        page.get_by_title("Files from this computer").click()
        files = [adapter / "adapter_config.json", adapter / "adapter_model.safetensors"]
        drawer.locator("input[type=file]").set_input_files(files)
        drawer.locator("#base").click()
        page.get_by_title("The one that the adapter names").click()
        drawer.locator("#variant_id").fill("polite")
        page.screenshot(path=tmp_path / "import.png")
        drawer.get_by_role("button", name="Import").click()
        expect(page).to_have_url(re.compile(r"/models/tiny\?version=1"))
        expect(page.get_by_text("polite-gguf").first).to_be_visible()
    variant = gyre.models.wait_variant(f"{gyre.models.version_name('tiny@1')}/variants/polite-gguf", timeout=300)
    assert variant.source.endswith("/versions/1/variants/polite")
