"""What the demo prints while it works: numbered steps, bars on long work, one line for each fact."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from gyre_sdk.cli import output
from gyre_sdk.cli.progress import Watching


class Show:
    def __init__(self) -> None:
        self.began = time.monotonic()
        self._step = 0

    def step(self, title: str) -> None:
        self._step += 1
        click.secho(f"\n{self._step}. {title}", bold=True, nl=False)
        click.secho(f"  ({output.duration(time.monotonic() - self.began)} so far)", dim=True)

    def say(self, text: str) -> None:
        click.echo(f"   {text}")

    def warn(self, text: str) -> None:
        click.secho(f"   {text}", fg="yellow")

    def good(self, text: str) -> None:
        click.secho(f"   {text}", fg="green")

    def bad(self, text: str) -> None:
        click.secho(f"   {text}", fg="red")

    def table(self, titles: list[str], rows: list[list[str]]) -> None:
        click.echo()
        output.show_table(titles, rows)

    @contextmanager
    def watching(
        self, describe: Callable[[Any], str], share: Callable[[Any], float | None] | None = None
    ) -> Iterator[Watching]:
        with Watching(lambda item: f"   {describe(item)}", share) as watching:
            yield watching
