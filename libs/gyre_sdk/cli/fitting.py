"""`gyre models show` and `memory`: what there is, and whether there is room for it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect

if TYPE_CHECKING:
    from gyre.model_registry.v1.fit_pb2 import Fit

    from gyre_sdk.client import Gyre


@click.command(cls=GyreCommand)
@click.argument("name", metavar="MODEL[@VERSION][:VARIANT]", shell_complete=complete("models"))
def show(name: str) -> None:
    """Show one model, version or variant, and whether the newest version fits into the memory that there is."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        item, weighed = _found(gyre, name)
        output.show_item(item, "" if OPTIONS.json or not weighed else _room(gyre, weighed))


def _found(gyre: Gyre, name: str) -> tuple[Any, str]:
    """What is named, and the version or variant of it that can be weighed; empty where none is ready."""
    if ":" in name or "/variants/" in name:
        variant = gyre.models.variant(name)
        return variant, variant.name if variant.uri else ""
    if "@" in name or "/versions/" in name:
        version = gyre.models.version(name)
        return version, version.name if version.uri else ""
    model = gyre.models.find(name)
    return model, model.latest_version


def _room(gyre: Gyre, name: str) -> str:
    from gyre_sdk import names
    from gyre_sdk.errors import GyreError

    with suppress(GyreError):  # a scheduler that is away is no reason to show nothing
        return f"{names.short(name)}: {gyre.models.fit(name).message}"
    return ""


@click.command(cls=GyreCommand)
@click.argument("name", metavar="MODEL[@VERSION][:VARIANT]", shell_complete=complete("models"))
@click.option("--context", default=0, type=click.IntRange(0), help="Tokens of all requests at once. [default: 8192]")
def memory(name: str, context: int) -> None:
    """What memory a version or a variant needs to be served, and which flavors have it.

    Examples:
    gyre models memory hotline@1
    gyre models memory hotline@1:q4-k-m --context 131072
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.models.fit(name, context)
    if OPTIONS.json:
        output.show_item(found)
    else:
        show_fit(found)


def show_fit(found: Fit) -> None:
    from gyre_sdk.cli import output

    size = output.size
    rows = [
        [flavor.flavor.rsplit("/", 1)[-1], size(flavor.memory_bytes), size(flavor.usable_bytes),
         "fits" if flavor.fits else f"{size(flavor.missing_bytes)} too small"]
        for flavor in found.flavors
    ]  # fmt: skip
    click.echo(found.message)
    click.echo(
        f"Weights {size(found.weights_bytes)}, keys and values of {found.context_tokens} tokens "
        f"{size(found.kv_cache_bytes)}, overhead {size(found.overhead_bytes)}."
    )
    if rows:
        output.show_table(["FLAVOR", "MEMORY", "USABLE", ""], rows)
