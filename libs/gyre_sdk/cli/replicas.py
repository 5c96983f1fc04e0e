"""`gyre deployments scale`, `replicas` and `logs`: how many engines a deployment has, and how each of them does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect
from gyre_sdk.cli.commands import Columns, made

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.deployment_pb2 import Deployment

    from gyre_sdk.client import Gyre

COLUMNS: Columns = [
    ("REPLICA", lambda o: o.short()),
    ("STATE", lambda o: o.state()),
    ("REQUESTS", lambda o: o.text("requests")),
    ("ADDRESS", lambda o: o.text("address")),
    ("FAILURES", lambda o: o.text("failures")),
    ("READY", lambda o: o.age("ready_time")),
    ("WHY", lambda o: o.text("failure_message")),
]


@click.command(cls=GyreCommand)
@click.argument("name", shell_complete=complete("deployments"))
@click.option("--min", "least", default=1, show_default=True, type=click.IntRange(0, 64), help="0: it may sleep.")
@click.option("--max", "most", type=click.IntRange(1, 64), help="The same as --min, if left out.")
@click.option(
    "--idle-seconds", default=300.0, show_default=True, help="With --min 0: it sleeps when nobody asks so long."
)
@click.option(
    "--window",
    "windows",
    multiple=True,
    metavar="DAYS FROM-TO MIN-MAX",
    help="Other bounds at these hours, for example 'mon-fri 08:00-20:00 2-6'; may be repeated.",
)
@click.option("--time-zone", default="UTC", show_default=True, help="By whose clocks, for example Europe/Berlin.")
def scale(
    name: str, least: int, most: int | None, idle_seconds: float, windows: tuple[str, ...], time_zone: str
) -> None:
    """Set how many replicas each target of a deployment has; between the bounds the number follows the load.

    With --min 0 a deployment that nobody asks sleeps, and the next request waits until it is awake. In a --window of the
    week its own bounds hold; --min and --max are for all other times, and what they do not need others may use.

    Examples:
    gyre deployments scale hotline --min 1 --max 3
    gyre deployments scale hotline --min 0 --max 2 --idle-seconds 900
    gyre deployments scale hotline --min 0 --max 1 --window "mon-fri 08:00-20:00 2-6" --time-zone Europe/Berlin
    """
    from gyre_sdk import names
    from gyre_sdk.cli import output
    from gyre_sdk.resources import serving

    try:
        given = [serving.window(each) for each in windows]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with connect() as gyre:
        deployment = gyre.deployments.scale(name, least, most or max(1, least), idle_seconds, given, time_zone)
    if OPTIONS.json:
        output.show_item(deployment)
        return
    otherwise = "outside of its windows" if given else "from now on"
    click.secho(f"{names.short(deployment.name)} has {bounds(deployment)} a target {otherwise}.", fg="green")
    for window in deployment.scale.schedule.windows:
        click.echo(f"  {serving.window_text(window)} ({deployment.scale.schedule.time_zone})")
    if deployment.guarantee_warning:
        click.secho(deployment.guarantee_warning, fg="yellow", err=True)
    click.echo(f"How they do: gyre deployments replicas {name}")


@click.command(cls=GyreCommand)
@click.argument("name", shell_complete=complete("deployments"))
def replicas(name: str) -> None:
    """The replicas of a deployment, oldest first.

    Examples:
    gyre deployments replicas hotline
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        items = list(gyre.deployments.replicas(name))
    output.show_items("replicas", items, made(COLUMNS))


@click.command(cls=GyreCommand)
@click.argument("name", shell_complete=complete("deployments"))
@click.option("--replica", default="1", show_default=True, metavar="K", help="The K-th of the list, or its id.")
@click.option("-f", "--follow", is_flag=True, help="Stay until it ends.")
@click.option("-n", "--lines", default=0, help="Only the last so many.")
@click.option("--stdout", "stream", flag_value="stdout", default=None, help="Standard output in place of the log.")
def logs(name: str, replica: str, follow: bool, lines: int, stream: str | None) -> None:
    """What a replica printed.

    Examples:
    gyre deployments logs hotline -n 50
    gyre deployments logs hotline --replica 2 -f
    """
    with connect() as gyre:
        for piece in gyre.deployments.logs(_named(gyre, name, replica), stream or "stderr", lines, follow):
            click.echo(piece, nl=False)


def bounds(deployment: Deployment) -> str:
    """`1 replica`, `0 to 3 replicas`."""
    least, most = deployment.scale.min_replicas, deployment.scale.max_replicas
    number = str(most) if least == most else f"{least} to {most}"
    return f"{number} replica{'' if most == 1 and least == 1 else 's'}"


def _named(gyre: Gyre, name: str, replica: str) -> str:
    """Its whole name; one that has stopped is known by its id alone."""
    if not replica.isdecimal():
        return f"{gyre.deployments.name(name)}/replicas/{replica}"
    known = list(gyre.deployments.replicas(name))
    if not 1 <= int(replica) <= len(known):
        raise click.UsageError(
            f"{name} has {len(known)} replicas now, and no {replica}: gyre deployments replicas {name}"
        )
    return known[int(replica) - 1].name
