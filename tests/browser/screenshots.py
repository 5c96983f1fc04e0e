"""Photographs every page of the console in both languages into docs/images (`make screenshots`).

It looks at the platform of GYRE_HOME, after `make demo`. A list with fewer than five rows there is photographed in the
gallery instead (`gallery.py`), which is made on the first call. Beside the lists: one thing of each kind, a project
that is empty, a page that is not there, and a server that does not answer. It fails where a list stays short or a
Chinese page has an English label.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from gyre_sdk.client import Gyre
from gyre_sdk.config import Config, load
from gyre_sdk.errors import GyreError
from playwright.sync_api import Browser, Page

from tests.browser import gallery
from tests.browser.browsing import LOADING, at_the_door, chromium, signed_in
from tests.browser.language import foreign_labels

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
LISTS = (
    "datasets",
    "runs",
    "pipelines",
    "models",
    "evaluations",
    "feedback",
    "deployments",
    "prompts",
    "traces",
    "batches",
    "queue",
    "access",
    "audit",
)
DETAILS = ("datasets", "runs", "pipelines", "models", "evaluations")
TAB_OF_LIST = {"evaluations": 1}  # behind the comparison
SINGLES = {
    "home": "",
    "playground": "playground",
    "queues": "queues",
    "cluster": "cluster",
    "showback": "showback",
    "what-if": "what-if",
}
# What only the gallery has.
GALLERY = {
    "costs": "costs",
    "prompts-one": "prompts/triage",
    "prompts-diff": "prompts/triage?version=3&since=1",
    "playground-prompt": "playground?prompt=triage&version=2",
    "lineage": f"models/{gallery.ASKED}?tab=lineage",
}
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
ROWS = "tbody tr.ant-table-row, .card-row"
ENOUGH = 5
EXPERIMENTS_TAB = 3
EMPTY = "empty"
SETTLES_MS = 600  # a chart draws itself


@dataclass
class Album:
    """Where the pictures go, and what was wrong with what is on them."""

    folder: Path
    names: frozenset[str]
    taken: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def take(self, page: Page, name: str, language: str) -> None:
        page.wait_for_timeout(SETTLES_MS)
        file = f"{name}-{language}.png"
        page.screenshot(path=self.folder / file)
        self.taken.append(file)
        sys.stdout.write(f"docs/images/{file}\n")
        sys.stdout.flush()
        if language == "zh" and (labels := foreign_labels(page, self.names)):
            self.faults.append(f"{file} has English labels: {', '.join(labels)}")


@dataclass(frozen=True)
class Tour:
    """One language's way through the console."""

    page: Page
    console: str
    language: str
    album: Album

    def lists(self, projects: tuple[str, ...]) -> None:
        for name in LISTS:
            count = next((count for project in projects if (count := self._rows(project, name)) >= ENOUGH), 0)
            self.album.take(self.page, name, self.language)
            if not count:
                self.album.faults.append(f"{name}: fewer than {ENOUGH} rows in {', '.join(projects)}")

    def singles(self, project: str) -> None:
        for name, path in SINGLES.items():
            self._open(f"/p/{project}/{path}")
            self.album.take(self.page, name, self.language)

    def details(self, project: str) -> None:
        """The newest thing of each kind."""
        for name in DETAILS:
            self._open(f"/p/{project}/{name}")
            if name in TAB_OF_LIST:
                self.page.get_by_role("tab").nth(TAB_OF_LIST[name]).click()
                self._settle()
                self.album.take(self.page, f"{name}-list", self.language)
            self.page.locator(f"tbody tr.ant-table-row a[href*='/{name}/']").first.click()
            self.page.wait_for_url(f"**/{name}/*")
            self._settle()
            self.album.take(self.page, f"{name}-one", self.language)

    def gallery(self, project: str) -> None:
        """What the demo has nothing of: usage, prompts, a trace, an experiment, lineage."""
        for name, path in GALLERY.items():
            self._open(f"/p/{project}/{path}")
            self.album.take(self.page, name, self.language)
        self._open(f"/p/{project}/traces")
        self.page.locator(ROWS).first.click()
        self.page.wait_for_url("**/traces/*")
        self._settle()
        self.album.take(self.page, "traces-one", self.language)
        self._open(f"/p/{project}/deployments?open={gallery.COMPARED}")
        self.page.locator(".ant-table-expanded-row").get_by_role("tab").nth(EXPERIMENTS_TAB).click()
        self._settle()
        self.album.take(self.page, "experiments", self.language)

    def trouble(self, project: str) -> None:
        self._open(f"/p/{EMPTY}/datasets")
        self.album.take(self.page, "state-empty", self.language)
        self._open(f"/p/{project}/runs/00000000000000000000000000")
        self.album.take(self.page, "state-not-found", self.language)
        lists = "**/api/v1/projects/*/models*"
        self.page.route(lists, lambda route: route.abort())
        self._open(f"/p/{project}/models")
        self.page.locator("[role=alert]").first.wait_for()
        self.album.take(self.page, "state-error", self.language)
        self.page.unroute(lists)

    def _rows(self, project: str, name: str) -> int:
        self._open(f"/p/{project}/{name}")
        return self.page.locator(ROWS).count()

    def _open(self, path: str) -> None:
        self.page.goto(f"{self.console}{path}")
        self._settle()

    def _settle(self) -> None:
        self.page.wait_for_load_state("load")
        self.page.locator("main h1, .page-head h1, h1").first.wait_for()
        self.page.wait_for_function("(loading) => !document.querySelector(loading)", arg=LOADING)


def main() -> int:
    config = load()
    project = os.environ.get("GYRE_PROJECT", "demo")
    full = gallery.fill(config)
    _make_empty(config)
    album = Album(IMAGES, _given_names(config, project, full))
    IMAGES.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for language, locale in LANGUAGES.items():
            _photograph(browser, config, (project, full), language, locale, album)
    for fault in album.faults:
        sys.stderr.write(f"{fault}\n")
    sys.stdout.write(f"{len(album.taken)} pictures, {len(album.faults)} faults\n")
    return 1 if album.faults else 0


def _photograph(
    browser: Browser, config: Config, projects: tuple[str, str], language: str, locale: str, album: Album
) -> None:
    with at_the_door(browser, config.url, locale) as page:
        album.take(page, "sign-in", language)
    with signed_in(browser, config.url, config.key, locale) as page:
        tour = Tour(page, config.url, language, album)
        tour.singles(projects[0])
        tour.lists(projects)
        tour.details(projects[0])
        tour.gallery(projects[1])
        tour.trouble(projects[0])


def _given_names(config: Config, *projects: str) -> frozenset[str]:
    """How people called their things; a Chinese page shows that as it is."""
    names = {"jsonl", "first administrator"}
    for project in projects:
        gyre = Gyre(config=replace(config, project=project))
        suites = list(gyre.suites.list())
        things = (
            gyre.datasets.list(), gyre.models.list(), gyre.deployments.list(), gyre.pipelines.list(), suites,
            gyre.prompts.list(),
        )  # fmt: skip
        names.update(f"{one.display_name} {one.name.rsplit('/', 1)[-1]}" for kind in things for one in kind)
        names.update(label for prompt in gyre.prompts.list() for label in prompt.labels)
        names.update(lap.spec.alias for lap in gyre.pipelines.list())
        scores = (score for one in gyre.evaluations.list() for score in one.scores)
        names.update(score.slice for score in scores)
    return frozenset(names)


def _make_empty(config: Config) -> None:
    try:
        Gyre(config=config).projects.create(EMPTY, display_name="Empty")
    except GyreError as error:
        if error.status != 409:
            raise


if __name__ == "__main__":
    sys.exit(main())
