"""The console on what applications ask: prompts in versions, guardrails and what they found, traces by every filter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from gyre_sdk.client import Gyre
from gyre_sdk.errors import GyreError
from gyre_sdk.resources.serving import target
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.browsing import PATIENCE_MS, signed_in
from tests.browser.language import foreign_labels
from tests.chaos.harness import until
from tests.conftest import Running
from tests.tiny import tiny_base

PROJECT = "traffic"
LINES = [
    '{"messages": [{"role": "user", "content": "The lamp is dark."}, {"role": "assistant", "content": "We come."}]}'
] * 4
EMAIL = "ada@example.com"
SYSTEM = "You sort calls of {{company}}."

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def gyre(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Gyre:
    """A project that keeps what is asked, with a tiny model that answers as `talker`."""
    running.client().projects.create(PROJECT, consent_to_keep=True)
    gyre = running.client(PROJECT)
    version = tiny_base(gyre, tmp_path_factory.mktemp("tiny"), LINES)
    variant = gyre.models.wait_variant(gyre.models.create_variant(version, "Q8_0").name, timeout=PATIENCE_MS / 1000)
    gyre.deployments.create("talker", [target(variant.name)])
    gyre.deployments.wait_ready("talker", timeout=PATIENCE_MS / 1000)
    return gyre


@pytest.fixture(scope="module")
def application(gyre: Gyre) -> Gyre:
    """With a key of the project, as an application has it; the gateway knows it a moment after it was made."""
    made = Gyre(config=replace(gyre.config, key=gyre.keys.create("VIEWER", "application").secret))
    until(lambda: _answers(made, "Hello?"), "the key in the gateway", seconds=60)
    return made


@pytest.fixture
def page(browser: Browser, running: Running, gyre: Gyre) -> Iterator[Page]:
    key = gyre.keys.create("ADMIN", "the one at the keyboard").secret
    with signed_in(browser, running.rest_url, key) as page:
        page.goto(f"{running.rest_url}/p/{PROJECT}")
        yield page


def test_a_prompt_is_written_changed_compared_tried_and_deleted(page: Page, gyre: Gyre) -> None:
    _go(page, "Prompts")
    expect(page.locator(".nothing")).to_contain_text("No prompt yet")
    _write_the_first_version(page)
    _write_the_second(page)
    _compare(page)
    _move_the_label(page, gyre)
    _try_it(page, gyre)
    _delete(page, gyre)


def _write_the_first_version(page: Page) -> None:
    page.get_by_role("button", name="New prompt").first.click()
    drawer = page.get_by_role("dialog")
    drawer.get_by_label("Name").fill("Sorts calls")
    drawer.locator("#id").fill("triage")
    drawer.get_by_label("Text of turn 1").fill(SYSTEM)
    drawer.get_by_label("Text of turn 2").fill("{{call}}")
    drawer.get_by_text("Parameters").first.click()
    drawer.locator("#parameters").fill("{broken")
    drawer.get_by_role("button", name="Create").click()
    expect(drawer).to_contain_text("It is not a JSON object.")
    drawer.locator("#parameters").fill('{"temperature": 0, "max_tokens": 5}')
    drawer.get_by_role("button", name="Create").click()
    expect(page).to_have_url(re.compile(r"/prompts/triage$"))
    expect(page.locator(".variable").first).to_have_text("company")
    expect(page.locator(".version-list")).to_contain_text("production")


def _write_the_second(page: Page) -> None:
    page.get_by_role("button", name="New version").click()
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_label("Text of turn 1")).to_have_value(SYSTEM)
    drawer.get_by_label("Text of turn 1").fill(f"{SYSTEM}\nBe brief.")
    drawer.get_by_label("What changed").fill("shorter answers")
    drawer.get_by_role("button", name="Create").click()
    expect(page).to_have_url(re.compile(r"version=2"))
    expect(page.locator(".version-list")).to_contain_text("shorter answers")


def _compare(page: Page) -> None:
    _choose(page, page.get_by_role("combobox", name="Compare with"), "Changes since version 1")
    expect(page.locator(".prompt-diff .added")).to_have_text(re.compile("Be brief."))
    expect(page.locator(".prompt-diff .removed")).to_have_count(0)
    page.reload()  # a comparison is a link, too
    expect(page.locator(".prompt-diff .added")).to_be_visible()


def _move_the_label(page: Page, gyre: Gyre) -> None:
    page.get_by_role("button", name="Move the label production").click()
    page.get_by_role("dialog").get_by_role("button", name="Move", exact=True).click()
    expect(page.locator("section[aria-label=Labels]")).to_contain_text("Version 1 → Version 2")
    assert dict(gyre.prompts.get("triage").labels) == {"production": 2}


def _try_it(page: Page, gyre: Gyre) -> None:
    """The playground asks the prompt with the values of its fields, and its parameters are the settings."""
    page.get_by_role("link", name="Try in the playground").click()
    expect(page.get_by_label("Tokens in an answer")).to_have_value("5")
    page.get_by_label("company", exact=True).fill("City Hall")
    page.get_by_label("call", exact=True).fill("The lamp is dark.")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".exchange-question")).to_contain_text("triage @ 2")
    expect(page.locator(".exchange-figures")).to_be_visible()
    asked = until(
        lambda: list(gyre.traces.page(prompt=f"projects/{PROJECT}/prompts/triage").items), "a trace", seconds=60
    )
    kept = gyre.traces.get(asked[0].name).steps[0].completion
    assert [turn.content for turn in kept.messages] == ["You sort calls of City Hall.\nBe brief.", "The lamp is dark."]


def _delete(page: Page, gyre: Gyre) -> None:
    _go(page, "Prompts")
    page.get_by_role("searchbox").or_(page.locator("[data-search]")).first.fill("nothing like it")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.locator("[data-search]").fill("sorts")
    page.get_by_role("button", name="Delete Sorts calls").click()
    question = page.get_by_role("dialog", name="Delete Sorts calls?")
    expect(question).to_contain_text("Requests that name triage are refused from then on")
    question.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("link", name="Sorts calls")).to_have_count(0)
    assert list(gyre.prompts.list()) == []


def test_guardrails_ask_before_they_change_and_show_what_they_found(page: Page, gyre: Gyre, application: Gyre) -> None:
    """A refused prompt is counted though nothing of it is kept."""
    _go(page, "Keys and projects")
    panel = page.locator("section[aria-label='Guardrails and cache']")
    expect(panel).to_contain_text("Nothing was found")
    choice = panel.get_by_role("combobox", name="Personal data in prompts")
    for button in ("Cancel", "Change"):
        _choose(page, choice, "Refuse")
        question = page.get_by_role("dialog", name="Personal data in prompts: Refuse?")
        question.get_by_role("button", name=button).click()
        expect(question).to_be_hidden()
        expect(panel.locator(".ant-select").first).to_have_text("Allow" if button == "Cancel" else "Refuse")
    until(lambda: _is_refused(application), "the guardrail in the gateway", seconds=60)
    expect(panel).to_contain_text(re.compile(r"In a prompt · address of e-mail\s*refused\s*\d"))
    gyre.traffic_policies.update(prompt_data="ACTION_ALLOW", cache={"mode": "MODE_ALWAYS", "ttl": "60s"})
    page.reload()
    panel.get_by_role("button", name="Turn off: Exact cache").click()
    page.get_by_role("dialog", name="Exact cache: Off?").get_by_role("button", name="Change").click()
    expect(panel.get_by_role("button", name="Turn off: Exact cache")).to_have_count(0)


def _is_refused(gyre: Gyre) -> bool:
    try:
        _ask(gyre, f"Write to {EMAIL}.")
    except GyreError as error:
        return error.reason == "GUARDRAIL_REFUSED"
    return False


def test_traces_are_found_by_key_and_time_and_a_search_goes_further_back(
    page: Page, gyre: Gyre, application: Gyre
) -> None:
    other = Gyre(config=replace(gyre.config, key=gyre.keys.create("VIEWER", "the other one").secret))
    until(lambda: _answers(other, "Where is the town hall?"), "the key in the gateway", seconds=60)
    _ask(application, "When is it open?")
    until(lambda: gyre.traces.page(query="open?").total_size, "the trace", seconds=60)
    _go(page, "Traces")
    rows = page.locator("tbody tr.ant-table-row")
    expect(rows.filter(has_text="When is it open?").first).to_be_visible()
    page.get_by_role("button", name="More filters").click()
    _choose(page, page.get_by_role("combobox", name="Key"), "the other one")
    expect(rows.filter(has_text="When is it open?")).to_have_count(0)
    expect(rows.filter(has_text="Where is the town hall?").first).to_be_visible()
    expect(page.get_by_role("button", name="More filters · 1")).to_be_visible()
    page.get_by_label("Until").fill("2026-01-01T00:00")
    expect(page.get_by_text("No trace is like that")).to_be_visible()
    page.get_by_role("button", name="Show all").click()
    expect(rows.filter(has_text="When is it open?").first).to_be_visible()
    _searches_further(page)


def _searches_further(page: Page) -> None:
    """20,000 answers are not made here: the reply gets the time at which such a search stopped."""
    stopped = "2026-03-05T14:05:00Z"

    def stops(route: object) -> None:
        reply = route.fetch()  # type: ignore[attr-defined]
        route.fulfill(response=reply, json=reply.json() | {"searched_back_to": stopped})  # type: ignore[attr-defined]

    page.route("**/traces?*query=open*", stops)
    page.locator("[data-search]").fill("open")
    expect(page.get_by_role("status").filter(has_text="Searched back to Mar 5")).to_contain_text(
        re.compile(r"\d\d:\d\d (UTC|GMT|[A-Z]{3,4})")
    )
    page.unroute("**/traces?*query=open*")
    with page.expect_request(re.compile(r"/traces\?.*end_time=2026-03-05T14")):
        page.get_by_role("button", name="Search further").click()
    expect(page.get_by_text("Searched back to")).to_have_count(0)


def test_a_key_that_was_never_used_is_shown_with_0(page: Page, gyre: Gyre, application: Gyre) -> None:
    gyre.keys.create("VIEWER", "never used")
    _ask(application, "Is somebody there?")
    until(lambda: gyre.costs.usage().total.request_count, "usage in the books", seconds=60)
    _go(page, "Keys and projects")
    expect(page.get_by_role("row").filter(has_text="never used")).to_contain_text("0 tokens")
    page.goto(page.url.replace("/access", "/costs?by=key"))
    expect(page.get_by_role("row").filter(has_text="never used")).to_contain_text(re.compile(r"never used\s*0\s*0\s*0"))


def test_chinese_pages_of_a_prompt_hold_no_english_label(browser: Browser, running: Running, gyre: Gyre) -> None:
    gyre.prompts.push("greeting", [{"role": "system", "content": SYSTEM}], {"temperature": 0}, display_name="问候")
    gyre.prompts.push("greeting", [{"role": "user", "content": "{{call}}"}], display_name="问候", label="production")
    key = gyre.keys.create("ADMIN", "看图的人").secret
    with signed_in(browser, running.rest_url, key, "zh-CN") as page:
        left = {}
        for path in ("prompts/greeting", "prompts/greeting?version=2&since=1", "playground?prompt=greeting&version=1"):
            page.goto(f"{running.rest_url}/p/{PROJECT}/{path}")
            expect(page.get_by_text("版本 2").or_(page.get_by_text("版本 1")).first).to_be_visible()
            expect(page.locator(".ant-skeleton, .bone")).to_have_count(0)
            left[path] = foreign_labels(page, ["production", "first administrator"])
        assert {path: labels for path, labels in left.items() if labels} == {}


def _ask(gyre: Gyre, text: str) -> None:
    for _ in gyre.chat("talker", [{"role": "user", "content": text}], max_tokens=4, temperature=0):
        pass


def _answers(gyre: Gyre, text: str) -> bool:
    """A key is known to the gateway a moment after it was made."""
    try:
        _ask(gyre, text)
    except GyreError:
        return False
    return True


def _go(page: Page, title: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=re.compile(rf"^{title}( \d+)?$")).click()
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()


def _choose(page: Page, field: Locator, text: str) -> None:
    field.click()
    page.locator(".ant-select-dropdown:not(.ant-select-dropdown-hidden) .ant-select-item-option").filter(
        has_text=text
    ).first.click()
