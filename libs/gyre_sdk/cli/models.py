"""`gyre models`: import, quantise, alias and trace."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, made
from gyre_sdk.cli.compare import compare, comparisons
from gyre_sdk.cli.fit import fit
from gyre_sdk.cli.fitting import memory, show
from gyre_sdk.cli.importing import import_
from gyre_sdk.cli.syncing import sync
from gyre_sdk.cli.transfer import export, upload
from gyre_sdk.cli.when import When

if TYPE_CHECKING:
    from gyre.model_registry.v1.lineage_pb2 import Lineage

COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("ARCHITECTURE", lambda o: o.text("architecture")),
    ("PARAMETERS", lambda o: lambda item: o.count(item.parameter_count)),
    ("SIZE", lambda o: o.bytes_of()),
    ("NEWEST", lambda o: o.short("latest_version")),
    ("STATUS", lambda o: lambda item: o.coloured(item.latest_version_state or "EMPTY")),
    ("ALIASES", lambda o: lambda item: " ".join(f"{a.alias}→{o.names.short(a.version)}" for a in item.aliases)),
    ("LICENCE", lambda o: o.text("licence")),
    ("UPDATED", lambda o: o.age("update_time")),
]
VERSION_COLUMNS: Columns = [
    ("VERSION", lambda o: o.short()),
    ("STATE", lambda o: o.state()),
    ("SIZE", lambda o: o.bytes_of()),
    ("FROM", lambda o: lambda item: item.source or f"run {item.parents.run.rsplit('/', 1)[-1]}"),
    ("VARIANTS", lambda o: lambda item: " ".join(name.rsplit("/", 1)[-1] for name in item.variants)),
    ("DIGEST", lambda o: lambda item: item.digest[:19]),
    ("CREATED", lambda o: o.age()),
]
VARIANT_COLUMNS: Columns = [
    ("VARIANT", lambda o: o.short()),
    ("FORMAT", lambda o: o.enum("format")),
    ("QUANTISATION", lambda o: o.text("quantisation")),
    ("STATE", lambda o: o.state()),
    ("SIZE", lambda o: o.bytes_of()),
    ("NOTE", lambda o: o.text("note")),
]


@click.group(cls=GyreGroup)
def models() -> None:
    """Import, quantise, alias and trace models.

    `smollm2` means the newest version that is ready, `smollm2@3` version 3, `smollm2@production` what an alias points
    to, `smollm2@3:q8-0` a variant.
    """


models.add_command(listing("models", lambda gyre: gyre.models, COLUMNS, "List the models."))
models.add_command(compare)
models.add_command(comparisons)
models.add_command(fit)
for command in (import_, show, upload, export, memory, sync):
    models.add_command(command)


@models.command()
@click.argument("model", default="-", shell_complete=complete("models"))
def versions(model: str) -> None:
    """List the versions of a model, or of all."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.models.versions(model))
    output.show_items("versions", found, made(VERSION_COLUMNS))


@models.command()
@click.argument("version", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
def variants(version: str) -> None:
    """List the variants of a version, with their sizes."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.models.variants(version))
    output.show_items("variants", found, made(VARIANT_COLUMNS))


@models.command()
@click.argument("version", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.argument("quantisation")
@click.option(
    "--calibrate", default="", metavar="DATASET[@VERSION]", help="Conversations to measure on; AWQ and GPTQ need some."
)
@click.option("--wait/--no-wait", default=True, show_default=True)
def quantise(version: str, quantisation: str, calibrate: str, wait: bool) -> None:
    """Make a variant: Q8_0, Q6_K, Q5_K_M or Q4_K_M for llama.cpp; on a GPU AWQ, GPTQ or FP8 for vLLM.

    Examples:
    gyre models quantise hotline-bot@1 Q8_0
    gyre models quantise hotline-bot@1 Q4_K_M --calibrate hotline@1
    gyre models quantise hotline-bot@1 AWQ --calibrate hotline@1
    """
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        calibration = gyre.datasets.version_name(calibrate) if calibrate else ""
        variant = gyre.models.create_variant(version, quantisation, calibration)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                variant = gyre.models.wait_variant(variant.name, on_update=watching)
    output.show_item(variant)


@models.command()
@click.argument("version", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.option("--of", "variant", default="", metavar="VARIANT", help="An imported adapter, if making it failed before.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def adapter(version: str, variant: str, wait: bool) -> None:
    """Make a variant of what a LoRA run added to its base, so that one base can serve many of them.

    An imported adapter (`gyre models import`) gets it by itself.

    Examples:
    gyre models adapter hotline-maria@1
    gyre deployments adapters hotline --add maria=hotline-maria@1:adapter
    """
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        made_ = gyre.models.create_adapter(version, variant)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                made_ = gyre.models.wait_variant(made_.name, on_update=watching)
    output.show_item(made_)


@models.command()
@click.argument("model", shell_complete=complete("models"))
def aliases(model: str) -> None:
    """List the aliases of a model."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.models.aliases(model))
    columns = [("ALIAS", output.short()), ("VERSION", output.short("version")), ("VARIANT", output.short("variant"))]
    gate: output.Column = ("GATED", lambda item: "yes" if item.gated else "no")
    output.show_items("aliases", found, [*columns, gate, ("MOVED", output.age("update_time"))])


@models.command("alias")
@click.argument("alias")
@click.argument("version", metavar="MODEL@VERSION[:VARIANT]", shell_complete=complete("models"))
@click.option("--verdict", default="", help="Passing verdict; needed where the alias is gated.")
@click.option("--gated/--no-gate", default=None, help="Whether the alias moves only with a passing verdict.")
def alias_(alias: str, version: str, verdict: str, gated: bool | None) -> None:
    """Point an alias to a version. Exit code 4 if its gate refuses.

    Examples:
    gyre models alias production hotline-bot@2:q8-0 --verdict 3
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        variant = gyre.models.variant_name(version) if ":" in version else ""
        fields: dict[str, Any] = {"variant": variant} | ({} if gated is None else {"gated": gated})
        if verdict:
            fields["verdict"] = gyre.verdicts.find(verdict).name
        target = variant.split("/variants/")[0] or gyre.models.version_name(version)
        model = target.split("/versions/")[0]
        output.show_item(gyre.models.move_alias(model, alias, target, **fields))


@models.command()
@click.argument("reference", metavar="MODEL@ALIAS")
@click.option("--at", "time", type=When(), help="A past time. [default: now]")
def resolve(reference: str, time: datetime | None) -> None:
    """Say what an alias points to, or pointed to at a time, and who moved it there.

    Examples:
    gyre models resolve hotline@champion
    gyre models resolve hotline@champion --at '2026-11-24 14:05'
    """
    from gyre_sdk.cli import output

    model, at, alias = reference.partition("@")
    if not at or not alias or alias.isdigit():
        raise click.UsageError(f"{reference} names no alias; write MODEL@ALIAS, for instance {model}@champion.")
    with connect() as gyre:
        output.show_item(gyre.models.resolve_alias(model, alias, time))


@models.command()
@click.argument("reference", metavar="MODEL[@VERSION][:VARIANT]")
@click.option(
    "--direction", type=click.Choice(["upstream", "downstream"]), help="Only what it came from, or what came of it."
)
@click.option("--depth", default=0, help="At most so many steps.")
@click.option("--at", "time", type=When(), help="The graph as it was at a past time. [default: now]")
def lineage(reference: str, direction: str | None, depth: int, time: datetime | None) -> None:
    """From a served model or an answer back to the data, the run and the feedback that it came from.

    Also of any full name, for instance of a completion, a deployment or a data set version.

    Examples:
    gyre models lineage hotline-bot@2
    gyre models lineage projects/default/completions/chatcmpl-1 --direction upstream
    gyre models lineage projects/default/deployments/hotline --at '2026-11-24 14:05'
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        name = reference if reference.startswith("projects/") else gyre.models.reference_name(reference)
        found = gyre.models.lineage(name, direction or "", depth, time)
    if OPTIONS.json:
        output.show_item(found)
    else:
        if direction != "downstream":
            _show_lineage(found, name, upstream=True)
        if direction != "upstream":
            _show_lineage(found, name, upstream=False)
        if found.truncated:
            click.echo("There is more; raise --depth.")


def _show_lineage(found: Lineage, root: str, *, upstream: bool) -> None:
    """A tree of what each thing came from, or what came of it; what was shown already is not unfolded again."""
    from rich.tree import Tree

    from gyre_sdk import names
    from gyre_sdk.cli.output import console

    nodes = {node.name: node for node in found.nodes}
    sources: dict[str, list[Any]] = {}
    for edge in found.edges:
        sources.setdefault(edge.target if upstream else edge.source, []).append(edge)
    seen: set[str] = set()

    def label(name: str) -> str:
        node = nodes[name]
        kind = node.kind.replace("_", " ")
        return f"{node.count:,} {kind}  /api/v1{node.list_path}" if node.count else f"{kind} {names.short(name)}"

    def grow(branch: Tree, name: str) -> None:
        if name in seen:
            return
        seen.add(name)
        for edge in sources.get(name, ()):
            end = edge.source if upstream else edge.target
            share = f" {edge.weight_percent} %" if edge.weight_percent else ""
            grow(branch.add(f"{edge.relation.replace('_', ' ')}{share} {label(end)}"), end)

    tree = Tree(f"[bold]{'from' if upstream else 'to'}[/bold] {label(root)}")
    grow(tree, root)
    console().print(tree)


@models.command()
@click.argument("version", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.option("--edit", type=click.File("r", encoding="utf-8"), help="Take what people wrote from this Markdown file.")
@click.option("--out", type=click.File("w", encoding="utf-8", lazy=True), help="Write the card to this file.")
def card(version: str, edit: TextIO | None, out: TextIO | None) -> None:
    """Print the model card, write it to a file, or edit what people wrote in it.

    What is written from facts is written anew each time, and an edited file may hold it or not.

    Examples:
    gyre models card hotline-bot@2 --out card.md
    gyre models card hotline-bot@2 --edit card.md
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.models.edit_card(version, edit.read()) if edit else gyre.models.card(version)
    if out:
        out.write(found.markdown)
    elif OPTIONS.json:
        output.show_item(found)
    else:
        click.echo(found.markdown)


@models.command()
@click.argument("model", shell_complete=complete("models"))
@click.option("--title", help="Free text shown to people.")
@click.option("--description", help="Free text shown to people.")
@click.option("--origin", help="Where the weights come from.")
@click.option("--licence", help="SPDX identifier or the name of the terms.")
def update(model: str, **changes: str | None) -> None:
    """Change a model. Imported versions that had its licence or origin follow.

    Examples:
    gyre models update llama --licence llama3.1
    """
    from gyre_sdk.cli import output

    changes["display_name"] = changes.pop("title")
    with connect() as gyre:
        output.show_item(gyre.models.update(model, **{key: it for key, it in changes.items() if it is not None}))


@models.command()
@click.argument("name", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a model, or one version of it. Refused while something serves it; kept for seven days."""
    if not yes:
        click.confirm(f"Delete {name}?", abort=True, err=True)
    with connect() as gyre:
        if "@" in name or "/versions/" in name:
            gyre.models.delete_version(name)
        else:
            gyre.models.delete(name)
    click.echo(f"{name} is deleted.", err=True)
