"""`gyre usage`: who held what of own machines, and what that cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, connect
from gyre_sdk.cli.when import When

if TYPE_CHECKING:
    from gyre.gpu_scheduler.v1.accounting_pb2 import CapacityUsageRow

GROUPS = ("day", "project", "user", "queue", "flavor", "kind")
DEFAULT_GROUPS = ("user", "queue", "flavor")


class Groups(click.ParamType[tuple[str, ...]]):
    """Names joined by commas."""

    name = "groups"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        groups = tuple(dict.fromkeys(each.strip() for each in str(value).split(",") if each.strip()))
        if unknown := [each for each in groups if each not in GROUPS]:
            self.fail(f"{unknown[0]!r} is no group; choose of {', '.join(GROUPS)}.", param, ctx)
        return groups


@click.command(cls=GyreCommand)
@click.option(
    "--by", "groups", type=Groups(), help=f"Any of {','.join(GROUPS)}.  [default: {','.join(DEFAULT_GROUPS)}]"
)
@click.option("--from", "start", type=When(), help="[default: 30 days before the end]")
@click.option("--to", "end", type=When(), help="[default: now]")
@click.option("--filter", "filter_", default="", help="Equality terms, for example 'kind=TRAINER'; joined by AND.")
@click.option("--order-by", default="", help="A group or a measure, for example 'card_seconds desc'.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--everywhere", is_flag=True, help="Every project that the key opens, not one.")
@click.option("--csv", "as_csv", is_flag=True, help="A file for spreadsheets: all groups, whatever the limit.")
def usage(
    groups: tuple[str, ...] | None, start: datetime | None, end: datetime | None, filter_: str, order_by: str,
    limit: int, everywhere: bool, as_csv: bool,
) -> None:  # fmt: skip
    """Who held what of own machines for how long, and what that cost.

    What is held is paid for, from admission to the confirmed end, used or not. Times without a zone are this machine's;
    days are UTC's. Tokens and requests of the OpenAI endpoint are in `gyre costs usage`.

    Examples:
    gyre usage
    gyre usage --by project,user --everywhere --from 2026-11-01
    gyre usage --by day,queue --filter kind=TRAINER --csv > november.csv
    """
    from gyre_sdk.cli import output

    if as_csv and OPTIONS.json:
        raise click.UsageError("--csv and --json are two answers; ask for one.")
    groups = groups or DEFAULT_GROUPS
    by = ",".join(groups)
    with connect() as gyre:
        if as_csv:
            for piece in gyre.accounting.csv(by, start, end, everywhere=everywhere, filter=filter_, order_by=order_by):
                click.echo(piece, nl=False)
            return
        report = gyre.accounting.usage(
            by, start, end, everywhere=everywhere, filter=filter_, order_by=order_by, limit=limit
        )
    if OPTIONS.json:
        output.show_item(report)
        return
    if not report.rows:
        click.echo("Nothing was held in this period.")
        return
    titles = [*(group.upper() for group in groups), "HELD", "CORE TIME", "CARD TIME", "ATTEMPTS", "PREEMPTED", "COST"]
    rows = [[*(_group(row, group) for group in groups), *_measures(row)] for row in report.rows]
    output.show_table(titles, [*rows, ["all", *[""] * (len(groups) - 1), *_measures(report.total)]])
    if report.total_size > len(report.rows):
        click.echo(f"{len(report.rows)} of {report.total_size}; more with --limit {report.total_size}.")


def _group(row: CapacityUsageRow, group: str) -> str:
    from gyre_sdk import messages, names

    if group == "day":
        return f"{row.day.ToDatetime(UTC):%Y-%m-%d}"
    if group == "kind":
        return messages.enum_name(row, "kind")
    value = getattr(row, group)
    return names.short(value) if value else "(unknown)"


def _measures(row: CapacityUsageRow) -> list[str]:
    from gyre_sdk.cli import output

    return [
        output.duration(row.held_seconds),
        output.duration(row.core_seconds),
        output.duration(row.card_seconds) if row.card_seconds else "",
        str(row.attempt_count),
        str(row.preemption_count or ""),
        output.money(row.cost_microusd),
    ]
