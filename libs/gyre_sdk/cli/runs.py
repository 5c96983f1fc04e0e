"""`gyre runs`: train, watch and cancel; steer.py and trying.py have the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli import steer, trying
from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing
from gyre_sdk.cli.run_spec import spec_of, spec_options
from gyre_sdk.cli.spec_file import show_spec

if TYPE_CHECKING:
    from gyre.training_scheduler.v1.run_pb2 import Run

    from gyre_sdk.client import Gyre

COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("METHOD", lambda o: lambda item: o.messages.enum_name(item.spec, "method")),
    ("STATE", lambda o: o.state()),
    ("STEP", lambda o: lambda item: f"{item.step}/{item.total_steps or '?'}"),
    ("LOSS", lambda o: lambda item: f"{item.loss:.4g}" if item.HasField("loss") else ""),
    ("BASE", lambda o: lambda item: o.names.short(item.spec.base)),
    ("DATA", lambda o: lambda item: " ".join(o.names.short(name) for name in item.spec.datasets)),
    ("RESULT", lambda o: o.short("model_version")),
    ("WAITS FOR", lambda o: lambda item: item.waiting_reason or item.failure_reason),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def runs() -> None:
    """Train, watch, steer and compare. A run is named by its id or by its short number (`7`)."""


runs.add_command(listing("runs", lambda gyre: gyre.runs, COLUMNS, "List the runs, newest first."))
runs.add_command(showing("RUN", lambda gyre: gyre.runs, "runs", "Show one run."))


@runs.command()
@spec_options
@click.option("--register-as", default="", metavar="MODEL", help="Model whose next version the result becomes.")
@click.option("--dry-run", is_flag=True, help="Only say what it would need, take and cost on each flavor, and why.")
@click.option("--watch/--no-watch", default=True, show_default=True)
@click.pass_context
def start(ctx: click.Context, /, title: str, register_as: str, dry_run: bool, watch: bool, **asked: Any) -> None:
    """Train a model on data.

    Examples:
    gyre runs start --base smollm2 --data hotline --register-as hotline-bot
    gyre runs start --method DPO --base hotline-bot@1 --data pairs --set beta=0.1 --set max_steps=40
    gyre runs start --method PPO --base smollm2 --data hotline --reward-model judge --set kl_target=6
    gyre runs start --base smollm2 --data hotline --health divergence=ROLL_BACK --health divergence_ratio=3
    gyre runs start --base smollm2 --data hotline --preset quick-look
    gyre runs start --base smollm2 --data hotline --dry-run
    gyre runs start --spec run.yaml --seed 8
    """
    from gyre_sdk.cli import estimates, output

    with connect() as gyre:
        wanted = spec_of(gyre, register_as=register_as, **asked)
        if dry_run:
            estimates.show(gyre.runs.estimate(wanted))
            return
        run = gyre.runs.create(wanted, display_name=title)
        if wanted.register_as:  # after the run: a run that is refused leaves no model behind
            gyre.models.ensure(wanted.register_as.rpartition("/")[2])
        if watch:
            _watch(ctx, gyre, run)
        else:
            output.show_item(run, f"Watch it: gyre runs watch {run.number}")


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
def spec(run: str) -> None:
    """Print what a run was asked for as YAML, defaults filled in; `start --spec` and `try --spec` take it.

    Examples:
    gyre runs spec 7 > run.yaml
    """
    with connect() as gyre:
        show_spec(gyre.runs.find(run).spec)


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
@click.pass_context
def watch(ctx: click.Context, run: str) -> None:
    """Follow a run to its end: step, loss, remaining time. Exit code 0 only if it succeeded; Ctrl-C leaves it running.

    Examples:
    gyre runs watch 7
    gyre runs watch 7 --json
    """
    with connect() as gyre:
        _watch(ctx, gyre, gyre.runs.find(run))


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
@click.option("--watch/--no-watch", default=True, show_default=True)
@click.pass_context
def again(ctx: click.Context, run: str, watch: bool) -> None:
    """Run a run again as its record says: settings, seed, weights and rows by digest.

    At the end it says whether both made the same files, byte for byte. They do on the same hardware, unless the first
    was stopped early.

    Examples:
    gyre runs again 7
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        first = gyre.runs.find(run)
        second = gyre.runs.again(first.name)
        if not watch:
            output.show_item(second, f"Watch it: gyre runs watch {second.number}")
            return
        second = _followed(gyre, second)
    if not OPTIONS.json:
        click.echo(same_or_not(first, second))
    ctx.exit(0)


def same_or_not(first: Run, second: Run) -> str:
    """Whether two finished runs made the same files."""
    if not first.content_digest:
        return f"Run #{first.number} has no result to compare with."
    if first.content_digest == second.content_digest:
        return f"Its files are those of run #{first.number}, byte for byte: {second.content_digest}"
    why = " (it was stopped early)" if first.stopped_early else ""
    return f"Its files are not those of run #{first.number}{why}: {second.content_digest} and {first.content_digest}"


def _watch(ctx: click.Context, gyre: Gyre, run: Run) -> None:
    _followed(gyre, run)
    ctx.exit(0)


def _followed(gyre: Gyre, run: Run) -> Run:
    """The run at its end. Raises: GyreError unless it succeeded."""
    from gyre_sdk.cli import output, progress
    from gyre_sdk.collection import failure_of
    from gyre_sdk.messages import enum_name

    with progress.Watching(progress.run_line, progress.run_share) as watching:
        for update in gyre.runs.watch(run.name):
            run = update.run
            watching(run)
            if OPTIONS.json:
                progress.json_line(update)
    state = enum_name(run, "state")
    if state != "SUCCEEDED":
        raise failure_of(run, state)
    if not OPTIONS.json:
        seconds = (run.end_time.ToDatetime() - run.start_time.ToDatetime()).total_seconds()
        loss = f", loss {run.loss:.4g}" if run.HasField("loss") else ""
        click.secho(f"Run #{run.number} succeeded: {run.step} steps in {output.duration(seconds)}{loss}.", fg="green")
        if run.spec.register_as:
            click.echo(f"Its result: gyre models versions {run.spec.register_as.rsplit('/', 1)[-1]}")
    return run


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
@click.option("-f", "--follow", is_flag=True, help="Stay until the attempt ends.")
@click.option("-n", "--lines", default=0, help="Only the last so many.")
@click.option("--stdout", "stream", flag_value="stdout", default=None, help="Standard output in place of the log.")
def logs(run: str, follow: bool, lines: int, stream: str | None) -> None:
    """What the trainer printed.

    Examples:
    gyre runs logs 7 -f
    """
    with connect() as gyre:
        name = gyre.runs.find(run).name
        for piece in gyre.runs.logs(name, stream or "stderr", lines, follow):
            click.echo(piece, nl=False)


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
def metrics(run: str) -> None:
    """The metrics of a run, step by step.

    Examples:
    gyre runs metrics 7 --json | jq '.points[-1]'
    """
    from gyre_sdk.cli import output
    from gyre_sdk.messages import to_json

    with connect() as gyre:
        points = list(gyre.runs.metrics(gyre.runs.find(run).name))
    if OPTIONS.json:
        output.show_json({"points": [to_json(point) for point in points]})
        return
    names = sorted({name for point in points for name in point.metrics})
    rows = [[str(p.step), *(f"{p.metrics[n]:.5g}" if n in p.metrics else "" for n in names)] for p in points]
    output.show_table(["STEP", *names], rows)


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
def checkpoints(run: str) -> None:
    """The states from which a run can go on."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.runs.checkpoints(gyre.runs.find(run).name))
    columns = [("STEP", output.text("step")), ("ATTEMPT", output.text("attempt")), ("SIZE", output.bytes_of())]
    output.show_items("checkpoints", found, [*columns, ("CREATED", output.age()), ("URI", output.text("uri"))])


@runs.command()
@click.argument("method", required=False)
def methods(method: str | None) -> None:
    """What can be trained how; with a METHOD, all that can be set of it, and what its runs are watched for.

    Examples:
    gyre runs methods
    gyre runs methods PPO
    gyre runs methods PPO --json | jq .settings_schema
    """
    from gyre_sdk.cli import output, settings
    from gyre_sdk.messages import enum_name, to_json

    with connect() as gyre:
        found = list(gyre.runs.methods())
    if method is None:
        columns = [("METHOD", output.enum("method")), ("DATA", output.text("dataset_type"))]
        output.show_items("methods", found, [*columns, ("WHAT IT IS", output.text("display_name"))])
        return
    named = [one for one in found if enum_name(one, "method") == method.upper()]
    if not named:
        raise click.UsageError(f"There is no method {method}; `gyre runs methods` lists them.")
    body = to_json(named[0])
    if OPTIONS.json:
        output.show_json(body)
    else:
        for kind, schema in (("SETTING", "settings_schema"), ("HEALTH", "health_schema")):
            output.show_table([kind, "DEFAULT", "RANGE", "WHAT IT IS"], settings.table(body[schema]))


@runs.command()
def recipes() -> None:
    """Ready-made settings for each method."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.runs.recipes())
    columns = [("NAME", output.short()), ("METHOD", output.enum("method")), ("DATA", output.text("dataset_type"))]
    output.show_items("recipes", found, [*columns, ("WHAT FOR", output.text("description"))])


@runs.command()
@click.argument("run", shell_complete=complete("runs"))
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the stop is confirmed.")
def cancel(run: str, wait: bool) -> None:
    """Ask a run to stop.

    Examples:
    gyre runs cancel 7
    """
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        cancelled = gyre.runs.cancel(gyre.runs.find(run).name)
        if wait:
            with progress.Watching(progress.run_line) as watching:
                cancelled = gyre.runs.wait(cancelled.name, on_update=watching, check=False)
    if OPTIONS.json:
        output.show_item(cancelled)
    else:
        click.echo(progress.run_line(cancelled))


for command in (
    trying.try_,
    trying.tried,
    steer.pause,
    steer.resume,
    steer.stop,
    steer.fork,
    steer.alarms,
    steer.samples,
    steer.compare,
    steer.report,
):
    runs.add_command(command)
