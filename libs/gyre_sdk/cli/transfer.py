"""`gyre models upload` and `export`: weights from this machine, and onto it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect

if TYPE_CHECKING:
    from gyre_sdk.client import Gyre


@click.command(cls=GyreCommand)
@click.argument("name", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--variant", default="", help="Of an adapter: the last part of its name. [default: adapter]")
@click.option("--origin", default="", help="Where the weights come from.")
@click.option("--licence", default="", help="SPDX identifier or the name of the terms.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the import has ended.")
def upload(name: str, path: Path, variant: str, origin: str, licence: str, wait: bool) -> None:
    """Send a *.gguf file, or a folder with config.json, tokenizer and *.safetensors, as the model's next version.

    A folder with adapter_config.json and adapter_model.safetensors becomes an adapter of the version that is named, and a
    variant beside it what engines add to that.
    Broken off, the same command goes on with the parts that are missing.

    Examples:
    gyre models upload mine ./my-model --licence Apache-2.0
    gyre models upload mine ./my-model-q4_k_m.gguf
    gyre models upload smollm2@1 ./my-lora --variant polite
    """
    from gyre.model_registry.v1.upload_pb2 import ModelUpload
    from gyre.model_registry.v1.variant_pb2 import Variant
    from gyre.model_registry.v1.version_pb2 import Version

    from gyre_sdk.cli import output, progress

    made: Version | Variant
    with connect() as gyre:
        with progress.moving_files() as show:
            sent = gyre.model_uploads.send(path, name, show)
        if sent.kind == ModelUpload.KIND_ADAPTER:
            made = gyre.models.import_adapter(name, sent.uri, variant)
        else:
            made = gyre.models.import_as(name, sent.uri, origin=origin, licence=licence)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                if isinstance(made, Variant):
                    made = gyre.models.wait_adapter(made.name, on_update=watching)
                else:
                    made = gyre.models.wait_version(made.name, on_update=watching)
    output.show_item(made)


@click.command(cls=GyreCommand)
@click.argument("name", metavar="MODEL[@VERSION][:VARIANT]", shell_complete=complete("models"))
@click.argument("target", type=click.Path(path_type=Path))
def export(name: str, target: Path) -> None:
    """Fetch a variant: a folder as Hugging Face has it, with the card as README.md; or one GGUF file.

    Without a variant it is the form in which the version came. Each file is checked against its digest; broken off, the
    same command goes on where it was.

    Examples:
    gyre models export hotline@1 ./hotline
    gyre models export hotline@production:q4-k-m hotline.gguf
    """
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        variant = gyre.models.variant_name(name) if ":" in name or "/variants/" in name else _original(gyre, name)
        files = gyre.model_files.of(variant)
        is_file = len(files) == 1 and files[0].path.endswith(".gguf")
        with progress.moving_files() as show:
            for file in files:
                place = target if is_file and not target.is_dir() else target / file.path
                if target.resolve() not in (place.resolve(), *place.resolve().parents):
                    raise click.UsageError(f"{file.path} leads out of {target}.")
                gyre.model_files.fetch(variant, file, place, show)
        if any(file.path == "config.json" for file in files):
            card = gyre.models.card(variant.split("/variants/")[0])
            (target / "README.md").write_text(card.markdown, "utf-8")
    if OPTIONS.json:
        found = [{"path": file.path, "size_bytes": file.size_bytes, "digest": file.digest} for file in files]
        output.show_json({"variant": variant, "target": str(target), "files": found})
    else:
        total = output.size(sum(file.size_bytes for file in files))
        click.echo(f"{len(files)} files, {total}, all as their digests say, are in {target}.")


def _original(gyre: Gyre, name: str) -> str:
    """The variant as which a version came: it is there first."""
    version = gyre.models.version(name)
    return next((each for each in version.variants if each.endswith("/hf")), version.variants[0])
