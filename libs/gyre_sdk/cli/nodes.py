"""`gyre nodes`, `gyre cards` and `gyre flavors`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from gyre_sdk.cli.amounts import resources_text
from gyre_sdk.cli.base import OPTIONS, GyreCommand, GyreGroup, complete, connect
from gyre_sdk.cli.commands import showing

LOOK_EVERY_SECONDS = 1.0
NODE = click.argument("node", shell_complete=complete("nodes"))
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group(cls=GyreGroup)
def nodes() -> None:
    """Machines and cards."""


@nodes.command("list", cls=GyreCommand)
def list_nodes() -> None:
    """List the nodes, what of them is given away, and their cards."""
    from gyre_sdk import names
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.nodes.list())
    columns: list[output.Column] = [
        ("NAME", lambda item: names.short(item.name) + (" (simulated)" if item.simulated else "")),
        ("STATE", output.state()),
        ("FLAVOR", output.short("flavor")),
        ("GIVEN AWAY", lambda item: resources_text(output, item.allocated)),
        ("OF", lambda item: resources_text(output, item.capacity)),
        ("CPU", lambda item: f"{item.cpu_percent:.0f} %"),
        ("MEMORY", output.bytes_of("memory_used_bytes")),
        ("LABELS", lambda item: "\n".join(f"{key}={value}" for key, value in sorted(item.labels.items()))),
        ("CARDS", lambda item: "\n".join(_cards(item))),
    ]
    output.show_items("nodes", found, columns)


nodes.add_command(showing("NODE", lambda gyre: gyre.nodes, "nodes", "Show one node."))
nodes.add_command(showing("NODE", lambda gyre: gyre.nodes, "nodes", "Show one node (the same as show)."), name="get")


@nodes.command()
@NODE
@click.argument("labels", nargs=-1, required=True, metavar="NAME=VALUE | NAME- ...")
def label(node: str, labels: tuple[str, ...]) -> None:
    """Set labels of a node, or take them away.

    Examples:
    gyre nodes label gpu-3 gyre.dev/zone=east rack=7
    gyre nodes label gpu-3 rack-
    """
    from gyre_sdk.cli import output

    changes: dict[str, str | None] = {}
    for text in labels:
        name, equals, value = text.partition("=")
        if not equals and not text.endswith("-"):
            raise click.UsageError(f"{text!r} is neither NAME=VALUE nor NAME-.")
        changes[name if equals else text[:-1]] = value if equals else None
    with connect() as gyre:
        output.show_item(gyre.nodes.label(node, changes))


@nodes.command()
@NODE
def cordon(node: str) -> None:
    """Have a node take no new work; what works on it goes on."""
    with connect() as gyre:
        _say(gyre.nodes.cordon(node))


@nodes.command()
@NODE
def uncordon(node: str) -> None:
    """Have a node take work again, also after a drain."""
    with connect() as gyre:
        _say(gyre.nodes.uncordon(node))


@nodes.command()
@NODE
@YES
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until nothing works on it.")
def drain(node: str, yes: bool, wait: bool) -> None:
    """Have what works on a node stop and wait again, trainers after a checkpoint; it takes no new work.

    Examples:
    gyre nodes drain gpu-3 --yes
    """
    with connect() as gyre:
        there = gyre.nodes.get(node)
        if not yes:
            question = f"Drain {node}? It takes no new work; what works on it stops and waits again: {_works(there)}."
            click.confirm(question, abort=True, err=True)
        drained = gyre.nodes.drain(node)
        while wait and drained.workload_count:
            click.echo(f"{node}: has still to stop: {_works(drained)}", err=True)
            time.sleep(LOOK_EVERY_SECONDS)
            drained = gyre.nodes.get(node)
        _say(drained)


@nodes.command()
@NODE
@YES
def forget(node: str, yes: bool) -> None:
    """Give up a node that is not heard of: its work is queued again, and another machine may take its name."""
    with connect() as gyre:
        if not yes:
            works = _works(gyre.nodes.get(node))
            click.confirm(f"Forget {node}? What was on it is queued again: {works}.", abort=True, err=True)
        gyre.nodes.forget(node)
    click.echo(f"{node} is forgotten", err=OPTIONS.json)


@nodes.command("card-reset")
@NODE
@click.argument("index", type=click.IntRange(min=0))
def card_reset(node: str, index: int) -> None:
    """Put a sick card back, after it was looked at. What was found until now is not held against it again.

    Examples:
    gyre nodes card-reset gpu-3 5
    """
    with connect() as gyre:
        _say(gyre.nodes.reset_card(node, index))


@click.group(cls=GyreGroup)
def cards() -> None:
    """What vendors publish of each model of card; empty is not known."""


@cards.command("list", cls=GyreCommand)
@click.option("--here", is_flag=True, help="Only models of which a node has cards.")
def list_cards(here: bool) -> None:
    """List the models: memory, dense throughput, bandwidth, price, and how many are here."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = [model for model in gyre.nodes.card_models() if model.present_count or not here]

    def number(field: str) -> Any:
        return lambda item: f"{getattr(item, field):g}" if item.HasField(field) else ""

    columns: list[output.Column] = [
        ("MODEL", output.text("display_name")),
        ("MAKER", lambda item: item.maker + ("" if item.discovered else " (table only)")),
        ("MEMORY", lambda item: f"{item.memory_bytes / 1024**3:.0f} GiB" if item.HasField("memory_bytes") else ""),
        ("BF16 TFLOPS", number("bf16_tflops")),
        ("FP16 TFLOPS", number("fp16_tflops")),
        ("INT8 TOPS", number("int8_tops")),
        ("BANDWIDTH", lambda item: _bandwidth(output, item)),
        ("$/HOUR", lambda item: output.money(item.hour_microusd) if item.HasField("hour_microusd") else ""),
        ("HERE", lambda item: str(item.present_count or "")),
        ("SOURCE", output.text("source")),
    ]
    output.show_items("card_models", found, columns)


@click.group(cls=GyreGroup)
def flavors() -> None:
    """Kinds of resources, and what they cost."""


@flavors.command("list", cls=GyreCommand)
def list_flavors() -> None:
    """List the flavors, their prices an hour and where those are from."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.nodes.flavors())
    columns: list[output.Column] = [
        ("NAME", output.short()),
        ("CORE/HOUR", lambda item: output.money(item.cpu_hour_microusd)),
        ("CARD/HOUR", lambda item: output.money(item.gpu_hour_microusd)),
        ("PRICE OF", output.text("price_source")),
        ("LABELS", lambda item: "\n".join(f"{key}={value}" for key, value in sorted(item.node_labels.items()))),
    ]
    output.show_items("flavors", found, columns)


@flavors.command("price")
@click.argument("flavor")
@click.option("--card", type=click.FloatRange(min=0), help="US dollars for a card for an hour.")
@click.option("--core", type=click.FloatRange(min=0), help="US dollars for a core for an hour.")
def set_price(flavor: str, card: float | None, core: float | None) -> None:
    """Set what a flavor costs. What runs keeps the price of its admission.

    Examples:
    gyre flavors price nvidia-h100-80gb-hbm3 --card 1.85
    """
    from gyre_sdk.cli import output

    given = {"gpu_hour_microusd": card, "cpu_hour_microusd": core}
    changes = {field: round(dollars * 1_000_000) for field, dollars in given.items() if dollars is not None}
    if not changes:
        raise click.UsageError("Give --card, --core, or both.")
    with connect() as gyre:
        output.show_item(gyre.nodes.update_flavor(flavor, **changes))


def _say(node: Any) -> None:
    """The node for programs, its state and what is left on it for people."""
    from gyre_sdk import messages, names
    from gyre_sdk.cli import output

    if OPTIONS.json:
        output.show_item(node)
        return
    left = f", {_works(node)} on it" if node.workload_count else ""
    click.echo(f"{names.short(node.name)} {messages.enum_name(node, 'state')}{left}")


def _works(node: Any) -> str:
    return f"{node.workload_count} workload{'' if node.workload_count == 1 else 's'}"


def _cards(node: Any) -> Iterator[str]:
    """`4 × A100, 1 free`, model by model, and each card about which there is something to say; `show` has the others."""
    from gyre_sdk import messages

    for model, count in Counter(card.model for card in node.cards).items():
        free = sum(messages.enum_name(card, "state") == "FREE" for card in node.cards if card.model == model)
        yield f"{count} × {model}, {free} free"
    for card in node.cards:
        faults = [f"{card.fault_code}: {card.fault_message}"] if card.fault_code else []
        if problems := [*faults, *card.warnings]:
            yield f"{card.index} {messages.enum_name(card, 'state')} " + "; ".join(problems)


def _bandwidth(output: Any, model: Any) -> str:
    return f"{output.size(model.memory_bandwidth_bytes)}/s" if model.HasField("memory_bandwidth_bytes") else ""
