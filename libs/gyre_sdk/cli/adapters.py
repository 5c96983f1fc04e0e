"""`gyre deployments adapters`: many small trainings on one base."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect
from gyre_sdk.cli.commands import Columns, made

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.adapter_pb2 import Adapter

    from gyre_sdk.client import Gyre

COLUMNS: Columns = [
    ("ADAPTER", lambda o: o.text("id")),
    ("VARIANT", lambda o: o.short("variant")),
    ("FOR", lambda o: lambda item: ", ".join(key.rpartition("/")[2] for key in item.keys) or "everybody"),
]


@click.command(cls=GyreCommand)
@click.argument("name", shell_complete=complete("deployments"))
@click.option(
    "--add", "added", multiple=True, metavar="ADAPTER=MODEL@VERSION[:VARIANT]", help="Add one, or replace it."
)
@click.option("--remove", "removed", multiple=True, metavar="ADAPTER", help="Take one away.")
@click.option(
    "--bind", "bound", multiple=True, metavar="ADAPTER=KEY[,KEY]", help="Only these keys get it, and unasked."
)
@click.option("--wait/--no-wait", default=True, show_default=True)
def adapters(name: str, added: tuple[str, ...], removed: tuple[str, ...], bound: tuple[str, ...], wait: bool) -> None:
    """Show or change the adapters that a deployment serves on its base. Ask one as model `NAME:ADAPTER`.

    Each must have been trained on the very base. On llama.cpp a change brings up a new replica before the old one goes.

    Examples:
    gyre deployments adapters hotline --add maria=hotline-maria@1 --add otto=hotline-otto@2
    gyre deployments adapters hotline --bind maria=01J9Z3...
    gyre deployments adapters hotline --remove otto
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        deployment = gyre.deployments.get(name)
        there = {each.id: each for each in gyre.deployments.adapters(deployment)}
        if not (added or removed or bound):
            output.show_items("adapters", list(there.values()), made(COLUMNS))
            return
        changed = _changed(gyre, there, added, removed, bound)
        deployment = gyre.deployments.set_adapters(name, changed.values(), etag=deployment.etag)
        if wait and deployment.rollout.state == deployment.rollout.STATE_RUNNING:
            gyre.deployments.wait_rollout(deployment.rollout.name)
            deployment = gyre.deployments.get(name)
        if OPTIONS.json:
            output.show_item(deployment)
            return
    click.echo(f"{name} serves {', '.join(f'{name}:{each}' for each in changed) or 'its base alone'}.", err=True)


def _changed(
    gyre: Gyre, there: dict[str, Adapter], added: tuple[str, ...], removed: tuple[str, ...], bound: tuple[str, ...]
) -> dict[str, Adapter]:
    """Raises: click.UsageError for an adapter that is not there."""
    from gyre.inference_gateway.v1.adapter_pb2 import Adapter

    changed = dict(there)
    for term in added:
        adapter, reference = _halves(term, "--add", "maria=hotline-maria@1")
        variant = gyre.models.variant_name(reference if ":" in reference else f"{reference}:adapter")
        keys = list(changed[adapter].keys) if adapter in changed else []
        changed[adapter] = Adapter(id=adapter, variant=variant, keys=keys)
    for term in bound:
        adapter, listed = _halves(term, "--bind", "maria=01J9Z3…")
        keys = [gyre.keys.name(each.strip()) for each in listed.split(",") if each.strip()]
        changed[adapter] = Adapter(id=adapter, variant=_known(changed, adapter).variant, keys=keys)
    for adapter in removed:
        _known(changed, adapter)
        del changed[adapter]
    return changed


def _known(there: dict[str, Adapter], adapter: str) -> Adapter:
    if adapter not in there:
        raise click.UsageError(f"There is no adapter {adapter}; there are {', '.join(there) or 'none'}.")
    return there[adapter]


def _halves(term: str, option: str, example: str) -> tuple[str, str]:
    adapter, sign, rest = term.partition("=")
    if not sign or not adapter:
        raise click.UsageError(f"{option} {term}: write it like {option} {example}.")
    return adapter, rest
