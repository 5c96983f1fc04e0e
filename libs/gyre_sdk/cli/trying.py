"""`gyre runs try|tried`: ten steps of a run before it is started, and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, connect
from gyre_sdk.cli.run_spec import spec_of, spec_options

if TYPE_CHECKING:
    from gyre.training_scheduler.v1.try_pb2 import Try, TrySide

    from gyre_sdk.client import Gyre

NO_LOSS, LOSS = {"dim": True}, {"fg": "green"}


@click.command("try", cls=GyreCommand)
@spec_options
@click.option("--watch/--no-watch", default=True, show_default=True)
def try_(title: str, watch: bool, **asked: Any) -> None:
    """Make ten steps of a run and show what it would learn from, how fast, in how much memory, and how long it would take.

    Waits in the queue as the run would, and leaves nothing behind. Text that loss is taken on is green, and stands between
    ‹ and ›. Exit code 0 only if the steps could be made; Ctrl-C leaves it going.

    Examples:
    gyre runs try --base smollm2 --data hotline
    gyre runs try --method DPO --base hotline-bot@1 --data pairs --set beta=0.1 --json
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.tries.create(spec_of(gyre, **asked), display_name=title)
        if watch:
            _follow(gyre, found.name)
        else:
            output.show_item(found, f"See what it shows: gyre runs tried {found.name.rsplit('/', 1)[-1]}")


@click.command(cls=GyreCommand)
@click.argument("name", metavar="TRY")
@click.option("--cancel", is_flag=True, help="Ask it to stop instead.")
def tried(name: str, cancel: bool) -> None:
    """Wait for a try that was started before, named by its id, and show it.

    Examples:
    gyre runs tried 01J9Z3NDEKTSV4RRFFQ69G5FAV
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        if cancel:
            output.show_item(gyre.tries.cancel(name))
        else:
            _follow(gyre, name)


def _follow(gyre: Gyre, name: str) -> None:
    """Raises: GyreError unless the steps could be made."""
    from gyre_sdk.cli import output, progress
    from gyre_sdk.messages import to_json

    with progress.Watching(progress.by_state) as watching:
        found = gyre.tries.wait(name, on_update=watching)
    if OPTIONS.json:
        output.show_json(to_json(found))
    else:
        show(found)


def show(found: Try) -> None:
    """The samples, then the figures."""
    from gyre_sdk.cli import output

    for number, sample in enumerate(found.report.samples, start=1):
        for name, side in sorted(sample.sides.items()):
            click.secho(f"Sample {number}{'' if name == 'text' else f', {name}'}", bold=True)
            click.echo(f"{_text(side)}\n")
    output.show_pairs(_figures(found))


def _text(side: TrySide) -> str:
    return "".join(
        click.style(f"‹{piece.text}›", **LOSS) if piece.loss else click.style(piece.text, **NO_LOSS)  # type: ignore[arg-type]
        for piece in side.pieces
    )


def _figures(found: Try) -> Iterator[tuple[str, str]]:
    from gyre_sdk.cli.output import duration, money, size
    from gyre_sdk.messages import enum_name

    report, expected = found.report, found.estimate
    yield "steps", f"{report.steps} of {report.total_steps}"
    counted = report.tokens
    lengths = f"p50 {counted.p50:.0f}, p95 {counted.p95:.0f}, max {counted.max}"
    yield "tokens", f"{lengths} in {counted.sequences} sequences, {counted.cut_share:.1%} cut"
    yield "losses", " ".join(f"{loss:.4g}" for loss in report.losses)
    later = f", then {report.step_seconds:.2f} s" if report.HasField("step_seconds") else ""
    yield "a step", f"first {report.first_step_seconds:.2f} s{later}"
    if report.HasField("tokens_per_second"):
        yield "speed", f"{report.tokens_per_second:,.0f} tokens/s"
    if report.HasField("peak_memory_bytes"):
        yield "memory", f"{size(report.peak_memory_bytes)} ({size(expected.memory_bytes)} were planned)"
    if report.HasField("training_seconds"):
        span = report.training_seconds
        bounds = f"{duration(span.low)} to {duration(span.high)}"
        yield "all steps", f"{duration(span.expected)} ({bounds}; {duration(expected.seconds)} were planned)"
    yield "cost so far", money(found.cost_microusd)
    for alarm in report.alarms:
        told = f"{enum_name(alarm, 'kind')} at step {alarm.step}: {enum_name(alarm, 'action')} {alarm.detail}"
        yield "alarm", told.rstrip()
