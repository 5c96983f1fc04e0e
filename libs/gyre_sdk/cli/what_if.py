"""`gyre what-if`: the last days again, with more nodes or fewer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect
from services.gpu_scheduler.decisions.policies import POLICIES

if TYPE_CHECKING:
    from gyre.gpu_scheduler.v1.simulation_pb2 import AddedNodes, SimulationReport, WhatIfReport

ADDITION = re.compile(r"(\d{1,4})x([a-z0-9.-]+)x(\d{1,2})")
ROWS = (
    ("nodes", "node_count"),
    ("cost of an hour", "hour_microusd"),
    ("completion, mean", "mean_completion_seconds"),
    ("completion, p50", "p50_completion_seconds"),
    ("completion, p99", "p99_completion_seconds"),
    ("wait, mean", "mean_wait_seconds"),
    ("wait, p50", "p50_wait_seconds"),
    ("wait, p99", "p99_wait_seconds"),
    ("makespan", "makespan_seconds"),
    ("utilisation", "utilisation"),
    ("fragmentation", "fragmentation"),
    ("finish-time fairness, p99", "p99_finish_time_fairness"),
    ("preemptions", "preemption_count"),
    ("could never fit", "refused_count"),
)
SHARES = ("utilisation", "fragmentation")


class Addition(click.ParamType["AddedNodes"]):
    """`2xa100x8`: two nodes of flavor a100 with eight cards each."""

    name = "addition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> AddedNodes:
        from gyre.gpu_scheduler.v1.simulation_pb2 import AddedNodes

        found = ADDITION.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not NODESxFLAVORxCARDS, for example 1xa100x8 or 2xcpux0.", param, ctx)
        return AddedNodes(node_count=int(found[1]), flavor=f"flavors/{found[2]}", cards_per_node=int(found[3]))


@click.command("what-if", cls=GyreCommand)
@click.option(
    "--add", "additions", type=Addition(), multiple=True, metavar="NODESxFLAVORxCARDS",
    help="Nodes to add; repeat it for several kinds.",
)  # fmt: skip
@click.option(
    "--remove", "removals", multiple=True, metavar="NODE", shell_complete=complete("nodes"),
    help="A node to do without; repeat it for several.",
)  # fmt: skip
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(1, 31), help="How much of the past to replay."
)
@click.option("--policy", type=click.Choice(list(POLICIES)), help="[default: the platform's]")
def what_if(additions: tuple[AddedNodes, ...], removals: tuple[str, ...], days: int, policy: str | None) -> None:
    """What more nodes would have changed, or fewer, by replaying the last days. For administrators.

    Both columns are simulated, under the platform's own policy unless told another. A job counts as long on every
    flavor as it was on its own, so that adding a faster kind of card is valued too low.

    Examples:
    gyre what-if --add 1xa100x8
    gyre what-if --remove alpha
    gyre what-if --remove alpha --add 2xcpux0 --days 14 --json
    """
    from gyre_sdk.cli import output

    if not additions and not removals:
        raise click.UsageError("Say what to change: --add or --remove.")
    with connect() as gyre:
        report = gyre.nodes.what_if(additions, days, policy or "", removals)
    if OPTIONS.json:
        output.show_item(report)
        return
    _show(report)


def _show(report: WhatIfReport) -> None:
    from gyre_sdk.cli import output

    days = (report.end_time.seconds - report.start_time.seconds) / 86_400
    start, end = (f"{time.ToDatetime():%Y-%m-%d %H:%M}" for time in (report.start_time, report.end_time))
    click.echo(
        f"Simulated: {report.before.job_count:,} jobs of {days:g} days, {start} to {end} UTC, {report.policy}.\n"
    )
    rows = [[title, *(_figure(field, each) for each in (report.before, report.after))] for title, field in ROWS]
    output.show_table(["", "AS IT IS", "AS IT WOULD BE"], rows)
    added, removed = (output.money(each) for each in (report.added_hour_microusd, report.removed_hour_microusd))
    click.echo(f"\nWhat is added costs {added} an hour by its flavors' prices, what is removed {removed}.")
    if report.truncated_count:
        click.echo(f"{report.truncated_count:,} still ran at the end, and count with what they had held by then.")
    if report.left_out_count:
        click.echo(f"{report.left_out_count:,} never ran, and are left out.")


def _figure(field: str, report: SimulationReport) -> str:
    from gyre_sdk.cli import output

    if field == "hour_microusd":
        return output.money(report.hour_microusd)
    if not field.endswith("_count") and not report.HasField(field):  # type: ignore[arg-type]
        return "–"
    value = getattr(report, field)
    if field in SHARES:
        return f"{value:.1%}"
    if field.endswith("_seconds"):
        return output.duration(value) if value >= 60 else f"{value:.3g} s"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
