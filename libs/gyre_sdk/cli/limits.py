"""Limits and budgets on the command line: the same options for keys and for projects."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gyre.api_gateway.v1.limits_pb2 import Limits

PERIODS = ["DAY", "MONTH", "TOTAL"]
MICRO = 1_000_000


class Dollars(click.ParamType[int]):
    """US dollars, to the millionth; the value is in microdollars."""

    name = "dollars"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            amount = Decimal(str(value).removeprefix("$")) * MICRO
        except InvalidOperation:
            self.fail(f"{value!r} is no amount; write 20 or 0.05.", param, ctx)
        if amount < 0 or amount != int(amount):
            self.fail(f"{value!r} is not a positive amount in millionths of a dollar.", param, ctx)
        return int(amount)


OPTIONS = [
    click.option("--per-minute", type=click.IntRange(0), help="Requests a minute to the OpenAI endpoint; 0: no limit."),
    click.option("--tokens-per-minute", type=click.IntRange(0), help="Tokens of prompts and answers; 0: no limit."),
    click.option("--concurrent", type=click.IntRange(0), help="Requests that run at once; 0: no limit."),
    click.option("--budget-usd", type=Dollars(), help="US dollars in one period; 0: no limit."),
    click.option("--budget-tokens", type=click.IntRange(0), help="Tokens in one period; 0: no limit."),
    click.option(
        "--budget-per", type=click.Choice(PERIODS, case_sensitive=False), help="Period of the budget.  [default: MONTH]"
    ),
]
FIELDS = {
    "tokens_per_minute": "tokens_per_minute",
    "concurrent": "concurrent_requests",
    "budget_usd": "budget_microusd",
    "budget_tokens": "budget_tokens",
}


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `command` all of them; those that were not given are None."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def limits_of(given: dict[str, Any], present: Limits | None = None) -> Limits | None:
    """`present` with what was `given`, or None where nothing was: limits are replaced as a whole."""
    from gyre.api_gateway.v1.limits_pb2 import Limits

    from gyre_sdk import messages

    changed = {field: given[option] for option, field in FIELDS.items() if given[option] is not None}
    if given["budget_per"] is not None:
        changed["budget_period"] = messages.enum_value(Limits, "budget_period", given["budget_per"])
    if not changed:
        return None
    limits = Limits()
    if present is not None:
        limits.CopyFrom(present)
    for field, value in changed.items():
        setattr(limits, field, value)
    return limits


def said(item: Any) -> str:
    """`$20 a month, 60,000 tokens/min` of a key or a project."""
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    limits = item.limits
    per = {"DAY": " a day", "TOTAL": " in all"}.get(messages.enum_name(limits, "budget_period"), " a month")
    parts = [
        output.money(limits.budget_microusd) + per if limits.budget_microusd else "",
        f"{limits.budget_tokens:,} tokens{per}" if limits.budget_tokens else "",
        f"{item.requests_per_minute:,}/min" if item.requests_per_minute else "",
        f"{limits.tokens_per_minute:,} tokens/min" if limits.tokens_per_minute else "",
        f"{limits.concurrent_requests:,} at once" if limits.concurrent_requests else "",
    ]
    return ", ".join(part for part in parts if part) or "no limit"
