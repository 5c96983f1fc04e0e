"""Photographs every page of the console in both languages into docs/images (`make screenshots`).

It looks at the platform of GYRE_HOME as it is; after `make demo` there is something to see in every list.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gyre_kit.addresses import CONSOLE_PORT

from tests.browser.browsing import signed_in

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
PAGES = (
    "home",
    "datasets",
    "runs",
    "pipelines",
    "models",
    "playground",
    "evaluations",
    "feedback",
    "deployments",
    "queue",
    "access",
    "audit",
)
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}


def main() -> int:
    home = Path(os.environ.get("GYRE_HOME", ".gyre"))
    project = os.environ.get("GYRE_PROJECT", "demo")
    console = f"http://127.0.0.1:{CONSOLE_PORT + int(os.environ.get('GYRE_PORT_OFFSET', '0'))}"
    key = (home / "admin.key").read_text().strip()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for short, locale in LANGUAGES.items():
        with signed_in(console, key, locale) as page:
            for name in PAGES:
                page.goto(f"{console}/p/{project}/{'' if name == 'home' else name}")
                page.wait_for_load_state("load")
                page.locator(".ant-skeleton, .ant-spin-spinning").first.wait_for(state="hidden")
                page.screenshot(path=IMAGES / f"{name}-{short}.png")
                sys.stdout.write(f"docs/images/{name}-{short}.png\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
