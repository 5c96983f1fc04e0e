"""What the same traffic costs rented, by tokens, and on hardware of one's own, by the hour. Pure: figures in, figures out.

A rented engine costs what it computes; a machine of one's own costs the whole month, busy or idle. So owning is a
staircase (one machine, two, three), renting a straight line, and where they meet is what one wants to know.

Capacity is what was measured: generated tokens a second with all slots busy, on the suite's own mix of prompts and
answers. Prompts that are much longer than the suite's make it less; `utilisation` is the share of the month's seconds
that one dares to fill, for people do not ask at an even pace.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

MONTH_HOURS = 730  # a year's twelfth
MONTH_SECONDS = MONTH_HOURS * 3600
MILLION = 1e6


@dataclass(frozen=True)
class Traffic:
    """Tokens in a month."""

    input_tokens: float
    output_tokens: float


@dataclass(frozen=True)
class Rented:
    """Prices of a million tokens in millionths of a US dollar."""

    name: str
    input_price: float
    output_price: float


@dataclass(frozen=True)
class Own:
    """A machine, or a share of one: its price for an hour in millionths of a US dollar, and generated tokens a second
    with all slots busy."""

    name: str
    hour_price: float
    tokens_per_second: float


def rented_month(traffic: Traffic, rented: Rented) -> float:
    """Millionths of a US dollar."""
    return (traffic.input_tokens * rented.input_price + traffic.output_tokens * rented.output_price) / MILLION


def own_month(traffic: Traffic, own: Own, utilisation: float) -> float:
    """Millionths of a US dollar, used or not."""
    return machines(traffic, own, utilisation) * own.hour_price * MONTH_HOURS


def machines(traffic: Traffic, own: Own, utilisation: float) -> int:
    """How many it takes; one at least."""
    return max(1, ceil(traffic.output_tokens / capacity(own, utilisation)))


def capacity(own: Own, utilisation: float) -> float:
    """Generated tokens of one machine in a month."""
    return own.tokens_per_second * utilisation * MONTH_SECONDS


def break_even(traffic: Traffic, rented: Rented, own: Own, utilisation: float) -> float | None:
    """Generated tokens in a month, with as many prompt tokens to each as now, from which one machine is cheaper.

    None where it is not cheaper even when it is full: more machines of the kind are not either.
    """
    per_token = rented_month(_one_token(traffic), rented)
    found = own.hour_price * MONTH_HOURS / per_token if per_token else float("inf")
    return found if found <= capacity(own, utilisation) else None


def _one_token(traffic: Traffic) -> Traffic:
    """The mix of `traffic`, for one generated token; prompts are left out where nothing was generated."""
    return Traffic(traffic.input_tokens / traffic.output_tokens if traffic.output_tokens else 0.0, 1.0)
