"""The console in a real browser: upload → train → chat → feedback → approve, by somebody who writes no code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gyre_sdk import messages
from gyre_sdk.client import Gyre
from gyre_sdk.resources.serving import target
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.browsing import LOADING, PATIENCE_MS, at_the_door, sign_in, signed_in
from tests.browser.language import foreign_labels
from tests.chaos.harness import until
from tests.conftest import Running
from tests.tiny import tiny_base

PROJECT = "console"
HOTLINE = Path(__file__).resolve().parents[2] / "examples" / "hotline" / "hotline.en.jsonl"
LINES = HOTLINE.read_text("utf-8").splitlines()[:48]
STEPS = 60  # a tiny model takes many in a second, and the page has to be there while it trains
QUESTION = "The lamp in front of number 9 has been dark for a week."
CORRECTION = '{"department": "lighting", "urgency": "low", "reply": "We will repair the lamp."}'
SLOW_BYTES_PER_SECOND = 16_000
# Notes each new length of the answer that is being written.
WATCH_ANSWER = """() => {
  window.lengths = [];
  new MutationObserver(() => {
    const answer = document.querySelector('.exchange-answer[aria-busy="true"]');
    const length = answer ? answer.textContent.length : 0;
    if (length > (window.lengths.at(-1) ?? 0)) window.lengths.push(length);
  }).observe(document.querySelector('[role="log"]'), { subtree: true, childList: true, characterData: true });
}"""

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gyre(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Gyre:
    """A project that keeps what is asked, with a tiny model to begin from."""
    running.client().projects.create(PROJECT, consent_to_keep=True)
    gyre = running.client(PROJECT)
    tiny_base(gyre, tmp_path_factory.mktemp("tiny"), LINES)
    return gyre


@pytest.fixture
def page(browser: Browser, running: Running, gyre: Gyre) -> Iterator[Page]:
    key = gyre.keys.create("ADMIN", "the one at the keyboard").secret
    with signed_in(browser, running.rest_url, key) as page:
        yield page


def test_somebody_without_code_goes_once_round_the_loop(page: Page, gyre: Gyre, tmp_path: Path) -> None:
    _upload(page, tmp_path)
    _sees_what_was_refused(page)
    _train(page)
    _sees_the_curve(page)
    _quantise(page)
    _deploy(page)
    _chat(page)
    _correct_the_answer(page)
    _approve_by_keyboard(page)
    _make_a_batch(page)
    approved = list(gyre.feedback.list(filter="state=APPROVED"))
    assert [(one.answer != one.correction, one.correction) for one in approved] == [(True, CORRECTION)]


def _upload(page: Page, folder: Path) -> None:
    """A good file with one line cut short; its format is known before the form is sent."""
    file = folder / "hotline.jsonl"
    file.write_text("\n".join([*LINES, '{"messages": [{"role": "us']) + "\n", "utf-8")
    _go(page, "Data sets")
    page.get_by_role("button", name="Upload data set").first.click()
    drawer = page.get_by_role("dialog")
    drawer.locator("input[type=file]").set_input_files(file)
    detected = drawer.locator("[data-detected]")
    expect(detected).to_have_attribute("data-detected", "MESSAGES")
    expect(detected).to_contain_text("Recognised as Messages, JSON Lines")
    expect(drawer).to_contain_text(re.compile(r"hotline\.jsonl \d+(\.\d)? kB", re.IGNORECASE))
    expect(drawer.locator("#display_name")).to_have_value("hotline")
    drawer.locator("#licence").fill("CC0-1.0")
    drawer.get_by_role("button", name="Import").click()
    expect(page).to_have_url(re.compile(r"/datasets/hotline\?version=1"))


def _sees_what_was_refused(page: Page) -> None:
    expect(page.locator(".version-list .state")).to_have_text("Ready")
    page.get_by_role("tab", name="Refused rows · 1").click()
    refused = page.get_by_role("row").filter(has_text=str(len(LINES) + 1))
    expect(refused).to_contain_text("Write each row as one JSON object on one line.")


def _train(page: Page) -> None:
    _go(page, "Training runs")
    page.get_by_role("button", name="Start a run").first.click()
    drawer = page.get_by_role("dialog")
    _choose(page, drawer.locator("#recipe"), "sft-lora")
    _choose(page, drawer.locator("#base"), "tiny")
    _choose(page, drawer.locator("#datasets"), "hotline")
    page.keyboard.press("Escape")
    drawer.locator("#register_as").fill("helper")
    drawer.locator("#hyperparameters_max_length").fill("128")
    drawer.get_by_text("More settings").click()
    drawer.locator("#hyperparameters_max_steps").fill(str(STEPS))
    expect(drawer).to_contain_text(f"{STEPS} steps · about")
    expect(drawer.get_by_label("What it would need, take and cost")).to_contain_text(re.compile(r"cpu.*Fastest.* of "))
    drawer.get_by_role("button", name="Start", exact=True).click()


def _sees_the_curve(page: Page) -> None:
    """Stored points are withheld until the run has ended: what is drawn until then came live."""
    stored = "**/runs/*/metrics*"
    page.route(stored, lambda route: route.fulfill(json={"points": []}))
    expect(page).to_have_url(re.compile(r"/runs/[0-9A-Z]{26}$"))
    curve = page.locator("section[aria-label=Loss] figure")
    expect(curve.locator("svg")).to_be_visible()
    expect(curve.locator("figcaption")).to_contain_text(re.compile(r"Loss over \d+ points: from [\d.]+ to [\d.]+"))
    expect(page.locator(".page-lead .state")).to_have_text("Succeeded")
    page.unroute(stored)
    page.reload()
    expect(curve.locator("figcaption")).to_contain_text(f"Loss over {STEPS} points")
    expect(page.get_by_text(f"{STEPS} / {STEPS}")).to_be_visible()


def _quantise(page: Page) -> None:
    """The version that the run registered gets a form that the engine loads."""
    _go(page, "Models")
    page.get_by_role("link", name="helper").click()
    expect(page.locator(".version-list .state")).to_have_text("Ready")
    page.get_by_role("button", name="Quantise").click()
    page.get_by_role("menuitem", name="Q8_0").click()
    variant = page.locator("section[aria-label=Variants]").get_by_role("row").filter(has_text="Q8_0")
    expect(variant).to_contain_text("Ready")
    page.get_by_role("tab", name="Lineage").click()
    expect(page.get_by_role("tabpanel").get_by_text("Data set version").first).to_be_visible()


def _deploy(page: Page) -> None:
    _go(page, "Deployments")
    page.get_by_role("button", name="New deployment").first.click()
    drawer = page.get_by_role("dialog")
    drawer.locator("#display_name").fill("Helper")
    _choose(page, drawer.locator("#variant"), "helper")
    drawer.get_by_role("button", name="Create").click()
    row = page.get_by_role("row").filter(has_text="Helper")
    expect(row.locator(".state")).to_have_text("Ready")
    row.get_by_role("link", name="Playground").click()


def _chat(page: Page) -> None:
    expect(page.locator(".page-actions .state")).to_have_text("Ready")
    page.get_by_label("Tokens in an answer").fill("160")
    page.evaluate(WATCH_ANSWER)
    _receive_at_most(page, SLOW_BYTES_PER_SECOND)
    page.get_by_role("textbox", name="Question").fill(QUESTION)
    page.keyboard.press("Enter")
    answer = page.locator(".exchange-answer")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(page.locator(".exchange-figures")).to_contain_text("tokens")
    _receive_at_most(page, -1)
    lengths = page.evaluate("window.lengths")
    assert len(lengths) > 1, f"the answer came in one piece: {lengths}"


def _receive_at_most(page: Page, bytes_per_second: int) -> None:
    """-1: as fast as it comes. A tiny model has said all before a browser draws twice."""
    conditions = {"offline": False, "latency": 0, "downloadThroughput": bytes_per_second, "uploadThroughput": -1}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", conditions)


def _correct_the_answer(page: Page) -> None:
    page.get_by_role("button", name="Correct").click()
    page.get_by_label("What it should have been").fill(CORRECTION)
    page.get_by_label("Slice").fill("lighting")
    page.get_by_role("button", name="Send correction").click()
    expect(page.get_by_text("Correction sent")).to_be_visible()


def _approve_by_keyboard(page: Page) -> None:
    _go(page, "Feedback review")
    shown = page.locator("tr.shown")
    expect(shown).to_contain_text(QUESTION)
    expect(shown).to_contain_text("Thumbs down")
    expect(page.get_by_label("What it should have been")).to_have_value(CORRECTION)
    page.keyboard.press("a")
    expect(page.get_by_text("Nothing waits for you")).to_be_visible()
    page.locator(".ant-segmented-item", has_text="Approved").click()
    expect(page.locator("tr.shown .state")).to_have_text("Approved")


def _make_a_batch(page: Page) -> None:
    page.get_by_role("button", name="Make a batch").click()
    page.get_by_role("dialog").get_by_role("button", name="Make a batch").click()
    batch = page.get_by_role("row").filter(has_text="Batch 1")
    expect(batch.locator(".state")).to_have_text("Ready")
    expect(batch.get_by_role("link", name="Start a lap")).to_be_visible()


def test_three_models_answer_side_by_side_and_the_better_one_is_picked(page: Page, gyre: Gyre) -> None:
    """One of them is broken, which is no concern of the others; what they used is on the page of costs afterwards."""
    version = gyre.models.version_name("tiny")
    variant = gyre.models.wait_variant(gyre.models.create_variant(version, "Q8_0").name, timeout=PATIENCE_MS / 1000)
    gyre.deployments.create("talker", [target(variant.name)])
    gyre.deployments.wait_ready("talker", timeout=PATIENCE_MS / 1000)
    gyre.deployments.create("broken", [target(upstream_url="http://127.0.0.1:9/v1", upstream_model="nobody")])
    models = "deployment=talker&deployment=talker%401&deployment=broken"
    page.goto(f"{page.url.split('/p/')[0]}/p/{PROJECT}/playground?{models}&temperature=2&max_tokens=24")
    expect(page.get_by_text("talker@1").first).to_be_visible()
    cards = page.locator(".answer-card")
    page.get_by_role("textbox", name="Question").fill(QUESTION)
    page.get_by_role("textbox", name="Question").press("Enter")
    expect(cards).to_have_count(3)
    expect(cards.locator(".exchange-figures")).to_have_count(2)
    expect(cards.nth(2).get_by_role("alert")).to_be_visible()
    page.keyboard.press("Alt+1")
    expect(cards.nth(0)).to_contain_text("Picked")
    chosen, other = [f for f in gyre.feedback.list() if messages.enum_name(f, "rating") != "NONE"][:2]
    if not chosen.correction:
        chosen, other = other, chosen
    assert chosen.correction.strip() in cards.nth(0).locator(".exchange-answer").inner_text()
    assert (messages.enum_name(chosen, "rating"), messages.enum_name(other, "rating")) == ("THUMBS_DOWN", "THUMBS_UP")
    until(lambda: gyre.costs.usage().total.request_count >= 2, "usage in the books", seconds=60)
    _go(page, "Usage and cost")
    expect(page.get_by_role("row").filter(has_text="tiny v1").first).to_be_visible()


def test_a_wrong_key_is_told_so_and_stays_at_the_door(browser: Browser, running: Running) -> None:
    with at_the_door(browser, running.rest_url) as page:
        sign_in(page, "gyre_wrong")
        expect(page.get_by_role("alert")).to_contain_text("The key is not valid")
        expect(page).to_have_url(re.compile("/sign-in$"))


def test_deleting_asks_first(page: Page, gyre: Gyre) -> None:
    gyre.datasets.create("short-lived", display_name="Short-lived")
    _go(page, "Data sets")
    row = page.get_by_role("row").filter(has_text="Short-lived")
    row.get_by_role("button", name="Delete Short-lived").click()
    question = page.get_by_role("dialog", name="Delete Short-lived?")
    question.get_by_role("button", name="Cancel").click()
    expect(question).to_be_hidden()
    assert "short-lived" in _ids(gyre)
    row.get_by_role("button", name="Delete Short-lived").click()
    question.get_by_role("button", name="Delete").click()
    expect(row).to_be_hidden()
    assert "short-lived" not in _ids(gyre)


def test_an_empty_list_says_what_to_do(page: Page) -> None:
    _go(page, "Pipelines")
    expect(page.locator(".nothing")).to_contain_text("No lap yet")
    expect(page.locator(".nothing").get_by_role("button")).to_be_visible()


def test_a_list_that_cannot_be_loaded_says_so_and_tries_again(page: Page) -> None:
    page.route("**/api/v1/projects/*/models?*", lambda route: route.abort())
    _go(page, "Models")
    trouble = page.get_by_role("alert")
    expect(trouble).to_contain_text("The platform does not answer")
    page.unroute("**/api/v1/projects/*/models?*")
    trouble.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("link", name="Tiny")).to_be_visible()


def test_a_viewer_is_offered_nothing_that_he_may_not_do(browser: Browser, running: Running, gyre: Gyre) -> None:
    key = gyre.keys.create("VIEWER", "somebody who looks").secret
    with signed_in(browser, running.rest_url, key) as page:
        _go(page, "Feedback review")
        page.locator(".ant-segmented-item", has_text="All").click()
        expect(page.get_by_label("What it should have been")).not_to_be_editable()
        for name in ("Approve", "Reject", "Take the decision back", "Make a batch"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
        _go(page, "Data sets")
        expect(page.get_by_role("link", name="hotline").first).to_be_visible()
        expect(page.get_by_role("button", name=re.compile("Upload|Delete"))).to_have_count(0)


def test_chinese_pages_hold_no_english_label(browser: Browser, running: Running, gyre: Gyre) -> None:
    key = gyre.keys.create("ADMIN", "看图的人").secret
    with signed_in(browser, running.rest_url, key, "zh-CN") as page:
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        heading = page.get_by_role("heading", level=1)
        expect(heading).to_be_visible()
        left = {"home": foreign_labels(page)}
        for link in page.locator("nav a").all()[1:]:
            before = heading.inner_text()
            link.click()
            expect(heading).not_to_have_text(before)
            expect(page.locator(LOADING).first).to_be_hidden()
            left[page.url.rsplit("/", 1)[-1]] = foreign_labels(
                page, names=("default", "tiny", "helper")
            )  # queue, deployments
        for hidden in ("fit",):  # behind a button of another page
            page.goto(page.url.rsplit("/", 1)[0] + f"/{hidden}")
            expect(heading).to_be_visible()
            expect(page.locator(LOADING).first).to_be_hidden()
            left[hidden] = foreign_labels(page)
        assert len(left) >= 14
        assert {name: labels for name, labels in left.items() if labels} == {}


def _go(page: Page, title: str) -> None:
    beside = re.compile(rf"^{title}( \d+)?$")  # how many wait there
    page.get_by_role("navigation").get_by_role("link", name=beside).click()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


def _choose(page: Page, field: Locator, text: str) -> None:
    """Opens a select by its input and takes the first option that has `text`."""
    field.click()
    page.locator(".ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option").filter(
        has_text=text
    ).first.click()


def _ids(gyre: Gyre) -> list[str]:
    return [dataset.name.rsplit("/", 1)[-1] for dataset in gyre.datasets.list()]
