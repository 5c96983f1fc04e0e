"""`gyre costs`: usage, own machines, and whether to rent or own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, connect
from gyre_sdk.cli.limits import Dollars
from gyre_sdk.cli.when import When

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.usage_pb2 import UsageRow

GROUPS = ("day", "key", "deployment", "model")


@click.group(cls=GyreGroup)
def costs() -> None:
    """What was used and what it cost."""


@costs.command()
@click.option(
    "--by", "groups", multiple=True, type=click.Choice(GROUPS), help="Repeat it to split further.  [default: model]"
)
@click.option("--from", "start", type=When(), help="[default: 30 days before the end]")
@click.option("--to", "end", type=When(), help="[default: now]")
def usage(groups: tuple[str, ...], start: datetime | None, end: datetime | None) -> None:
    """Requests, tokens and money of the OpenAI endpoint. Some seconds behind.

    Examples:
    gyre costs usage
    gyre costs usage --by day --by key --from 2026-11-01
    gyre costs usage --by day --by key --by deployment --by model --json
    """
    from gyre_sdk.cli import output

    groups = groups or ("model",)
    with connect() as gyre:
        report = gyre.costs.usage(",".join(groups), start, end)
    if OPTIONS.json:
        output.show_item(report)
        return
    if not report.rows:
        click.echo("Nothing was asked in this period.")
        return
    titles = [*(group.upper() for group in groups), "REQUESTS", "TOKENS IN", "TOKENS OUT", "COST"]
    rows = [[*(_group(row, group) for group in groups), *_numbers(row)] for row in report.rows]
    output.show_table(titles, [*rows, ["all", *[""] * (len(groups) - 1), *_numbers(report.total)]])


@costs.command()
@click.option("--from", "start", type=When(), help="[default: 30 days before the end]")
@click.option("--to", "end", type=When(), help="[default: now]")
def machines(start: datetime | None, end: datetime | None) -> None:
    """What replicas, trainers and jobs held of own machines, and what that cost, by day.

    Examples:
    gyre costs machines --from 2026-11-01
    """
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    with connect() as gyre:
        report = gyre.costs.machines(start, end)
    if OPTIONS.json:
        output.show_item(report)
        return
    if not report.rows:
        click.echo("Nothing was held in this period.")
        return
    output.show_table(
        ["DAY", "KIND", "HELD", "CARDS", "COST"],
        [
            [
                f"{row.day.ToDatetime():%Y-%m-%d}",
                messages.enum_name(row, "kind"),
                output.duration(row.held_seconds),
                output.duration(row.gpu_seconds) if row.gpu_seconds else "",
                output.money(row.cost_microusd),
            ]
            for row in report.rows
        ],
    )


@costs.command("rent-or-own")
@click.option("--days", default=30, show_default=True, type=click.IntRange(1, 400), help="Traffic to go by.")
@click.option("--utilisation", default=50.0, show_default=True, type=click.FloatRange(1, 100), help="Per cent.")
@click.option("--tokens-in", type=click.FloatRange(0), help="A month, in place of the traffic there was.")
@click.option("--tokens-out", type=click.FloatRange(0), help="Likewise, of answers.")
@click.option("--price-in", type=Dollars(), help="US dollars for a million tokens of prompts, rented.")
@click.option("--price-out", type=Dollars(), help="Likewise, of answers.")
@click.option("--hour-price", type=Dollars(), help="US dollars for an hour of a machine of your own.")
@click.option("--tokens-per-second", type=click.FloatRange(0, min_open=True), help="That it generates when full.")
def rent_or_own(
    days: int, utilisation: float, tokens_in: float | None, tokens_out: float | None, price_in: int | None,
    price_out: int | None, hour_price: int | None, tokens_per_second: float | None,
) -> None:  # fmt: skip
    """What a month of this traffic costs rented and on own machines, and where the two meet.

    Prices of rented engines are those that you type, or that attached engines were given. Speeds of own machines are
    those that comparisons measured (`gyre models compare`), or that you type.

    Examples:
    gyre costs rent-or-own --price-in 0.15 --price-out 0.60
    gyre costs rent-or-own --tokens-in 2e9 --tokens-out 5e8 --price-in 0.15 --price-out 0.60 --hour-price 2.50 --tokens-per-second 2400
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.costs.rent_or_own(
            days=days,
            utilisation=utilisation / 100,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            input_price_microusd=price_in,
            output_price_microusd=price_out,
            hour_price_microusd=hour_price,
            tokens_per_second=tokens_per_second,
        )
    if OPTIONS.json:
        output.show_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from gyre_sdk.cli import output

    source = "as typed" if found["typed_traffic"] else f"by the last {found['days']} days"
    click.echo(f"A month: {found['input_tokens']:,.0f} tokens in, {found['output_tokens']:,.0f} out ({source}).\n")
    rows = [["rent", each["name"], "", output.money(each["month_microusd"]), ""] for each in found["rented"]]
    for own in found["owned"]:
        meets = [f"{each['rented']}: {_meeting(each['output_tokens'])}" for each in own["break_even"]]
        rows.append(["own", own["name"], str(own["machines"]), output.money(own["month_microusd"]), "\n".join(meets)])
    if rows:
        output.show_table(["", "WHAT", "MACHINES", "A MONTH", "CHEAPER FROM (TOKENS OUT)"], rows)
    if not found["rented"]:
        click.echo("No price of a rented engine is known: give --price-in and --price-out.")
    if not found["owned"]:
        click.echo("No own machine was measured: `gyre models compare`, or give --hour-price and --tokens-per-second.")


def _meeting(output_tokens: float | None) -> str:
    return "never" if output_tokens is None else f"{output_tokens:,.0f}"


def _group(row: UsageRow, group: str) -> str:
    from gyre_sdk import names

    if group == "day":
        return f"{row.day.ToDatetime():%Y-%m-%d}"
    if group == "model":
        return names.short(row.model_version) if row.model_version else f"{row.upstream_model} (attached)"
    return (row.api_key if group == "key" else row.deployment).rsplit("/", 1)[-1]


def _numbers(row: UsageRow) -> list[str]:
    from gyre_sdk.cli import output

    tokens = f"{row.prompt_tokens:,}", f"{row.completion_tokens:,}"
    return [f"{row.request_count:,}", *tokens, output.money(row.cost_microusd)]
