"""Debian's Chromium, started as quietly as it can be, and signed in to the console."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SIZE: ViewportSize = {"width": 1440, "height": 900}
# For a machine that trains on all of its two cores meanwhile.
PATIENCE_MS = 90_000
# What a page shows while it waits for the server.
LOADING = ".bone, .ant-skeleton, .ant-spin-spinning, .anticon-loading"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Raises: RuntimeError without a Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("there is no Chromium; run: tests/ensure.sh browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def at_the_door(browser: Browser, console: str, locale: str = "en-US") -> Iterator[Page]:
    """A page of the console at `console` in the language of `locale`, at the sign-in, with no cookie."""
    with browser.new_context(locale=locale, viewport=SIZE, reduced_motion="reduce") as context:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{console}/sign-in")
        yield page


@contextmanager
def signed_in(browser: Browser, console: str, key: str, locale: str = "en-US") -> Iterator[Page]:
    with at_the_door(browser, console, locale) as page:
        sign_in(page, key)
        page.wait_for_url("**/p/**")
        yield page


def sign_in(page: Page, key: str) -> None:
    page.locator("#key").fill(key)
    page.keyboard.press("Enter")
