"""Long work on the screen: bars and spinners on a terminal, a line now and then in a pipe, JSON lines for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from gyre_sdk import messages, names
from gyre_sdk.cli.base import OPTIONS
from gyre_sdk.cli.output import duration, money, size

LINE_EVERY_SECONDS = 5.0
ULID_LENGTH = 26


def stderr() -> Console:
    """Progress goes to stderr, so that stdout has the result alone."""
    return Console(stderr=True, highlight=False)


@contextmanager
def uploading(file: Path) -> Iterator[Callable[[int, int], None]]:
    """A bar with bytes, speed and remaining time."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    out = stderr()
    if OPTIONS.json or not out.is_terminal:
        yield lambda sent, total: None
        return
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(f"uploading {file.name}", total=file.stat().st_size)
        yield lambda sent, total: bar.update(task, completed=sent, total=total)


@contextmanager
def moving_files() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each file. Called with its name, bytes that are there and bytes in all."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    out = stderr()
    if OPTIONS.json or not out.is_terminal:
        yield lambda name, done, total: None
        return
    with Progress(*columns, console=out, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield show


@contextmanager
def counting(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of things done, of all there are. It may be called as often as one likes."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    out = stderr()
    if OPTIONS.json or not out.is_terminal:
        yield lambda done, total: None
        return
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(description, total=None)

        def show(done: int, total: int) -> None:
            if done == total or done % max(1, total // 200) == 0:  # an update costs more than a step of a replay
                bar.update(task, completed=done, total=total)

        yield show


class Watching:
    """Shows one resource while it changes. `describe` gives a sentence, `share` how much is done (None: unknown)."""

    def __init__(self, describe: Callable[[Any], str], share: Callable[[Any], float | None] | None = None) -> None:
        self._describe, self._share = describe, share or (lambda item: None)
        self._out = stderr()
        self._bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=30), TaskProgressColumn(),
            console=self._out, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._last_line, self._last_time = "", 0.0

    def __enter__(self) -> Self:
        if self._shows_bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shows_bar:
            self._bar.stop()

    def __call__(self, item: Any) -> None:
        """Shows the newest state."""
        if OPTIONS.json:
            return
        line = self._describe(item)
        if self._shows_bar:
            share = self._share(item)
            total = None if share is None else 1.0
            self._bar.update(self._task, description=line, completed=share or 0.0, total=total)
        elif line != self._last_line and time.monotonic() - self._last_time > LINE_EVERY_SECONDS:
            self._last_line, self._last_time = line, time.monotonic()
            click.echo(line, err=True)

    @property
    def _shows_bar(self) -> bool:
        return self._out.is_terminal and not OPTIONS.json


def json_line(item: Any) -> None:
    """One update of a watched resource, for programs."""
    click.echo(json.dumps(messages.to_json(item), ensure_ascii=False))


def by_state(item: Any) -> str:
    """`hotline@3 is IMPORTING`, `#7 is QUEUED (no free cpu)`."""
    reason = getattr(item, "waiting_reason", "")
    why = f" ({reason.replace('_', ' ').lower()})" if reason else ""
    short = names.short(item.name)
    called = f"#{item.number}" if len(short) == ULID_LENGTH else short
    return f"{called} is {messages.enum_name(item, 'state')}{why}"


def run_line(run: Any) -> str:
    """`run #3 RUNNING · step 42/180 · loss 1.234 · 2 min 05 s left · 310 tokens/s · 1.2 GB · $0.01 of $0.05`."""
    parts = [f"run #{run.number} {messages.enum_name(run, 'state')}"]
    if run.total_steps:
        parts.append(f"step {run.step}/{run.total_steps}")
    if run.HasField("loss"):
        parts.append(f"loss {run.loss:.4g}")
    if run.HasField("eta"):
        parts.append(f"{duration(run.eta.seconds)} left{_bounds(run)}")
    if speed := run.metrics.get("tokens_per_second"):
        parts.append(f"{speed:.0f} tokens/s{_utilisation(run)}")
    if peak := run.metrics.get("memory_bytes"):
        parts.append(size(int(peak)))
    if run.HasField("expected_cost_microusd"):
        parts.append(f"{money(run.cost_microusd)} of {money(run.expected_cost_microusd)}")
    if run.waiting_reason:
        parts.append(run.waiting_reason.replace("_", " ").lower())
    if run.attempt > 1:
        parts.append(f"attempt {run.attempt}, resumed from step {run.resumed_from_step}")
    return " · ".join(parts)


def _bounds(run: Any) -> str:
    if not run.HasField("eta_low"):
        return ""
    return f" ({duration(run.eta_low.seconds)} to {duration(run.eta_high.seconds)})"


def _utilisation(run: Any) -> str:
    return f" ({run.model_flops_utilisation:.0%} of the card)" if run.HasField("model_flops_utilisation") else ""


def run_share(run: Any) -> float | None:
    return run.step / run.total_steps if run.total_steps else None
