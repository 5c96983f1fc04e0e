"""`gyre experiments`: which of two targets does better on live traffic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, made

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.experiment_pb2 import Arm, Experiment

METRICS = ["FEEDBACK", "ERRORS", "LATENCY", "LENGTH"]
COLUMNS: Columns = [
    ("NAME", lambda o: lambda item: _short(item)),
    ("STATE", lambda o: o.state()),
    ("METRIC", lambda o: o.enum("metric")),
    ("A", lambda o: lambda item: _arm(item.a)),
    ("B", lambda o: lambda item: _arm(item.b)),
    ("B − A", lambda o: lambda item: f"{item.difference * 100:+.1f} points"),
    ("INTERVAL", lambda o: lambda item: f"{item.low * 100:+.1f} to {item.high * 100:+.1f}"),
    ("RESULT", lambda o: lambda item: _result(item)),
    ("BEGAN", lambda o: o.age()),
]


@click.group(cls=GyreGroup)
def experiments() -> None:
    """Compare two targets on live traffic. The result may be looked at all the time. NAME is DEPLOYMENT/NUMBER."""


@experiments.command("list")
@click.argument("deployment", required=False, default="-", shell_complete=complete("deployments"))
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
def list_(deployment: str, limit: int) -> None:
    """List the experiments, newest first: of one deployment, or of all."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        page = gyre.experiments.of(deployment, page_size=limit)
    output.show_items("experiments", page.items, made(COLUMNS), page.total_size)


@experiments.command()
@click.argument("name")
def show(name: str) -> None:
    """Show one: what was counted, the difference, its interval, and who would be taken now.

    Examples:
    gyre experiments show hotline/1
    """
    with connect() as gyre:
        _show(gyre.experiments.get(name))


@experiments.command()
@click.argument("deployment", shell_complete=complete("deployments"))
@click.option("--metric", type=click.Choice(METRICS, case_sensitive=False), required=True, help="What is better.")
@click.option("--min-effect", default=5.0, show_default=True, help="Points of difference that matter.")
@click.option("--error-chance", default=0.05, show_default=True, help="Of a wrong decision, however often one looks.")
@click.option("--threshold", default=0.0, help="Seconds or tokens, for LATENCY and LENGTH.  [default: the median]")
@click.option("--arms", metavar="TARGET,TARGET", default="", help="Ids of two targets, where more have weight.")
@click.option("--wait/--no-wait", default=False, show_default=True, help="Until it is decided.")
def create(
    deployment: str, metric: str, min_effect: float, error_chance: float, threshold: float, arms: str, wait: bool
) -> None:
    """Begin an experiment between the two targets that have weight. The split stays as it is until it ends.

    Examples:
    gyre experiments create hotline --metric feedback --min-effect 5
    gyre experiments create hotline --metric latency --threshold 2
    """
    from gyre_sdk.cli import progress

    first, _, second = arms.partition(",")
    with connect() as gyre:
        experiment = gyre.experiments.create(
            deployment,
            metric.upper(),
            arms=(first, second),
            min_effect=min_effect / 100,
            error_chance=error_chance,
            threshold=threshold,
        )
        if wait:
            with progress.Watching(_line) as watching:
                experiment = gyre.experiments.wait_decided(experiment.name, on_update=watching)
    _show(experiment)


@experiments.command()
@click.argument("name")
def stop(name: str) -> None:
    """End one without a decision.

    Examples:
    gyre experiments stop hotline/1
    """
    with connect() as gyre:
        _show(gyre.experiments.stop(name))


@experiments.command()
@click.argument("name")
def promote(name: str) -> None:
    """Give the winner all of the traffic, by a rollout that can be taken back.

    Examples:
    gyre experiments promote hotline/1
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.experiments.promote(name))


def _show(experiment: Experiment) -> None:
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    if OPTIONS.json:
        output.show_item(experiment)
        return
    output.show_pairs(
        [
            ("name", _short(experiment)),
            ("state", messages.enum_name(experiment, "state")),
            ("metric", messages.enum_name(experiment, "metric")),
            ("A", _arm(experiment.a)),
            ("B", _arm(experiment.b)),
            ("B − A", f"{experiment.difference * 100:+.1f} points"),
            ("interval", f"{experiment.low * 100:+.1f} to {experiment.high * 100:+.1f} points"),
            ("result", _result(experiment)),
        ]
    )


def _line(experiment: Experiment) -> str:
    return f"{_result(experiment)} · {experiment.low * 100:+.1f} to {experiment.high * 100:+.1f} points"


def _result(experiment: Experiment) -> str:
    from gyre_sdk import messages

    winner, leader = messages.enum_name(experiment, "winner"), messages.enum_name(experiment, "leader")
    if winner != "UNSPECIFIED":
        return "no difference that matters" if winner == "NONE" else f"{winner} is better"
    if experiment.failure_message:
        return experiment.failure_message
    return f"not told yet; if stopped now: {leader}" if leader != "UNSPECIFIED" else "nothing to tell yet"


def _arm(arm: Arm) -> str:
    from gyre_sdk import names

    rate = f"{arm.hits / arm.count:.1%} of {arm.count:,}" if arm.count else "nothing yet"
    return f"{names.short(arm.variant) or arm.upstream_model or arm.target}: {rate}"


def _short(experiment: Experiment) -> str:
    parts = experiment.name.split("/")
    return f"{parts[3]}/{parts[5]}"
