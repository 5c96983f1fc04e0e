"""`gyre cluster-queues` and `gyre cohorts`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from gyre_sdk.cli.amounts import quota_text
from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing
from gyre_sdk.cli.quotas import Asked, capacity_of, merged, quota_options

F = TypeVar("F", bound=Callable[..., Any])
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
WEIGHT = click.option("--weight", type=click.FloatRange(min=0), help="Of its share where it is shared fairly.")
NO_QUOTA = click.option(
    "--no-quota", "without", multiple=True, metavar="FLAVOR", help="Take the quota of a flavor away."
)
WITHIN = {"never": "NEVER", "lower-priority": "LOWER_PRIORITY", "lower-or-newer": "LOWER_OR_NEWER_EQUAL_PRIORITY"}
ACROSS = {"never": "NEVER", "lower-priority": "LOWER_PRIORITY", "any": "ANY"}

CLUSTER_QUEUE_COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("COHORT", lambda o: o.short("cohort")),
    ("USED OF QUOTA", lambda o: lambda item: _quotas(o, item)),
    ("WEIGHT", lambda o: lambda item: f"{item.weight:g}"),
    ("SHARE", lambda o: lambda item: f"{item.share:.3g}"),
    ("QUEUES", lambda o: o.text("queue_count")),
    ("WAITING", lambda o: o.text("pending_count")),
    ("ADMITTED", lambda o: o.text("admitted_count")),
    ("ORDER", lambda o: lambda item: o.messages.enum_name(item, "strategy")),
]
COHORT_COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("IN", lambda o: o.short("parent")),
    ("MEMBERS", lambda o: o.text("member_count")),
    ("WEIGHT", lambda o: lambda item: f"{item.weight:g}"),
    ("USED OF ITS OWN", lambda o: lambda item: _quotas(o, item)),
]


def queue_options(command: F) -> F:
    """What `create` and `set` of a cluster queue have alike."""
    for option in (
        click.option(
            "--for",
            "projects",
            multiple=True,
            metavar="PROJECT",
            help="Whose queues may point to it; repeat it; '' is every project's.",
        ),
        click.option(
            "--max-priority",
            type=int,
            metavar="NUMBER",
            help="Highest of a queue and its work together.",
        ),
        click.option("--no-max-priority", is_flag=True, help="Take that bound away."),
        click.option(
            "--borrow-max-priority", type=int, help="Highest priority of those whom it displaces while it borrows."
        ),
        click.option(
            "--borrow-within-cohort", type=click.Choice(list(ACROSS)), help="Whom, also while it borrows itself."
        ),
        click.option("--reclaim", type=click.Choice(list(ACROSS)), help="Whom it displaces to take back what it lent."),
        click.option("--within-queue", type=click.Choice(list(WITHIN)), help="Whom of its own it displaces."),
        click.option("--strict/--best-effort", default=None, help="Whether others may pass who does not fit."),
        WEIGHT,
        quota_options,
        click.option(
            "--cohort", help="With whom it lends and borrows; '' is nobody.", shell_complete=complete("cohorts")
        ),
    ):
        command = option(command)
    return command


@click.group(cls=GyreGroup)
def cluster_queues() -> None:
    """Quotas that the queues of projects share. Changing them takes a key of the whole platform."""


cluster_queues.add_command(
    listing("cluster_queues", lambda gyre: gyre.cluster_queues, CLUSTER_QUEUE_COLUMNS, "List the cluster queues.")
)
cluster_queues.add_command(
    showing("CLUSTER-QUEUE", lambda gyre: gyre.cluster_queues, "cluster_queues", "Show one cluster queue.")
)


@cluster_queues.command("create")
@click.argument("name")
@queue_options
def create_queue(
    name: str, quota: tuple[Asked, ...], borrow: tuple[Asked, ...], lend: tuple[Asked, ...], **given: Any
) -> None:
    """Make a cluster queue; without a quota it may use all that the nodes have.

    Examples:
    gyre cluster-queues create vision --cohort labs --quota simulated=gpu:2,cpu:1,memory:2GiB
    gyre cluster-queues create nightly --cohort labs --quota simulated=gpu:0,cpu:0,memory:0B --weight 0
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        rows = merged((), quota, borrow, lend, (), _capacity(gyre, quota, borrow, lend))
        output.show_item(gyre.cluster_queues.create(name, quotas=rows, **_queue_fields(**given)))


@cluster_queues.command("set")
@click.argument("name", shell_complete=complete("cluster_queues"))
@queue_options
@NO_QUOTA
def set_queue(
    name: str, quota: tuple[Asked, ...], borrow: tuple[Asked, ...], lend: tuple[Asked, ...], without: tuple[str, ...],
    **given: Any,
) -> None:  # fmt: skip
    """Change a cluster queue. Quotas of flavors that are not named stay; lowered below what is used, they stop nobody.

    Examples:
    gyre cluster-queues set vision --quota simulated=gpu:3,cpu:1,memory:2GiB --lend simulated=gpu:1,cpu:all,memory:all
    gyre cluster-queues set vision --borrow simulated=any --reclaim lower-priority
    """
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    changes = _queue_fields(**given)
    with connect() as gyre:
        now = gyre.cluster_queues.get(name)
        if "preemption" in changes:
            changes["preemption"] = messages.to_body(now.preemption) | changes["preemption"]
        if quota or borrow or lend or without:
            rows = merged(now.quotas, quota, borrow, lend, without, _capacity(gyre, quota, borrow, lend))
            changes["quotas"] = [messages.to_body(row) for row in rows]
        if not changes:
            raise click.UsageError("Say what to change, for example --weight or --quota.")
        output.show_item(gyre.cluster_queues.update(now.name, etag=now.etag, **changes))


@cluster_queues.command("delete")
@click.argument("name", shell_complete=complete("cluster_queues"))
@YES
def delete_queue(name: str, yes: bool) -> None:
    """Delete a cluster queue that no queue of a project points to."""
    with connect() as gyre:
        there = gyre.cluster_queues.get(name)
        if not yes:
            click.confirm(f"Delete cluster queue {name}? Its quotas are free for nobody.", abort=True, err=True)
        gyre.cluster_queues.delete(there.name, there.etag)
    click.echo(f"{name} is deleted", err=OPTIONS.json)


@click.group(cls=GyreGroup)
def cohorts() -> None:
    """Cluster queues that lend to one another what they do not use. Changing them takes a key of the whole platform."""


cohorts.add_command(listing("cohorts", lambda gyre: gyre.cohorts, COHORT_COLUMNS, "List the cohorts."))
cohorts.add_command(showing("COHORT", lambda gyre: gyre.cohorts, "cohorts", "Show one cohort."))


@cohorts.command("create")
@click.argument("name")
@click.option("--parent", help="Cohort that it is in.", shell_complete=complete("cohorts"))
@quota_options
@WEIGHT
def create_cohort(
    name: str, parent: str | None, quota: tuple[Asked, ...], borrow: tuple[Asked, ...], lend: tuple[Asked, ...],
    weight: float | None,
) -> None:  # fmt: skip
    """Make a cohort. A quota of its own is for all its members, beside theirs.

    Examples:
    gyre cohorts create labs
    gyre cohorts create vision-labs --parent labs --quota simulated=gpu:2,cpu:all,memory:all
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        rows = merged((), quota, borrow, lend, (), _capacity(gyre, quota, borrow, lend))
        output.show_item(gyre.cohorts.create(name, quotas=rows, **_cohort_fields(parent, weight)))


@cohorts.command("set")
@click.argument("name", shell_complete=complete("cohorts"))
@click.option("--parent", help="Cohort that it is in; '' is none.", shell_complete=complete("cohorts"))
@quota_options
@NO_QUOTA
@WEIGHT
def set_cohort(
    name: str, parent: str | None, quota: tuple[Asked, ...], borrow: tuple[Asked, ...], lend: tuple[Asked, ...],
    without: tuple[str, ...], weight: float | None,
) -> None:  # fmt: skip
    """Change a cohort. Quotas of flavors that are not named stay.

    Examples:
    gyre cohorts set labs --no-quota simulated
    """
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    changes = _cohort_fields(parent, weight)
    with connect() as gyre:
        now = gyre.cohorts.get(name)
        if quota or borrow or lend or without:
            rows = merged(now.quotas, quota, borrow, lend, without, _capacity(gyre, quota, borrow, lend))
            changes["quotas"] = [messages.to_body(row) for row in rows]
        if not changes:
            raise click.UsageError("Say what to change: --parent, --weight or --quota.")
        output.show_item(gyre.cohorts.update(now.name, etag=now.etag, **changes))


@cohorts.command("delete")
@click.argument("name", shell_complete=complete("cohorts"))
@YES
def delete_cohort(name: str, yes: bool) -> None:
    """Delete a cohort that nothing is in."""
    with connect() as gyre:
        there = gyre.cohorts.get(name)
        if not yes:
            click.confirm(f"Delete cohort {name}?", abort=True, err=True)
        gyre.cohorts.delete(there.name, there.etag)
    click.echo(f"{name} is deleted", err=OPTIONS.json)


def _queue_fields(
    cohort: str | None, weight: float | None, strict: bool | None, within_queue: str | None, reclaim: str | None,
    borrow_within_cohort: str | None, borrow_max_priority: int | None, max_priority: int | None, no_max_priority: bool,
    projects: tuple[str, ...],
) -> dict[str, Any]:  # fmt: skip
    """What was said, as fields of a ClusterQueue in JSON."""
    rules: dict[str, Any] = {
        "within_cluster_queue": within_queue and f"POLICY_{WITHIN[within_queue]}",
        "reclaim_within_cohort": reclaim and f"POLICY_{ACROSS[reclaim]}",
        "borrow_within_cohort": borrow_within_cohort and f"POLICY_{ACROSS[borrow_within_cohort]}",
        "borrow_max_priority": borrow_max_priority,
    }
    rules = {field: value for field, value in rules.items() if value is not None}
    given = {
        "cohort": None if cohort is None else _full("cohorts", cohort),
        "weight": weight,
        "strategy": None if strict is None else f"STRATEGY_{'STRICT' if strict else 'BEST_EFFORT'}_FIFO",
        "preemption": rules or None,
        "max_priority": max_priority,
        "projects": [_full("projects", each) for each in projects if each] if projects else None,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    return changes | ({"max_priority": None} if no_max_priority else {})


def _cohort_fields(parent: str | None, weight: float | None) -> dict[str, Any]:
    given = {"parent": None if parent is None else _full("cohorts", parent), "weight": weight}
    return {field: value for field, value in given.items() if value is not None}


def _full(collection: str, name: str) -> str:
    return name if not name or name.startswith(f"{collection}/") else f"{collection}/{name}"


def _capacity(gyre: Any, *asked: tuple[Asked, ...]) -> dict[str, dict[str, int]]:
    return capacity_of(gyre.nodes.list()) if any(asked) else {}


def _quotas(output: Any, item: Any) -> str:
    return "\n".join(quota_text(output, quota) for quota in item.quotas) or "all that the nodes have"
