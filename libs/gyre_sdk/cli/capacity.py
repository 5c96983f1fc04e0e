"""`gyre queues` and `gyre workloads`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing
from gyre_sdk.cli.when import When

QUEUE_COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("STATE", lambda o: o.state()),
    ("PRIORITY", lambda o: o.text("priority")),
    ("WAITING", lambda o: o.text("pending_count")),
    ("ADMITTED", lambda o: o.text("admitted_count")),
    ("USED OF QUOTA", lambda o: lambda item: "; ".join(_quota(o, quota) for quota in item.quotas)),
]
WORKLOAD_COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("KIND", lambda o: lambda item: o.messages.enum_name(item.spec, "kind")),
    ("STATE", lambda o: o.state()),
    ("WHY", lambda o: lambda item: item.waiting_reason or item.failure_reason),
    ("FOR", lambda o: lambda item: item.display_name or o.names.short(item.spec.owner or item.name)),
    ("ASKS FOR", lambda o: lambda item: resources_text(o, item.spec.requests)),
    ("ATTEMPT", lambda o: o.text("attempt")),
    ("COST", lambda o: lambda item: o.money(item.usage.cost_microusd)),
    ("ADDRESS", lambda o: o.text("address")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def queues() -> None:
    """Queues and their quotas."""


queues.add_command(listing("queues", lambda gyre: gyre.queues, QUEUE_COLUMNS, "List the queues."))
queues.add_command(showing("QUEUE", lambda gyre: gyre.queues, "queues", "Show one queue."))


@queues.command("create")
@click.argument("name")
@click.option("--priority", default=0, type=int, help="Added to that of each workload.")
@click.option("--cluster-queue", default="", help="Shared quota that it draws from.")
def create_queue(name: str, priority: int, cluster_queue: str) -> None:
    """Make a queue.

    Examples:
    gyre queues create urgent --priority 100
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.queues.create(name, priority=priority, cluster_queue=cluster_queue))


@queues.command()
@click.argument("name", shell_complete=complete("queues"))
def hold(name: str) -> None:
    """Admit nothing more from a queue; running work goes on."""
    _set_state(name, "STATE_HELD")


@queues.command()
@click.argument("name", shell_complete=complete("queues"))
def release(name: str) -> None:
    """Admit from a held queue again."""
    _set_state(name, "STATE_ACTIVE")


@queues.command("set")
@click.argument("name", shell_complete=complete("queues"))
@click.option("--priority", type=int, help="Added to that of each workload.")
@click.option("--display-name", help="What people call it.")
def set_queue(name: str, priority: int | None, display_name: str | None) -> None:
    """Change a queue.

    Examples:
    gyre queues set urgent --priority 200
    """
    from gyre_sdk.cli import output

    given = {"priority": priority, "display_name": display_name}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("Say what to change: --priority or --display-name.")
    with connect() as gyre:
        output.show_item(gyre.queues.update(name, **changes))


@queues.command("stats")
@click.option("--from", "start", type=When(), help="[default: 30 days before the end]")
@click.option("--to", "end", type=When(), help="[default: now]")
@click.option("--everywhere", is_flag=True, help="Every project that the key opens, not one.")
def queue_statistics(start: datetime | None, end: datetime | None, everywhere: bool) -> None:
    """How long workloads waited for their first admission, and how often they had to give way.

    Examples:
    gyre queues stats --from 2026-11-01
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.accounting.queue_statistics(start, end, everywhere=everywhere))
    columns: list[output.Column] = [
        ("QUEUE", output.text("queue") if everywhere else output.short("queue")),
        ("ADMITTED", output.text("admission_count")),
        ("MEAN WAIT", lambda item: output.duration(item.wait_mean_seconds)),
        ("P50", lambda item: output.duration(item.wait_p50_seconds)),
        ("P95", lambda item: output.duration(item.wait_p95_seconds)),
        ("PREEMPTED", output.text("preemption_count")),
        ("WAITING NOW", output.text("waiting_count")),
        ("FIRST FOR", lambda item: output.duration(item.head_wait_seconds) if item.waiting_count else ""),
    ]
    output.show_items("queues", found, columns)


@click.group(cls=GyreGroup)
def workloads() -> None:
    """What runs, what waits and why. A workload is named by its id or its short number."""


workloads.add_command(
    listing("workloads", lambda gyre: gyre.workloads, WORKLOAD_COLUMNS, "List the workloads, newest first.")
)
workloads.add_command(showing("WORKLOAD", lambda gyre: gyre.workloads, "workloads", "Show one workload."))


@workloads.command()
@click.argument("workload", shell_complete=complete("workloads"))
@click.option("-f", "--follow", is_flag=True, help="Stay until the attempt ends.")
@click.option("-n", "--lines", default=0, help="Only the last so many.")
@click.option("--stdout", "stream", flag_value="stdout", default=None, help="Standard output in place of the log.")
def logs(workload: str, follow: bool, lines: int, stream: str | None) -> None:
    """What a workload printed.

    Examples:
    gyre workloads logs 3 -n 50
    """
    with connect() as gyre:
        name = gyre.workloads.find(workload).name
        for piece in gyre.workloads.logs(name, stream or "stderr", lines, follow):
            click.echo(piece, nl=False)


@workloads.command()
@click.argument("workload", shell_complete=complete("workloads"))
def why(workload: str) -> None:
    """Why a workload waits, or how it ended.

    Examples:
    gyre workloads why 3
    """
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    with connect() as gyre:
        item = gyre.workloads.find(workload)
        queue = gyre.queues.get(item.spec.queue) if item.waiting_reason else None
    reason = item.waiting_reason or item.failure_reason
    if OPTIONS.json:
        state = messages.enum_name(item, "state")
        found: dict[str, Any] = {"name": item.name, "state": state, "reason": reason, "message": _sentence(item)}
        if item.queue_position:
            found["queue_position"] = item.queue_position
        if item.HasField("earliest_start_time"):
            found["earliest_start_time"] = item.earliest_start_time.ToJsonString()
        output.show_json(found)
        return
    pairs = [("state", messages.enum_name(item, "state")), ("reason", reason or "none"), ("that is", _sentence(item))]
    pairs.append(("asks for", resources_text(output, item.spec.requests)))
    if queue is not None:
        told = f"{item.spec.queue} ({messages.enum_name(queue, 'state')}): {queue.pending_count} waiting"
        pairs += [("queue", told), *((f"quota of {q.flavor}", _quota(output, q)) for q in queue.quotas)]
    output.show_pairs(pairs)


@workloads.command()
@click.argument("workload", shell_complete=complete("workloads"))
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the stop is confirmed.")
def cancel(workload: str, wait: bool) -> None:
    """Ask a workload to stop."""
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        item = gyre.workloads.cancel(gyre.workloads.find(workload).name)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                item = gyre.workloads.wait(item.name, on_update=watching, check=False)
    if OPTIONS.json:
        output.show_item(item)
    else:
        click.echo(f"#{item.number} {progress.by_state(item)}")


def _sentence(item: Any) -> str:
    return item.waiting_message or item.failure_message or "It does not wait."


def _set_state(name: str, state: str) -> None:
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.queues.update(name, state=state))


def resources_text(output: Any, resources: Any) -> str:
    cards = f", {resources.gpu} cards" if resources.gpu else ""
    return f"{resources.cpu_milli / 1000:g} cores, {output.size(resources.memory_bytes)}{cards}"


def _quota(output: Any, quota: Any) -> str:
    from gyre_sdk import names

    used, nominal = resources_text(output, quota.used), resources_text(output, quota.nominal)
    return f"{names.short(quota.flavor)}: {used} of {nominal}"
