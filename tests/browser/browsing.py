"""Debian's Chromium, started as quietly as it can be, and signed in to the console."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 60_000


@contextmanager
def signed_in(console: str, key: str, locale: str = "en-US") -> Iterator[Page]:
    """A page of the console at `console`, in the language of `locale`. Raises: RuntimeError without a Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise RuntimeError("there is no Chromium; run: tests/ensure.sh browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        try:
            context = browser.new_context(locale=locale, viewport={"width": 1440, "height": 900})
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.goto(f"{console}/sign-in")
            page.locator("input").first.fill(key)
            page.keyboard.press("Enter")
            page.wait_for_url("**/p/**")
            yield page
        finally:
            browser.close()
