"""The documentation is true where a machine can tell: links lead somewhere, commands and settings exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from gyre_sdk.cli.root import cli

from tests.infra.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "infra/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SETTING = re.compile(r"\bGYRE_[A-Z_]*[A-Z]\b")
# Read by something else than a settings class: client and command line, the tests' Grafana, a key by its name.
OTHER_SETTINGS = {
    "GYRE_URL",
    "GYRE_API_KEY",
    "GYRE_PROJECT",
    "GYRE_PROMETHEUS_URL",
    "GYRE_UPSTREAM_KEY",
    "GYRE_PROXY_RECORD",
    "GYRE_MODELSCOPE_ENDPOINT",
}


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> Iterator[str]:
    """Each `gyre …` of the shell blocks, alone."""
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            for piece in re.split(r"&&|;|\||\$\(", line.split(" #")[0]):
                found = re.match(r"(?:\s|export \S+=|[A-Z_]+=\S+ |if )*(?:\.venv/bin/)?gyre (.*)", piece)
                if found:
                    yield found[1].rstrip(")").strip()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in LINK.findall(page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{target} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_gyre_command_has_these_options_and_arguments(page: Path) -> None:
    for line in commands(page.read_text("utf-8")):
        command: click.Command = cli
        context, words = click.Context(cli, info_name="gyre"), shlex.split(line)
        while isinstance(command, click.Group) and words:
            if command.invoke_without_command and words[0].startswith("-"):
                break  # it does something itself, too
            child = command.get_command(context, words.pop(0))
            assert child, f"there is no `gyre {line}`"
            command, context = child, click.Context(child, info_name=child.name, parent=context)
        try:
            command.make_parser(context).parse_args(words)
        except click.UsageError as error:
            raise AssertionError(f"`gyre {line}`: {error.format_message()}") from error


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_setting_is_in_the_reference(page: Path) -> None:
    known = set(SETTING.findall((ROOT / "docs" / "reference" / "settings.md").read_text("utf-8"))) | OTHER_SETTINGS
    assert set(SETTING.findall(page.read_text("utf-8"))) - known == set()
