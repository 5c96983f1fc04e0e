"""The commands that every group has alike: list and show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from gyre_sdk.cli.base import GyreCommand, complete, connect

ItemsOf = Callable[[Any], Any]
Columns = Sequence[tuple[str, Callable[[Any], Any]]]  # title → render, made from the module `output` when it is loaded


def made(columns: Columns) -> list[tuple[str, Callable[[Any], Any]]]:
    """The columns as `output` takes them; only now are tables and protos loaded."""
    from gyre_sdk.cli import output

    return [(title, render(output)) for title, render in columns]


def listing(plural: str, collection: ItemsOf, columns: Columns, help: str, name: str = "list") -> click.Command:
    """`gyre <group> list`: filters and order are the server's."""

    @click.command(name, cls=GyreCommand, help=help)
    @click.option("--filter", "filter_", help="Equality terms, for example 'state=READY'; joined by AND.")
    @click.option("-q", "--query", help="Text to find.")
    @click.option("--order-by", help="For example 'create_time desc'.")
    @click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
    def list_(filter_: str, query: str, order_by: str, limit: int) -> None:
        from gyre_sdk.cli import output

        with connect() as gyre:
            page = collection(gyre).page(page_size=limit, filter=filter_, query=query, order_by=order_by)
        output.show_items(plural, page.items, made(columns), page.total_size)

    return list_


def showing(
    what: str, collection: ItemsOf, completes: str, help: str, get: Callable[[Any, str], Any] | None = None
) -> click.Command:
    """`gyre <group> show NAME`: everything about one."""

    @click.command("show", cls=GyreCommand, help=help)
    @click.argument("name", metavar=what, shell_complete=complete(completes))
    def show(name: str) -> None:
        from gyre_sdk.cli import output

        with connect() as gyre:
            output.show_item(get(gyre, name) if get else collection(gyre).find(name))

    return show
