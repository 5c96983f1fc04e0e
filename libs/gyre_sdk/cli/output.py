"""Tables for people, JSON for programs; sizes, times and money as one reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from google.protobuf.message import Message
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gyre_sdk import messages, names
from gyre_sdk.cli.base import OPTIONS

Column = tuple[str, Callable[[Any], str | Text]]

GOOD = {"READY", "SERVING", "SUCCEEDED", "COMPLETED", "FINISHED", "ACTIVE", "APPROVED", "PASSED", "FREE"}
BAD = {"FAILED", "DOWN", "NOT_SERVING", "UNREACHABLE", "LOST", "REJECTED", "UNSUPERVISED", "GONE", "SICK"}
MUTED = {"CANCELLED", "DELETED", "REVOKED", "EXPIRED", "STOPPED", "EXTERNAL", "SKIPPED"}
PADDING = 2  # right of each column, of the last too
UNITS = ("B", "kB", "MB", "GB", "TB")


def console() -> Console:
    """Made anew each time, because stdout may have been replaced (a pipe, a test)."""
    return Console(highlight=False, soft_wrap=False)


def show_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def show_items(plural: str, items: Sequence[Message], columns: Sequence[Column], total: int | None = None) -> None:
    """A list: a table, or `{"<plural>": […], "total_size": n}`."""
    total = len(items) if total is None else total
    if OPTIONS.json:
        show_json({plural: [messages.to_json(item) for item in items], "total_size": total})
        return
    if not items:
        click.echo(f"No {plural.replace('_', ' ')}.")
        return
    show_table([title for title, _ in columns], ([render(item) for _, render in columns] for item in items))
    if total > len(items):
        click.echo(f"{len(items)} of {total}; more with --limit {min(total, 10 * len(items))}.")


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """On a terminal columns wrap to its width, and one in which nothing stands is left out; in a pipe each row stays on
    one line."""
    out, rows = console(), list(rows)
    if out.is_terminal and rows:
        told = [at for at in range(len(titles)) if any(row[at] for row in rows)]
        titles, rows = [titles[at] for at in told], [[row[at] for at in told] for row in rows]
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, PADDING, 0, 0))
    columns = list(zip(titles, *rows, strict=True))
    widths = _widths(columns, out.width) if out.is_terminal else [None] * len(titles)
    for title, width in zip(titles, widths, strict=True):
        table.add_column(title, overflow="fold", no_wrap=not out.is_terminal, width=width)
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))  # `[email]` is no markup
    if not out.is_terminal:
        out.width = 10_000
    out.print(table)


def _widths(columns: Sequence[Sequence[str | Text]], room: int) -> Sequence[int | None]:
    """As each wants, or else the widest made narrower, down to its longest word; None where some word has to break."""
    widths = [max(cell_len(line) for cell in column for line in str(cell).splitlines() or [""]) for column in columns]
    least = [max((cell_len(word) for cell in column for word in str(cell).split()), default=0) for column in columns]
    for _ in range(sum(widths) + PADDING * len(widths) - room):
        spare = [at for at, width in enumerate(widths) if width > least[at]]
        if not spare:
            return [None] * len(columns)
        widths[max(spare, key=lambda at: widths[at])] -= 1
    return widths


def show_item(item: Message, note: str = "") -> None:
    """All that is set of one resource, one field a line; `note` says what comes next."""
    if OPTIONS.json:
        show_json(messages.to_json(item))
        return
    show_pairs(_pairs(messages.to_body(item)))
    if note:
        click.echo(f"\n{note}")


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    pairs = list(pairs)
    width = max((len(key) for key, _ in pairs), default=0)
    for key, value in pairs:
        first, *rest = value.splitlines() or [""]
        click.echo(f"{click.style(key.ljust(width), bold=True)}  {first}")
        for line in rest:
            click.echo(f"{' ' * width}  {line}")


def _pairs(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            pairs += _pairs(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            pairs.append((prefix + key, "\n".join(_one_line(item) for item in value)))
        else:
            pairs.append((prefix + key, _value(key, value)))
    return pairs


def _one_line(item: Any) -> str:
    if isinstance(item, Mapping):
        return ", ".join(f"{key} {_value(key, value)}" for key, value in item.items())
    return str(item)


def _value(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_one_line(value)})"
    if key.endswith("_bytes"):
        return size(int(value))
    if key.endswith("_microusd"):
        return money(int(value))
    if key.endswith("_time") and not value.endswith("s"):  # a duration is "30s"
        return f"{value} ({ago(_parse_time(value))})"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).removeprefix(f"{key.upper()}_")  # the prefix of an enum's values


# columns


def text(field: str) -> Callable[[Any], str]:
    return lambda item: str(getattr(item, field))


def short(field: str = "name") -> Callable[[Any], str]:
    """`hotline@3` in place of the whole name."""
    return lambda item: names.short(getattr(item, field)) if getattr(item, field) else ""


def enum(field: str) -> Callable[[Any], str]:
    return lambda item: messages.enum_name(item, field) if getattr(item, field) else ""


def state(field: str = "state") -> Callable[[Any], Text]:
    return lambda item: coloured(messages.enum_name(item, field))


def coloured(word: str) -> Text:
    colour = "green" if word in GOOD else "red" if word in BAD else "bright_black" if word in MUTED else "yellow"
    return Text(word, style=colour)


def bytes_of(field: str = "size_bytes") -> Callable[[Any], str]:
    return lambda item: size(getattr(item, field))


def age(field: str = "create_time") -> Callable[[Any], str]:
    return lambda item: ago(getattr(item, field).ToDatetime(UTC)) if item.HasField(field) else ""


def size(count: int) -> str:
    """Decimal units: 138.2 MB."""
    value = float(count)
    for unit in UNITS:
        if value < 1000 or unit == UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError(count)


def count(number: int) -> str:
    """Of parameters: `189 k`, `135 M`, `7.0 B`; empty for none."""
    if number >= 1e9:
        return f"{number / 1e9:.1f} B"
    if number >= 1e6:
        return f"{number / 1e6:.0f} M"
    return f"{number / 1e3:.0f} k" if number else ""


def money(microusd: int) -> str:
    """`$0`, `$12.50`, `$0.0031`: cents, and of less than a dollar two digits more."""
    if not microusd:
        return "$0"
    if abs(microusd) >= 1_000_000:
        return f"${microusd / 1e6:,.2f}"
    cents, more = f"{microusd / 1e6:.4f}"[:-2], f"{microusd / 1e6:.4f}"[-2:]
    return f"${cents}{more.rstrip('0')}"


def duration(seconds: float) -> str:
    """`4 s`, `2 min 05 s`, `3 h 10 min`, `2 d 4 h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def ago(time: datetime) -> str:
    return f"{duration(max(0.0, (datetime.now(UTC) - time).total_seconds()))} ago"


def _parse_time(value: str) -> datetime:
    return datetime.fromisoformat(value)
