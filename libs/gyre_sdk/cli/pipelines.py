"""`gyre pipelines`: laps of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, Exit, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing
from gyre_sdk.cli.spec_file import DEFAULT_SEED, read_spec, show_spec, spec_option

if TYPE_CHECKING:
    from gyre.training_scheduler.v1.pipeline_pb2 import Pipeline

    from gyre_sdk.client import Gyre

COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("STATE", lambda o: o.state()),
    ("STAGE", lambda o: lambda item: _stage(item)),
    ("RESULT", lambda o: o.short("model_version")),
    ("COST", lambda o: lambda item: o.money(item.cost_microusd)),
    ("TITLE", lambda o: o.text("display_name")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def pipelines() -> None:
    """Laps of the loop: train on feedback, quantise, evaluate, gate, promote, shift traffic."""


pipelines.add_command(listing("pipelines", lambda gyre: gyre.pipelines, COLUMNS, "List the laps, newest first."))
pipelines.add_command(showing("PIPELINE", lambda gyre: gyre.pipelines, "pipelines", "Show one lap."))


@pipelines.command()
@spec_option("PipelineSpec")
@click.option("--batch", metavar="BATCH", help="Batch of approved feedback to learn from.")
@click.option(
    "--collect", metavar="DATASET:PIECES", help="Wait until so many pieces are approved, and learn from these."
)
@click.option("--base", metavar="MODEL[@VERSION]", help="What to start from.", shell_complete=complete("models"))
@click.option("--data", multiple=True, metavar="DATASET[@VERSION][:ROWS]", help="Old rows to mix in.")
@click.option("--register-as", metavar="MODEL", shell_complete=complete("models"))
@click.option("--quantise", multiple=True, help="Q8_0, Q4_K_M, …; the first is evaluated and served. Repeat it.")
@click.option("--suite", multiple=True, help="Suite to measure on; repeat it.", shell_complete=complete("suites"))
@click.option("--rule", multiple=True, metavar="[SLICE]:BOUND", help="Gate, for instance parks:0 or '!parks:-0.05'.")
@click.option("--dpo", is_flag=True, help="Train on the batch's pairs too, after the corrections.")
@click.option("--rlhf", is_flag=True, help="Train a reward model on the pairs, and the result against it (PPO).")
@click.option("--alias", help="Alias that moves on success.")
@click.option("--deployment", help="Deployment whose traffic shifts.", shell_complete=complete("deployments"))
@click.option("--traffic", default="10,50,100", show_default=True, help="Steps in percent.")
@click.option("--seed", type=int, help=f"[default: {DEFAULT_SEED}]")
@click.option("--title", default="")
@click.option("--watch/--no-watch", default=True, show_default=True)
@click.pass_context
def start(ctx: click.Context, /, file: Any, title: str, watch: bool, **given: Any) -> None:
    """Start a lap. Exit code 4 if the gate refused it: then nothing was promoted.

    Examples:
    gyre pipelines start --batch 1 --base smollm2 --data hotline:80 --register-as hotline-bot --dpo
    gyre pipelines start --collect hotline:50 --base smollm2 --register-as hotline-bot --rlhf --no-watch
    gyre pipelines start --spec lap.yaml --title "second lap"
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        spec = {"seed": DEFAULT_SEED} | read_spec(file) | _spec(gyre, **given)
        try:
            pipeline = gyre.pipelines.create(spec, title)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        if watch:
            _watch(ctx, gyre, pipeline)
        else:
            output.show_item(pipeline, f"Watch it: gyre pipelines watch {pipeline.number}")


@pipelines.command()
@click.argument("pipeline", shell_complete=complete("pipelines"))
def spec(pipeline: str) -> None:
    """Print what a lap was asked for as YAML, which `start --spec` takes.

    Examples:
    gyre pipelines spec 2 > lap.yaml
    """
    with connect() as gyre:
        show_spec(gyre.pipelines.find(pipeline).spec)


@pipelines.command()
@click.argument("pipeline", shell_complete=complete("pipelines"))
@click.pass_context
def watch(ctx: click.Context, pipeline: str) -> None:
    """Follow a lap to its end. Ctrl-C leaves it running.

    Examples:
    gyre pipelines watch 2
    """
    with connect() as gyre:
        _watch(ctx, gyre, gyre.pipelines.find(pipeline))


@pipelines.command()
@click.argument("pipeline", shell_complete=complete("pipelines"))
def cancel(pipeline: str) -> None:
    """Stop the present stage, then the lap. What was promoted stays."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.pipelines.cancel(gyre.pipelines.find(pipeline).name))


def _watch(ctx: click.Context, gyre: Gyre, pipeline: Pipeline) -> None:
    from gyre_sdk.cli import progress
    from gyre_sdk.collection import failure_of
    from gyre_sdk.messages import enum_name

    shown: set[str] = set()
    with progress.Watching(_line, _share) as watching:
        for lap in gyre.pipelines.watch(pipeline.name):
            watching(lap)
            if OPTIONS.json:
                progress.json_line(lap)
            else:
                _say_ended_stages(lap, shown)
    pipeline = gyre.pipelines.get(pipeline.name)
    state = enum_name(pipeline, "state")
    if state == "REFUSED":
        click.secho(f"Lap #{pipeline.number} was refused: {pipeline.failure_message}", fg="yellow", err=True)
        ctx.exit(Exit.REFUSED)
    if state != "SUCCEEDED":
        raise failure_of(pipeline, state)
    if not OPTIONS.json:
        from gyre_sdk import names

        click.secho(f"Lap #{pipeline.number} succeeded: {names.short(pipeline.model_version)} serves.", fg="green")


def _say_ended_stages(pipeline: Pipeline, shown: set[str]) -> None:
    from gyre_sdk.messages import enum_name

    for stage in pipeline.stages:
        state = enum_name(stage, "state")
        if stage.id not in shown and state not in ("PENDING", "RUNNING", "UNSPECIFIED"):
            shown.add(stage.id)
            click.echo(f"{stage.id.ljust(9)} {state.lower().ljust(9)} {stage.message}")


def _line(pipeline: Pipeline) -> str:
    from gyre_sdk.messages import enum_name

    return f"lap #{pipeline.number} {enum_name(pipeline, 'state')} · {_stage(pipeline)}"


def _stage(pipeline: Pipeline) -> str:
    """The stage that runs, with its sentence; empty when none does."""
    from gyre_sdk.messages import enum_name

    running = [stage for stage in pipeline.stages if enum_name(stage, "state") == "RUNNING"]
    return f"{running[0].id}: {running[0].message}" if running else ""


def _share(pipeline: Pipeline) -> float | None:
    from gyre_sdk.messages import enum_name

    ended = [stage for stage in pipeline.stages if enum_name(stage, "state") in ("SUCCEEDED", "SKIPPED")]
    return len(ended) / len(pipeline.stages) if pipeline.stages else None


def _spec(
    gyre: Gyre, batch: str | None, collect: str | None, base: str | None, data: tuple[str, ...],
    register_as: str | None, quantise: tuple[str, ...], suite: tuple[str, ...], rule: tuple[str, ...], dpo: bool,
    rlhf: bool, alias: str | None, deployment: str | None, traffic: str, seed: int | None,
) -> dict[str, Any]:  # fmt: skip
    """What the options say, as a PipelineSpec's JSON; names in full."""
    spec: dict[str, Any] = {
        "feedback_batch": gyre.batches.find(batch).name if batch else None,
        "collect": collected(collect) if collect else None,
        "base": gyre.models.version_name(base) if base else None,
        "sft": {"datasets": [_replay(gyre, term) for term in data]} if data or batch or collect else None,
        "dpo": {} if dpo else None,
        "reward": {} if rlhf else None,
        "ppo": {} if rlhf else None,
        "register_as": gyre.models.name(register_as) if register_as else None,
        "quantisations": list(quantise) or None,
        "suites": [gyre.suites.name(name) for name in suite] or None,
        "gate": {"rules": [rule_of(term) for term in rule]} if rule else None,
        "alias": alias,
        "deployment": gyre.deployments.name(deployment) if deployment else None,
        "traffic_steps": [int(step) for step in traffic.split(",")] if deployment else None,
        "seed": seed,
    }
    return {name: value for name, value in spec.items() if value is not None}


def collected(term: str) -> dict[str, Any]:
    dataset, _, pieces = term.rpartition(":")
    if not dataset or not pieces.isdecimal():
        raise click.UsageError(f"--collect wants DATASET:PIECES, for instance hotline:50, not {term!r}.")
    return {"dataset_id": dataset, "min_feedback": int(pieces)}


def _replay(gyre: Gyre, term: str) -> dict[str, Any]:
    reference, _, rows = term.partition(":")
    return {"version": gyre.datasets.version_name(reference), "max_rows": int(rows or 0)}


def rule_of(term: str) -> dict[str, Any]:
    """`parks:0` → on slice parks the lower bound of the gain must be over 0; `!parks` is all but parks."""
    slice_, separator, bound = term.rpartition(":")
    try:
        return {"slice": slice_, "min_lower_bound": float(bound)}
    except ValueError as error:
        hint = "" if separator else " (the colon is missing)"
        raise click.UsageError(
            f"--rule wants [SLICE]:BOUND, for instance parks:0 or :-0.05, not {term!r}{hint}."
        ) from error
