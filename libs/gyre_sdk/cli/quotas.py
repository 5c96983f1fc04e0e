"""Quotas on the command line: `--quota simulated=gpu:8,cpu:64,memory:512GiB`, and what `--borrow` and `--lend` bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")
FIELDS = {"cpu": "cpu_milli", "memory": "memory_bytes", "gpu": "gpu"}
SHAPE = "FLAVOR=cpu:CORES,memory:SIZE,gpu:CARDS"
AWAY = ("LOST", "GONE")  # states of nodes that nobody can use


@dataclass(frozen=True)
class Asked:
    """Amounts of one flavor, by the names of FIELDS. None: all that its nodes have. `amounts` None: no limit."""

    text: str
    flavor: str
    amounts: Mapping[str, int | None] | None


class Amounts(click.ParamType[Asked]):
    name = SHAPE

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Asked:
        if isinstance(value, Asked):
            return value
        flavor, equals, text = value.partition("=")
        if not equals or not flavor or not text:
            self.fail(f"{value!r} is not of the form {SHAPE}, for example simulated=gpu:8,cpu:64,memory:512GiB.")
        full = flavor if flavor.startswith("flavors/") else f"flavors/{flavor}"
        is_bound = param is not None and param.name in ("borrow", "lend")
        if is_bound and text == "any":
            return Asked(value, full, None)
        amounts: dict[str, int | None] = {}
        for part in text.split(","):
            kind, _, amount = part.strip().partition(":")
            if kind not in FIELDS:
                self.fail(f"{part!r} in {value!r}: what is given is cpu, memory or gpu.")
            if kind in amounts:
                self.fail(f"{value!r} names {kind} twice.")
            try:
                amounts[kind] = None if amount == "all" else _number(kind, amount)
            except ValueError as error:
                self.fail(f"{part!r} in {value!r}: {error}")
        return Asked(value, full, amounts)


def _number(kind: str, text: str) -> int:
    """In thousandths of a core, bytes or cards. Raises: ValueError, in words."""
    found = AMOUNT.fullmatch(text)
    number, unit = (Decimal(found[1]), found[2]) if found else (Decimal(0), "")
    if kind == "memory":
        if found is None or unit not in UNITS:
            raise ValueError("a size has a unit, for example 512GiB, or is `all`.")
        return int(number * UNITS[unit])
    if found is None or unit:
        raise ValueError("it is a number, or `all`.")
    if kind == "gpu" and number % 1:
        raise ValueError("quotas count whole cards.")
    return int(number * 1000) if kind == "cpu" else int(number)


def quota_options(command: F) -> F:
    quota = click.option(
        "--quota", type=Amounts(), multiple=True,
        help="What is its own of a flavor; `all` is all that the nodes have. Once for each flavor.",
    )  # fmt: skip
    borrow = click.option(
        "--borrow", type=Amounts(), multiple=True,
        help="The most that it borrows beyond its own; FLAVOR=any: no limit.  [default: no limit]",
    )  # fmt: skip
    lend = click.option(
        "--lend", type=Amounts(), multiple=True,
        help="The most that it lends of its own; FLAVOR=any: no limit.  [default: no limit]",
    )  # fmt: skip
    return quota(borrow(lend(command)))


def capacity_of(nodes: Iterable[Any]) -> dict[str, dict[str, int]]:
    """Flavor → what its nodes have together, by the names of FIELDS."""
    from gyre_sdk import messages

    total: dict[str, dict[str, int]] = {}
    for node in nodes:
        if messages.enum_name(node, "state") not in AWAY:
            sums = total.setdefault(node.flavor, dict.fromkeys(FIELDS, 0))
            for kind, field in FIELDS.items():
                sums[kind] += getattr(node.capacity, field)
    return total


def merged(
    current: Iterable[Any], quota: Sequence[Asked], borrow: Sequence[Asked], lend: Sequence[Asked],
    without: Sequence[str], capacity: Mapping[str, Mapping[str, int]],
) -> list[Any]:  # fmt: skip
    """The FlavorQuotas of `current` with what was asked for; other flavors stay. Raises: click.UsageError."""
    from gyre.gpu_scheduler.v1.queue_pb2 import FlavorQuota

    rows: dict[str, Any] = {}
    for row in current:
        rows[row.flavor] = FlavorQuota()
        rows[row.flavor].CopyFrom(row)
        rows[row.flavor].ClearField("used")
    for flavor in without:
        full = flavor if flavor.startswith("flavors/") else f"flavors/{flavor}"
        if rows.pop(full, None) is None:
            raise click.UsageError(f"--no-quota {flavor}: there is no quota of that flavor.")
    for option, field, each in (
        *(("--quota", "nominal", each) for each in quota),
        *(("--borrow", "borrowing_limit", each) for each in borrow),
        *(("--lend", "lending_limit", each) for each in lend),
    ):
        row = rows.setdefault(each.flavor, FlavorQuota(flavor=each.flavor)) if field == "nominal" else None
        row = row or rows.get(each.flavor)
        if row is None:
            raise click.UsageError(f"{option} {each.text}: give a --quota of that flavor too.")
        row.ClearField(field)
        if each.amounts is not None:
            getattr(row, field).CopyFrom(_resources(option, each, each.amounts, capacity.get(each.flavor)))
    return list(rows.values())


def _resources(option: str, asked: Asked, amounts: Mapping[str, int | None], there: Mapping[str, int] | None) -> Any:
    """Nothing is left to be guessed: an amount that is not named would be 0, and keep all work out."""
    from gyre.gpu_scheduler.v1.node_pb2 import Resources

    if there is None:
        raise click.UsageError(
            f"{option} {asked.text}: no node has flavor {asked.flavor}; `gyre flavors list` has them."
        )
    if missing := [kind for kind, most in there.items() if most and kind not in amounts]:
        rest = ",".join(f"{kind}:all" for kind in missing)
        raise click.UsageError(
            f"{option} {asked.text} does not say how much {' and '.join(missing)}: add an amount, or {rest}."
        )
    given = {FIELDS[kind]: there[kind] if amount is None else amount for kind, amount in amounts.items()}
    try:
        return Resources(**given)
    except ValueError:
        raise click.UsageError(f"{option} {asked.text}: that is more than can be counted.") from None
