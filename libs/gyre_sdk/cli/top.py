"""`gyre top`: nodes, cards, queues and workloads as they are now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.amounts import purpose
from gyre_sdk.cli.base import OPTIONS, GyreCommand, connect

if TYPE_CHECKING:
    from gyre.gpu_scheduler.v1.node_pb2 import Node
    from gyre.gpu_scheduler.v1.queue_pb2 import Queue
    from gyre.gpu_scheduler.v1.workload_pb2 import Workload
    from rich.console import RenderableType

    from gyre_sdk.client import Gyre

LIVING = ("RUNNING", "STARTING", "ADMITTED", "STOPPING", "QUEUED")
MOST_WORKLOADS = 20
BAR = 12  # characters


@dataclass(frozen=True)
class Now:
    """What was read at `time`; `total` living workloads of which `workloads` are shown."""

    time: datetime
    nodes: list[Node]
    queues: list[Queue]
    workloads: list[Workload]
    total: int


@click.command(cls=GyreCommand)
@click.option("--interval", default=2.0, show_default=True, type=click.FloatRange(0.5, 60), help="Seconds.")
@click.option("--once", is_flag=True, help="Show it once and end; so it is in a pipe, and with --json.")
@click.option(
    "-n", "--limit", default=MOST_WORKLOADS, show_default=True, type=click.IntRange(1, 500), help="Workloads."
)
def top(interval: float, once: bool, limit: int) -> None:
    """Nodes, cards, queues and workloads as they are now. Ctrl-C ends it.

    Nodes and cards are those of all projects; queues and workloads are the project's.

    Examples:
    gyre top
    gyre top --once --json
    """
    from rich.live import Live

    from gyre_sdk.cli import output

    out = output.console()
    with connect() as gyre:
        if OPTIONS.json:
            output.show_json(_as_json(read(gyre, limit)))
        elif once or not out.is_terminal:
            if not out.is_terminal:
                out.width = 10_000  # each row on one line, as in every list
            out.print(shown(read(gyre, limit)))
        else:
            with Live(shown(read(gyre, limit)), console=out, screen=True, auto_refresh=False) as live:
                try:
                    while True:
                        time.sleep(interval)
                        live.update(shown(read(gyre, limit)), refresh=True)
                except KeyboardInterrupt:
                    return


def read(gyre: Gyre, limit: int) -> Now:
    """What lives comes first, what waits after it, each in the order of its creation."""
    found: list[Workload] = []
    total = 0
    for state in LIVING:
        page = gyre.workloads.page(page_size=limit, filter=f"state={state}", order_by="create_time")
        found += page.items
        total += page.total_size
    return Now(datetime.now(UTC), list(gyre.nodes.list()), list(gyre.queues.list()), found[:limit], total)


def shown(now: Now) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    head = Text(f"{now.time.astimezone():%Y-%m-%d %H:%M:%S %Z}", style="bold")
    cards = [card for node in now.nodes for card in node.cards]
    free = sum(card.state == card.STATE_FREE for card in cards)
    simulated = sum(card.simulated for card in cards)
    note = f" ({simulated} simulated, {free} free)" if simulated else f" ({free} free)"
    head.append(f"   nodes {len(now.nodes)}, cards {len(cards)}{note}, workloads {now.total}", style="")
    more = now.total - len(now.workloads)
    tail = [Text(f"and {more} more workloads", style="bright_black")] if more > 0 else []
    return Group(head, Text(), _nodes(now), Text(), _queues(now), Text(), _workloads(now), *tail)


def _nodes(now: Now) -> RenderableType:
    from gyre_sdk import messages, names
    from gyre_sdk.cli import output

    table = _table("NODE", "STATE", "CORES", "", "CPU", "MEMORY", "CARDS")
    for node in now.nodes:
        held, has = node.allocated.cpu_milli, node.capacity.cpu_milli
        table.add_row(
            names.short(node.name) + (" (simulated)" if node.simulated else ""),
            output.coloured(messages.enum_name(node, "state")),
            f"{held / 1000:g}/{has / 1000:g}",
            _bar(held, has),
            f"{node.cpu_percent:.0f} %",
            f"{output.size(node.memory_used_bytes)}/{output.size(node.capacity.memory_bytes)}",
            _tiles(node),
        )
    return table


def _queues(now: Now) -> RenderableType:
    from gyre_sdk import messages, names
    from gyre_sdk.cli import output

    table = _table("QUEUE", "STATE", "PRIORITY", "WAITING", "HOLDING")
    for queue in now.queues:
        counts = (str(queue.priority), str(queue.pending_count), str(queue.admitted_count))
        table.add_row(names.short(queue.name), output.coloured(messages.enum_name(queue, "state")), *counts)
    return table


def _workloads(now: Now) -> RenderableType:
    from gyre_sdk import messages, names
    from gyre_sdk.cli import output

    table = _table(
        "#", "KIND", "STATE", "FOR", "NODE", "CORES", "CARDS", "SINCE", "COST", "WHY", cut=("FOR", "NODE", "WHY")
    )
    for item in now.workloads:
        state = messages.enum_name(item, "state")
        since = item.admit_time if item.node and item.waiting_reason == "" else item.create_time
        table.add_row(
            str(item.number),
            messages.enum_name(item.spec, "kind"),
            output.coloured(state),
            _cut(purpose(item)),
            _cut(names.short(item.node) if state != "QUEUED" and item.node else ""),
            f"{item.spec.requests.cpu_milli / 1000:g}",
            str(item.spec.requests.gpu or ""),
            output.duration(max(0.0, (now.time - since.ToDatetime(UTC)).total_seconds())),
            output.money(item.usage.cost_microusd),
            _cut(item.waiting_reason),
        )
    return table


def _table(*titles: str, cut: Sequence[str] = ()) -> Any:
    """Each row on one line: on a narrow terminal the columns of `cut` are shortened, and no other as long as that helps."""
    from rich.table import Column, Table

    kept = {title: len(title) if title in cut else None for title in titles}
    columns = [Column(title, no_wrap=title not in cut, overflow="ellipsis", min_width=kept[title]) for title in titles]
    return Table(*columns, box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))


def _cut(text: str) -> Any:
    """As it was written, for `[email]` is no markup; shortened where it has no room."""
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


def _bar(used: float, of: float) -> Any:
    from rich.text import Text

    full = round(BAR * min(used / of, 1)) if of else 0
    return Text("█" * full + "░" * (BAR - full), style="yellow" if full == BAR else "green")


def _tiles(node: Node) -> Any:
    """One character a card: ■ held, □ free, ◪ on its way to free, ✕ lost, ! sick."""
    from rich.text import Text

    signs = {1: ("□", "green"), 2: ("■", "yellow"), 3: ("◪", "yellow"), 4: ("✕", "red"), 5: ("!", "red")}
    text = Text()
    for card in node.cards:
        sign, style = signs.get(card.state, ("?", "red"))
        text.append(sign, style=style)
    if any(card.simulated for card in node.cards):
        text.append(" simulated", style="bright_black")
    return text


def _as_json(now: Now) -> dict[str, Any]:
    from gyre_sdk import messages

    return {
        "time": now.time.isoformat(),
        "nodes": [messages.to_json(item) for item in now.nodes],
        "queues": [messages.to_json(item) for item in now.queues],
        "workloads": [messages.to_json(item) for item in now.workloads],
        "total_workloads": now.total,
    }
