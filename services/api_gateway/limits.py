"""What keys and projects may use: checked here, enforced by inference_gateway."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gyre.api_gateway.v1 import limits_pb2
from gyre_kit.errors import Invalid
from gyre_kit.render import enum_name, enum_number

MOST_MICROUSD = 10**12  # a million dollars
MOST_TOKENS = 10**15
MOST_PER_MINUTE = 10**9


class BadLimits(Invalid):
    """Limits are 0 (none) or positive: at most 1,000,000,000 a minute, 10^15 tokens and 1,000,000 dollars a period."""


class ExpiredAlready(Invalid):
    """The time at which a key expires lies in the future."""


def checked(given: limits_pb2.Limits, requests_per_minute: int) -> dict[str, Any]:
    """As it is stored; nothing for what is not limited. Raises: BadLimits, naming the field."""
    bounds = {
        "tokens_per_minute": MOST_PER_MINUTE,
        "concurrent_requests": MOST_PER_MINUTE,
        "budget_tokens": MOST_TOKENS,
        "budget_microusd": MOST_MICROUSD,
    }
    if not 0 <= requests_per_minute <= MOST_PER_MINUTE:
        raise BadLimits(field="requests_per_minute")
    for name, most in bounds.items():
        if not 0 <= getattr(given, name) <= most:
            raise BadLimits(field=f"limits.{name}")
    stored: dict[str, Any] = {name: getattr(given, name) for name in bounds if getattr(given, name)}
    return stored | {"budget_period": enum_name(given, "budget_period") or "MONTH"}


def check_expiry(expires: datetime | None, now: datetime) -> None:
    """Raises: ExpiredAlready."""
    if is_over(expires, now):
        raise ExpiredAlready(field="expire_time")


def is_over(expires: datetime | None, now: datetime) -> bool:
    return expires is not None and expires <= now


def as_message(stored: dict[str, Any]) -> limits_pb2.Limits:
    """As events carry it: complete, whatever is stored."""
    period = enum_number(limits_pb2.BudgetPeriod.DESCRIPTOR, stored.get("budget_period", "MONTH"))
    return limits_pb2.Limits(**(stored | {"budget_period": period}))
