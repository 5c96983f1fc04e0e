"""What every command has: `--json`, `--project`, examples in its help, a client, and named exit codes."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from gyre_sdk.client import Gyre

F = TypeVar("F", bound=Callable[..., Any])


class Exit(IntEnum):
    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5


EXIT_CODES: Final = {
    Exit.OK: "done",
    Exit.FAILURE: "it failed",
    Exit.USAGE: "the command line, or a file that it names, is wrong",
    Exit.NOT_FOUND: "there is no such thing",
    Exit.REFUSED: "a gate or the licence policy refused it",
    Exit.UNAVAILABLE: "the platform, or a part of it, does not answer",
}


@dataclass
class Options:
    """What was asked for on this command line, wherever it stood in it."""

    json: bool = False
    project: str | None = None
    url: str | None = None

    def reset(self) -> None:
        self.json, self.project, self.url = False, None, None


OPTIONS: Final = Options()


def connect() -> Gyre:
    """The client for this command line."""
    from gyre_sdk.client import Gyre

    return Gyre(url=OPTIONS.url, project=OPTIONS.project)


def common_options(command: F) -> F:
    """`--json` and `--project`, before or after the name of the command."""
    project = click.option(
        "-p", "--project", expose_value=False, callback=_set_project, help="Project. [GYRE_PROJECT, default `default`]"
    )
    as_json = click.option(
        "--json", "as_json", is_flag=True, expose_value=False, callback=_set_json, help="JSON for programs."
    )
    return as_json(project(command))


def _set_json(_: click.Context, __: click.Parameter, value: bool) -> None:
    OPTIONS.json = OPTIONS.json or value


def _set_project(_: click.Context, __: click.Parameter, value: str | None) -> None:
    OPTIONS.project = value or OPTIONS.project


class GyreCommand(click.Command):
    """A command whose callback's docstring may end in examples: the lines after `Examples:`, kept as they are."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "as_json" not in {parameter.name for parameter in self.params}:
            self.params += _common_parameters()
        self.help = _keep_examples(self.help)


class GyreGroup(click.Group):
    command_class = GyreCommand
    group_class = type  # subgroups are of the same class as their parent

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.help = _keep_examples(self.help)


def _common_parameters() -> list[click.Parameter]:
    @click.command
    @common_options
    def carrier() -> None:
        """Only its parameters are wanted."""

    return carrier.params


def _keep_examples(text: str | None) -> str | None:
    """Puts click's no-wrap mark before the examples."""
    if not text or "Examples:" not in text:
        return text
    before, _, examples = inspect.cleandoc(text).partition("\nExamples:\n")
    lines = "\n".join(f"  {line}" for line in examples.splitlines())
    return f"{before.rstrip()}\n\n\b\nExamples:\n{lines}"


def complete(collection: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Shell completion by what there is: names of `collection` that begin with what was typed."""

    def names(_: click.Context, __: click.Parameter, typed: str) -> list[str]:
        from gyre_sdk.client import Gyre
        from gyre_sdk.errors import GyreError

        try:
            gyre = Gyre(project=os.environ.get("GYRE_PROJECT"), timeout=1.0)
            found = getattr(gyre, collection).page(page_size=100).items
        except GyreError:
            return []
        return [name for item in found if (name := item.name.rsplit("/", 1)[-1]).startswith(typed)]

    return names
