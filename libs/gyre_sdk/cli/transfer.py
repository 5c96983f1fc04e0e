"""`gyre models upload`: weights from this machine."""

from __future__ import annotations

from pathlib import Path

import click

from gyre_sdk.cli.base import GyreCommand, complete, connect


@click.command(cls=GyreCommand)
@click.argument("name", metavar="MODEL[@VERSION]", shell_complete=complete("models"))
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--variant", default="", help="Of an adapter: the last part of its name. [default: adapter]")
@click.option("--origin", default="", help="Where the weights come from.")
@click.option("--licence", default="", help="SPDX identifier or the name of the terms.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the import has ended.")
def upload(name: str, path: Path, variant: str, origin: str, licence: str, wait: bool) -> None:
    """Send a *.gguf file, or a folder with config.json, tokenizer and *.safetensors, as the model's next version.

    A folder with adapter_config.json and adapter_model.safetensors becomes an adapter of the version that is named.
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
        with progress.uploading_files() as show:
            sent = gyre.model_uploads.send(path, name, show)
        if sent.kind == ModelUpload.KIND_ADAPTER:
            made = gyre.models.create_adapter(name, sent.uri, variant)
        else:
            made = gyre.models.import_as(name, sent.uri, origin=origin, licence=licence)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                if isinstance(made, Variant):
                    made = gyre.models.wait_variant(made.name, on_update=watching)
                else:
                    made = gyre.models.wait_version(made.name, on_update=watching)
    output.show_item(made)
