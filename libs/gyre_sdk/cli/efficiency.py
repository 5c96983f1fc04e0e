"""`gyre efficiency`: how well own machines were used, by flavor or by node."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, connect
from gyre_sdk.cli.when import When

if TYPE_CHECKING:
    from gyre.gpu_scheduler.v1.accounting_pb2 import CapacityEfficiency, EfficiencyRow


@click.command(cls=GyreCommand)
@click.option("--by", type=click.Choice(["flavor", "node"]), default="flavor", show_default=True)
@click.option("--from", "start", type=When(), help="[default: 30 days before the end]")
@click.option("--to", "end", type=When(), help="[default: now]")
@click.option("--order-by", default="", help="A name or a measure, for example 'card_utilisation'.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--csv", "as_csv", is_flag=True, help="A file for spreadsheets: all rows, whatever the limit.")
def efficiency(by: str, start: datetime | None, end: datetime | None, order_by: str, limit: int, as_csv: bool) -> None:
    """How much of own machines was held, and how much of what was free was of no use. Of all projects together.

    CARDS and CORES are what was there on average; it counts while a node was heard of. How long work waited is in `gyre queues stats`.

    Examples:
    gyre efficiency
    gyre efficiency --by node --order-by card_utilisation -n 10
    gyre efficiency --by node --from 2026-11-01 --csv > november.csv
    """
    from gyre_sdk.cli import output

    if as_csv and OPTIONS.json:
        raise click.UsageError("--csv and --json are two answers; ask for one.")
    with connect() as gyre:
        if as_csv:
            for piece in gyre.accounting.efficiency_csv(by, start, end, order_by=order_by):
                click.echo(piece, nl=False)
            return
        report = gyre.accounting.efficiency(by, start, end, order_by=order_by, limit=limit)
    if OPTIONS.json:
        output.show_item(report)
        return
    _show(report, by)


def _show(report: CapacityEfficiency, by: str) -> None:
    from gyre_sdk import names
    from gyre_sdk.cli import output

    if not report.rows:
        click.echo("Nothing is known of this period: capacity is written down from the scheduler's first start on.")
        return
    seconds = (report.end_time.ToNanoseconds() - report.start_time.ToNanoseconds()) / 1e9
    titles = [by.upper(), "CARDS", "CARD TIME HELD", "OF CARDS", "CORES", "CORE TIME HELD", "OF CORES"]
    rows = [[names.short(getattr(row, by)), *_measures(row, seconds)] for row in report.rows]
    output.show_table(titles, [*rows, ["all", *_measures(report.total, seconds)]])
    if report.total_size > len(report.rows):
        click.echo(f"{len(report.rows)} of {report.total_size}; more with --limit {report.total_size}.")
    if report.HasField("fragmentation"):
        free, stranded = (output.duration(each) for each in (report.free_card_seconds, report.stranded_card_seconds))
        click.echo(
            f"\nOf {free} of free card time {stranded} ({report.fragmentation:.1%}) lay on nodes with too few free cards"
            " for the smallest work that waited."
        )


def _measures(row: EfficiencyRow, seconds: float) -> list[str]:
    """Cards and cores as there were of them on average."""
    from gyre_sdk.cli import output

    cards, cores = row.card_capacity_seconds / seconds, row.core_capacity_seconds / seconds
    return [
        f"{cards:.3g}" if cards else "",
        output.duration(row.card_held_seconds) if cards or row.card_held_seconds else "",
        f"{row.card_utilisation:.1%}" if row.HasField("card_utilisation") else "",
        f"{cores:.3g}",
        output.duration(row.core_held_seconds),
        f"{row.core_utilisation:.1%}" if row.HasField("core_utilisation") else "–",
    ]
