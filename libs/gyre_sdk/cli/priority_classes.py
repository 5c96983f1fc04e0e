"""`gyre priority-classes`."""

from __future__ import annotations

from typing import Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing

MOST = 1_000_000_000  # the server's bound
VALUE = click.IntRange(-MOST, MOST)
COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("VALUE", lambda o: o.text("value")),
    ("WAITING", lambda o: o.text("pending_count")),
    ("HOLDING", lambda o: o.text("admitted_count")),
    ("FOR", lambda o: o.text("description")),
]


@click.group(cls=GyreGroup)
def priority_classes() -> None:
    """Priorities that have a name. Changing them takes a key of the whole platform."""


priority_classes.add_command(
    listing("priority_classes", lambda gyre: gyre.priority_classes, COLUMNS, "List the classes, the highest first.")
)
priority_classes.add_command(
    showing("CLASS", lambda gyre: gyre.priority_classes, "priority_classes", "Show one priority class.")
)


@priority_classes.command("create")
@click.argument("name")
@click.option("--value", required=True, type=VALUE, help="Higher goes first.")
@click.option("--description", default="", help="What it is for.")
def create_class(name: str, value: int, description: str) -> None:
    """Make a priority class.

    Examples:
    gyre priority-classes create deadline --value 1000 --description 'Papers that are due'
    gyre priority-classes create scavenger --value -1000
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.priority_classes.create(name, value, description))


@priority_classes.command("set")
@click.argument("name", shell_complete=complete("priority_classes"))
@click.option("--value", type=VALUE, help="Higher goes first.")
@click.option("--description", help="What it is for.")
def set_class(name: str, value: int | None, description: str | None) -> None:
    """Change a priority class, for what is submitted from then on.

    Examples:
    gyre priority-classes set deadline --value 2000
    """
    from gyre_sdk.cli import output

    given: dict[str, Any] = {"value": value, "description": description}
    changes = {field: each for field, each in given.items() if each is not None}
    if not changes:
        raise click.UsageError("Say what to change: --value or --description.")
    with connect() as gyre:
        output.show_item(gyre.priority_classes.update(name, **changes))


@priority_classes.command("delete")
@click.argument("name", shell_complete=complete("priority_classes"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete_class(name: str, yes: bool) -> None:
    """Delete a priority class. Work that was submitted with it keeps its priority."""
    with connect() as gyre:
        there = gyre.priority_classes.get(name)
        if not yes:
            click.confirm(f"Delete priority class {name}?", abort=True, err=True)
        gyre.priority_classes.delete(there.name, there.etag)
    click.echo(f"{name} is deleted", err=OPTIONS.json)
