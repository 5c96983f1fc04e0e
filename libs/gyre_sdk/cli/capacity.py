"""`gyre queues` and `gyre workloads`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from gyre_sdk.cli.amounts import purpose, quota_text, resources_text
from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing
from gyre_sdk.cli.limits import Dollars
from gyre_sdk.cli.when import When

QUEUE_COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("STATE", lambda o: o.state()),
    ("CLUSTER QUEUE", lambda o: o.short("cluster_queue")),
    ("PRIORITY", lambda o: o.text("priority")),
    ("WAITING", lambda o: o.text("pending_count")),
    ("ADMITTED", lambda o: o.text("admitted_count")),
    ("BUDGET", lambda o: lambda item: _budget(o, item)),
    ("USED OF QUOTA", lambda o: lambda item: "; ".join(quota_text(o, quota) for quota in item.quotas)),
]
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
FOR_NOBODY = ("NODE_DRAINED", "CARD_FAILED", "BETTER_CARD")  # rules by which nobody gained
LONGEST_PERIOD = timedelta(days=399)  # the server takes 400
HOLDING = ("ADMITTED", "STARTING", "RUNNING")
WORKLOAD_COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("KIND", lambda o: lambda item: o.messages.enum_name(item.spec, "kind")),
    ("STATE", lambda o: o.state()),
    ("WHY", lambda o: lambda item: item.waiting_reason or item.failure_reason),
    ("FOR", lambda o: lambda item: purpose(item)),
    ("ASKS FOR", lambda o: lambda item: resources_text(o, item.spec.requests)),
    ("ATTEMPT", lambda o: o.text("attempt")),
    ("GAVE WAY", lambda o: lambda item: str(item.preemptions or "")),
    ("COST", lambda o: lambda item: o.money(item.usage.cost_microusd)),
    ("ADDRESS", lambda o: o.text("address")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def queues() -> None:
    """A project's queues: its doors to cluster queues, which have the quotas."""


queues.add_command(listing("queues", lambda gyre: gyre.queues, QUEUE_COLUMNS, "List the queues."))
queues.add_command(showing("QUEUE", lambda gyre: gyre.queues, "queues", "Show one queue."))


@queues.command("create")
@click.argument("name")
@click.option("--priority", default=0, type=int, help="Added to that of each workload.")
@click.option("--cluster-queue", default="", help="Whose quotas it draws from.  [default: default]")
def create_queue(name: str, priority: int, cluster_queue: str) -> None:
    """Make a queue.

    Examples:
    gyre queues create urgent --priority 100
    gyre queues create training --cluster-queue vision
    """
    from gyre_sdk.cli import output

    if cluster_queue and "/" not in cluster_queue:
        cluster_queue = f"clusterQueues/{cluster_queue}"
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
@click.option("--budget", type=Dollars(), help="US dollars that its work may cost in one period; 0: no limit.")
@click.option("--budget-per", type=click.Choice(["DAY", "MONTH"], case_sensitive=False), help="Of UTC.")
def set_queue(
    name: str, priority: int | None, display_name: str | None, budget: int | None, budget_per: str | None
) -> None:
    """Change a queue. When its budget is used up nothing more is admitted; what runs goes on.

    Examples:
    gyre queues set urgent --priority 200
    gyre queues set cards --budget 500 --budget-per month
    """
    from gyre_sdk.cli import output

    given = {
        "priority": priority,
        "display_name": display_name,
        "budget_microusd": budget,
        "budget_period": budget_per and f"BUDGET_PERIOD_{budget_per}",
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("Say what to change: --priority, --display-name or --budget.")
    with connect() as gyre:
        output.show_item(gyre.queues.update(name, **changes))


@queues.command("delete")
@click.argument("name", shell_complete=complete("queues"))
@YES
def delete_queue(name: str, yes: bool) -> None:
    """Delete a queue in which nothing waits and of which nothing runs. The default queue stays."""
    with connect() as gyre:
        there = gyre.queues.get(name)
        if not yes:
            click.confirm(f"Delete queue {name}?", abort=True, err=True)
        gyre.queues.delete(there.name, there.etag)
    click.echo(f"{name} is deleted", err=OPTIONS.json)


@queues.command("stats")
@click.option("--from", "start", type=When(), help="[default: 30 days before the end]")
@click.option("--to", "end", type=When(), help="[default: now]")
@click.option("--everywhere", is_flag=True, help="Every project that the key opens, not one.")
@click.option("--csv", "as_csv", is_flag=True, help="A file for spreadsheets.")
def queue_statistics(start: datetime | None, end: datetime | None, everywhere: bool, as_csv: bool) -> None:
    """How long workloads waited for their first admission, and how often they had to give way.

    Examples:
    gyre queues stats --from 2026-11-01
    gyre queues stats --everywhere --csv > waits.csv
    """
    from gyre_sdk.cli import output

    if as_csv and OPTIONS.json:
        raise click.UsageError("--csv and --json are two answers; ask for one.")
    with connect() as gyre:
        if as_csv:
            for piece in gyre.accounting.queue_statistics_csv(start, end, everywhere=everywhere):
                click.echo(piece, nl=False)
            return
        found = list(gyre.accounting.queue_statistics(start, end, everywhere=everywhere))
    columns: list[output.Column] = [
        ("QUEUE", output.text("queue") if everywhere else output.short("queue")),
        ("ADMITTED", output.text("admission_count")),
        ("MEAN WAIT", lambda item: output.duration(item.wait_mean_seconds)),
        ("P50", lambda item: output.duration(item.wait_p50_seconds)),
        ("P95", lambda item: output.duration(item.wait_p95_seconds)),
        ("P99", lambda item: output.duration(item.wait_p99_seconds)),
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
        item = gyre.workloads.get(gyre.workloads.find(workload).name)  # a list says less
        queue = gyre.queues.get(item.spec.queue) if item.waiting_reason else None
    reason = item.waiting_reason or item.failure_reason
    if OPTIONS.json:
        output.show_json(_why_json(item, reason))
        return
    pairs = [("state", messages.enum_name(item, "state")), ("reason", reason or "none"), ("that is", _sentence(item))]
    pairs += _prospects(output, item)
    pairs.append(("asks for", resources_text(output, item.spec.requests)))
    if queue is not None:
        told = f"{item.spec.queue} ({messages.enum_name(queue, 'state')}): {queue.pending_count} waiting"
        pairs += [("queue", told), *((f"quota of {q.flavor}", quota_text(output, q)) for q in queue.quotas)]
    output.show_pairs(pairs)


@workloads.command("hold")
@click.argument("workload", shell_complete=complete("workloads"))
@YES
def hold_workload(workload: str, yes: bool) -> None:
    """Take a workload out of its queue until it is released. One that runs is asked to stop, trainers after a checkpoint.

    Examples:
    gyre workloads hold 3
    """
    from gyre_sdk import messages

    with connect() as gyre:
        item = gyre.workloads.find(workload)
        state = messages.enum_name(item, "state")
        if state in HOLDING and not yes:
            click.confirm(f"Hold #{item.number}? It is {state}: it stops, and waits held.", abort=True, err=True)
        _say(gyre.workloads.hold(item.name), "held")


@workloads.command("release")
@click.argument("workload", shell_complete=complete("workloads"))
def release_workload(workload: str) -> None:
    """Have a held workload considered again."""
    with connect() as gyre:
        _say(gyre.workloads.release(gyre.workloads.find(workload).name), "released")


@workloads.command()
@click.argument("workload", shell_complete=complete("workloads"))
def attempts(workload: str) -> None:
    """When a workload was admitted, where it ran, and how each attempt ended.

    Examples:
    gyre workloads attempts 3
    """
    from datetime import UTC

    from gyre_sdk.cli import output

    with connect() as gyre:
        item = gyre.workloads.find(workload)
        begin = max(item.create_time.ToDatetime(UTC), datetime.now(UTC) - LONGEST_PERIOD)
        rows = list(gyre.accounting.attempts(begin, datetime.now(UTC), filter=f"workload={item.name}"))
    columns: list[output.Column] = [
        ("#", output.text("number")),
        ("ADMITTED", _time("admit_time")),
        ("STARTED", _time("launch_time")),
        ("ENDED", _time("end_time")),
        ("NODE", output.short("node")),
        ("FLAVOR", output.short("flavor")),
        ("HELD", lambda row: resources_text(output, row.resources)),
        ("HOW IT ENDED", _ending),
        ("COST", lambda row: output.money(row.cost_microusd)),
    ]
    output.show_items("attempts", rows, columns)


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
        click.echo(progress.by_state(item))


def _why_json(item: Any, reason: str) -> dict[str, Any]:
    from gyre_sdk import messages

    found: dict[str, Any] = {"name": item.name, "state": messages.enum_name(item, "state"), "reason": reason}
    found |= {"message": _sentence(item), "held": item.held}
    if item.queue_position:
        found["queue_position"] = item.queue_position
    if item.HasField("earliest_start_time"):
        found["earliest_start_time"] = item.earliest_start_time.ToJsonString()
        found["earliest_start_estimated"] = item.earliest_start_estimated
    if item.preemptions:
        found["preemptions"] = item.preemptions
        found |= {"preemption_rule": item.preemption_rule, "preempted_for": item.preempted_for}
    return found


def _prospects(output: Any, item: Any) -> list[tuple[str, str]]:
    """Its place, when it may start, and for whom it had to go the last time; what is not known is left out."""
    from datetime import UTC

    pairs = []
    if item.queue_position:
        pairs.append(("position", str(item.queue_position)))
    if item.HasField("earliest_start_time"):
        estimated = ", by estimate" if item.earliest_start_estimated else ""
        pairs.append(("earliest start", f"{item.earliest_start_time.ToDatetime(UTC):%Y-%m-%d %H:%M:%S} UTC{estimated}"))
    if item.preemptions:
        times = f"{item.preemptions} time{'' if item.preemptions == 1 else 's'}"
        last = f", the last time {_gave_way(item.preemption_rule, item.preempted_for)}" if item.preemption_rule else ""
        pairs.append(("gave way", times + last))
    return pairs


def _gave_way(rule: str, gainer: str) -> str:
    gains = "" if rule in FOR_NOBODY else f"for {gainer or 'work of another project'}, "
    return f"{gains}by rule {rule}"


def _ending(attempt: Any) -> str:
    if not attempt.HasField("end_time"):
        return "goes on"
    code = f"exit code {attempt.exit_code}" if attempt.HasField("exit_code") else "no exit code"
    if attempt.preempted:
        why = f" {_gave_way(attempt.end_reason, attempt.preempted_for)}" if attempt.end_reason else ""
        return f"gave way{why}; {code}"
    return "lost with its node" if attempt.end_reason == "NODE_LOST" else code


def _time(field: str) -> Any:
    from datetime import UTC

    def render(row: Any) -> str:
        return f"{getattr(row, field).ToDatetime(UTC):%Y-%m-%d %H:%M:%S} UTC" if row.HasField(field) else ""

    return render


def _say(item: Any, done: str) -> None:
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    if OPTIONS.json:
        output.show_item(item)
    else:
        click.echo(f"#{item.number} {messages.enum_name(item, 'state')}, {done}")


def _sentence(item: Any) -> str:
    return item.waiting_message or item.failure_message or "It does not wait."


def _budget(output: Any, item: Any) -> str:
    if not item.budget_microusd:
        return ""
    period = "day" if output.messages.enum_name(item, "budget_period") == "DAY" else "month"
    return f"{output.money(item.spent_microusd)} of {output.money(item.budget_microusd)} a {period}"


def _set_state(name: str, state: str) -> None:
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.queues.update(name, state=state))
