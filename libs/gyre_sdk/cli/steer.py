"""`gyre runs pause|resume|stop|fork|alarms|compare|report`: what a person does with a run that is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect
from gyre_sdk.cli.settings import hyperparameters

if TYPE_CHECKING:
    from gyre.training_scheduler.v1.run_pb2 import MetricPoint, Run

    from gyre_sdk.client import Gyre

SHOWN_STEPS = 12  # rows of a comparison on a screen
RUN = click.argument("run", shell_complete=complete("runs"))
WAIT = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is confirmed.")


@click.command(cls=GyreCommand)
@RUN
@WAIT
def pause(run: str, wait: bool) -> None:
    """Have a run save a checkpoint and give its cards back.

    Examples:
    gyre runs pause 7
    """
    _steer(run, lambda gyre, name: gyre.runs.pause(name), ("PAUSED", "SUCCEEDED"), wait)


@click.command(cls=GyreCommand)
@RUN
def resume(run: str) -> None:
    """Have a paused run go on from its last checkpoint, once there is a card for it.

    Examples:
    gyre runs resume 7
    """
    _steer(run, lambda gyre, name: gyre.runs.resume(name), (), wait=False)


@click.command(cls=GyreCommand)
@RUN
@WAIT
def stop(run: str, wait: bool) -> None:
    """End a run early and keep what it learnt: the steps that are done become its result. `cancel` keeps nothing.

    Examples:
    gyre runs stop 7
    """
    _steer(run, lambda gyre, name: gyre.runs.stop(name), ("SUCCEEDED",), wait)


@click.command(cls=GyreCommand)
@RUN
@click.option("--step", default=0, help="Of the checkpoint; the latest unless given. See `gyre runs checkpoints`.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Hyperparameter that changes; repeat it.")
@click.option("--register-as", default="", metavar="MODEL", help="Model whose next version the result becomes.")
@click.option("--title", default="", help="Free text shown to people.")
def fork(run: str, step: int, settings: tuple[str, ...], register_as: str, title: str) -> None:
    """Start a new run with the weights of another's checkpoint and other settings.

    Optimizer, schedule and step count begin anew; what is not set is as in the other run.

    Examples:
    gyre runs fork 7 --step 150 --set learning_rate=1e-5
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        try:
            forked = gyre.runs.fork(
                gyre.runs.find(run).name,
                step=step,
                hyperparameters=hyperparameters(settings),
                register_as=gyre.models.name(register_as) if register_as else "",
                display_name=title,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        output.show_item(forked, f"Watch it: gyre runs watch {forked.number}")


@click.command(cls=GyreCommand)
@RUN
def alarms(run: str) -> None:
    """What was wrong with a run, and what was done about it.

    Examples:
    gyre runs alarms 7
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.runs.alarms(gyre.runs.find(run).name))
    columns = [("STEP", output.text("step")), ("KIND", output.enum("kind")), ("DONE", output.enum("action"))]
    measured = ("MEASURED", lambda alarm: " ".join(f"{name} {value:.4g}" for name, value in alarm.values.items()))
    output.show_items("alarms", found, [*columns, measured, ("DETAIL", output.text("detail"))])


@click.command(cls=GyreCommand)
@click.argument("named", nargs=-1, required=True, metavar="RUN RUN...", shell_complete=complete("runs"))
@click.option("--metric", default="loss", show_default=True, help="Which curve; see `gyre runs metrics`.")
def compare(named: tuple[str, ...], metric: str) -> None:
    """Lay the curves of two or more runs side by side, step by step. With --json: every point of every metric.

    Examples:
    gyre runs compare 7 8
    gyre runs compare 7 8 9 --metric grad_norm
    gyre runs compare 7 8 --json | jq '.runs[].points[-1].metrics.loss'
    """
    from gyre_sdk.cli import output
    from gyre_sdk.messages import to_json

    if len(named) < 2:
        raise click.UsageError("Name two runs or more.")
    with connect() as gyre:
        runs = [gyre.runs.find(one) for one in named]
        curves = [list(gyre.runs.metrics(run.name)) for run in runs]
    if OPTIONS.json:
        listed = zip(runs, curves, strict=True)
        laid = [{"run": to_json(run), "points": [to_json(point) for point in points]} for run, points in listed]
        output.show_json({"runs": laid})
        return
    output.show_table(["STEP", *(f"#{run.number}" for run in runs)], side_by_side(curves, metric))
    output.show_table(["RUN", "STATE", "STEPS", "CHANGED"], [_summary(run, runs[0]) for run in runs])


@click.command(cls=GyreCommand)
@RUN
def samples(run: str) -> None:
    """What the model answered to a few prompts before the first step, at each checkpoint and at the end.

    Examples:
    gyre runs samples 7
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.runs.samples(gyre.runs.find(run).name))
    columns = [(title.upper(), output.text(field)) for title, field in (("prompt", "prompt"), ("step", "step"))]
    said = [("ANSWER", output.text("answer")), ("EXPECTED", output.text("expected"))]
    output.show_items("samples", found, [*columns, *said])


@click.command(cls=GyreCommand)
@RUN
@click.option("--out", required=True, type=click.Path(dir_okay=False, writable=True, path_type=Path), help="HTML file.")
def report(run: str, out: Path) -> None:
    """Write a run as one HTML page: data, settings, curves, samples, alarms, cost. It needs nothing else to be read.

    Examples:
    gyre runs report 7 --out run-7.html
    """
    from gyre_sdk.cli import training_report

    with connect() as gyre:
        found = gyre.runs.find(run)
        seen = gyre.runs.metrics(found.name), gyre.runs.alarms(found.name), gyre.runs.samples(found.name)
        text = training_report.page(found, *map(list, seen))  # type: ignore[arg-type]
    out.write_text(text, "utf-8")
    if not OPTIONS.json:
        click.echo(f"Written to {out}.")


def side_by_side(curves: list[list[MetricPoint]], metric: str) -> list[list[str]]:
    """At most SHOWN_STEPS rows, the last step among them: a step and the value of each run at it, where there is one."""
    values = [{point.step: point.metrics[metric] for point in points if metric in point.metrics} for points in curves]
    steps = sorted(set().union(*values))
    stride = max(1, -(-len(steps) // SHOWN_STEPS))
    shown = sorted({*steps[::-1][::stride]})
    return [[str(step), *(f"{of[step]:.5g}" if step in of else "" for of in values)] for step in shown]


def _summary(run: Run, first: Run) -> list[str]:
    from gyre_sdk.messages import enum_name
    from gyre_sdk.resources.training import settings_of

    mine, others = (settings_of(it.spec.hyperparameters) for it in (run, first))
    changed = [f"{name}={value}" for name, value in mine.items() if others.get(name) != value]
    return [f"#{run.number}", enum_name(run, "state"), f"{run.step}/{run.total_steps}", " ".join(changed)]


def _steer(run: str, ask: Callable[[Gyre, str], Run], ends: tuple[str, ...], wait: bool) -> None:
    """Asks, and follows the run to one of `ends` if it shall wait; the exit code is 0 only if it got there."""
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        now: Any = ask(gyre, gyre.runs.find(run).name)
        if wait:
            with progress.Watching(progress.run_line) as watching:
                now = gyre.runs.wait_for(now.name, ends, on_update=watching)
    if OPTIONS.json:
        output.show_item(now)
    else:
        click.echo(progress.run_line(now))
