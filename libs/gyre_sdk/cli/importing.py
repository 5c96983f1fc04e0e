"""`gyre models import`: weights and adapters from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import GyreCommand, connect

if TYPE_CHECKING:
    from gyre.model_registry.v1.variant_pb2 import Variant

    from gyre_sdk.client import Gyre

ADAPTER_CONFIG = "adapter_config.json"


@click.command("import", cls=GyreCommand)
@click.argument("source", required=False)
@click.option("--from", "hub", metavar="HUB:ORG/NAME", help="Of a hub: modelscope:ORG/NAME or huggingface:ORG/NAME.")
@click.option("--name", help="Model; its next version is made. Of an adapter: its variant. [default: from the source]")
@click.option(
    "--base", default="", metavar="MODEL@VERSION", help="SOURCE is a LoRA adapter that was trained on this one."
)
@click.option("--origin", default="", help="Where the weights come from.")
@click.option("--licence", default="", help="SPDX identifier or the name of the terms.")
@click.option("--revision", default="", help="Commit or tag of the hub's repository.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def import_(
    source: str | None,
    hub: str | None,
    name: str | None,
    base: str,
    origin: str,
    licence: str,
    revision: str,
    wait: bool,
) -> None:
    """Import weights: bundled://smollm2, hf://ID, ms://ID (ModelScope), or your own zip or tar. Never runs their code.

    A folder with adapter_config.json and adapter_model.safetensors becomes an adapter of its base: that of --base, or the
    version that adapter_config.json names. Another folder or a GGUF file of yours goes by `gyre models upload`, which
    goes on where it broke off.

    Examples:
    gyre models import bundled://smollm2
    gyre models import hf://Qwen/Qwen3-0.6B --name qwen
    gyre models import --from modelscope:Qwen/Qwen3-0.6B
    gyre models import ./model.zip --name mine --licence Apache-2.0
    gyre models import ./my-lora --base smollm2@1
    gyre models import hf://maria/polite-lora --base smollm2@1 --name polite
    """
    from gyre_sdk.cli import output, progress

    if (source is None) == (hub is None):
        raise click.UsageError("Name one source, or a hub by --from.")
    source = source or _at_hub(str(hub))
    own_id = name or re.sub(r"[^a-z0-9]+", "-", Path(source.rsplit("/", 1)[-1]).stem.lower()).strip("-")[:63]
    if base or (Path(source) / ADAPTER_CONFIG).is_file():
        if origin or licence:
            raise click.UsageError(
                "An adapter has the origin and licence of its base: leave --origin and --licence out."
            )
        output.show_item(_import_adapter(source, own_id, base, revision, wait))
        return
    with connect() as gyre:
        if "://" not in source:
            source = _upload(gyre, Path(source))
        version = gyre.models.import_as(own_id, source, origin=origin, licence=licence, revision=revision)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                version = gyre.models.wait_version(version.name, on_update=watching)
    output.show_item(version)


def _import_adapter(source: str, variant_id: str, base: str, revision: str, wait: bool) -> Variant:
    """The variant that engines add to the base; without waiting, what was sent."""
    from gyre_sdk.cli import progress

    with connect() as gyre:
        if "://" in source:
            source = f"{source}@{revision}" if revision else source
        elif not (Path(source) / ADAPTER_CONFIG).is_file():
            raise click.UsageError(f"{source} is no folder with {ADAPTER_CONFIG}, and no hub's hf://ID or ms://ID.")
        else:
            with progress.moving_files() as show:
                source = gyre.model_uploads.send(source, variant_id, show).uri
        made: Variant = gyre.models.import_adapter(base, source, variant_id)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                made = gyre.models.wait_adapter(made.name, on_update=watching)
    return made


def _at_hub(given: str) -> str:
    """`ms://ORG/NAME` of `modelscope:ORG/NAME`."""
    hub, _, model = given.partition(":")
    scheme = {"modelscope": "ms", "huggingface": "hf"}.get(hub)
    if scheme is None or model.count("/") != 1:
        raise click.UsageError(f"{given} is neither modelscope:ORG/NAME nor huggingface:ORG/NAME.")
    return f"{scheme}://{model}"


def _upload(gyre: Gyre, file: Path) -> str:
    from gyre_sdk.cli import progress

    if file.is_dir():
        raise click.UsageError(f"{file} is a folder of weights; send it by gyre models upload NAME {file}.")
    if not file.is_file():
        raise click.UsageError(f"{file} is neither a file nor a source such as bundled://smollm2 or hf://ID.")
    with progress.uploading(file) as show:
        uri: str = gyre.datasets.upload(file, show).uri
        return uri
