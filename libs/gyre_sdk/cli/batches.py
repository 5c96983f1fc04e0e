"""`gyre batches`: a deployment asked about a whole data set version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.inference_batch_pb2 import InferenceBatch

    from gyre_sdk.client import Gyre

COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("STATE", lambda o: o.state()),
    ("MODEL", lambda o: o.text("model")),
    ("SOURCE", lambda o: lambda item: o.names.short(item.source_version) if item.source_version else item.input_file),
    ("DONE", lambda o: lambda item: f"{item.completed_count + item.failed_count}/{item.total_count or '?'}"),
    ("FAILED", lambda o: o.text("failed_count")),
    ("RESULT", lambda o: o.short("result_version")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def batches() -> None:
    """Ask a deployment about every row of a data set version. A batch is named by its id or its short number."""


batches.add_command(
    listing("inference_batches", lambda gyre: gyre.inference_batches, COLUMNS, "List the batches, newest first.")
)
batches.add_command(showing("BATCH", lambda gyre: gyre.inference_batches, "inference_batches", "Show one batch."))


@batches.command()
@click.option("--dataset", required=True, metavar="DATASET[@VERSION]", shell_complete=complete("datasets"))
@click.option("--model", required=True, help="Deployment that answers.", shell_complete=complete("deployments"))
@click.option("--system", default="", help="System message before each row.")
@click.option(
    "--max-tokens", default=0, type=click.IntRange(0), help="Longest answer. [default: as the engine decides]"
)
@click.option("--temperature", type=click.FloatRange(0, 2), help="[default: as the engine decides]")
@click.option("--into", default="", metavar="DATASET", help="Data set of the answers. [default: DATASET-answers]")
@click.option("--hours", default=24.0, show_default=True, type=click.FloatRange(1, 720), help="When it gives up.")
@click.option("--title", default="", help="Free text shown to people.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def create(
    dataset: str, model: str, system: str, max_tokens: int, temperature: float | None, into: str, hours: float,
    title: str, wait: bool,
) -> None:  # fmt: skip
    """Answer every row; the answers become a data set version. It works when nobody else needs the engine.

    Examples:
    gyre batches create --dataset hotline@3 --model hotline
    gyre batches create --dataset hotline --model hotline --system "Answer in one word." --max-tokens 8 --into words
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        batch = gyre.inference_batches.create(
            gyre.datasets.version_name(dataset),
            model,
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            result_dataset=into,
            hours=hours,
            display_name=title,
        )
        batch = _until_ended(gyre, batch) if wait else batch
    output.show_item(batch, _next(batch))


@batches.command()
@click.argument("batch", shell_complete=complete("inference_batches"))
def wait(batch: str) -> None:
    """Stay until a batch has ended. Exit code 0 only if it completed; Ctrl-C leaves it running.

    Examples:
    gyre batches wait 7
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        ended = _until_ended(gyre, gyre.inference_batches.find(batch))
    output.show_item(ended, _next(ended))


@batches.command()
@click.argument("batch", shell_complete=complete("inference_batches"))
def cancel(batch: str) -> None:
    """Ask nothing more. What was answered before stays in its output file.

    Examples:
    gyre batches cancel 7
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.inference_batches.cancel(gyre.inference_batches.find(batch).name))


def _until_ended(gyre: Gyre, batch: InferenceBatch) -> InferenceBatch:
    from gyre_sdk.cli import progress

    with progress.Watching(_line, _share) as watching:
        return gyre.inference_batches.wait(batch.name, on_update=watching)


def _line(batch: InferenceBatch) -> str:
    """`batch #3 IN_PROGRESS · 120/500 answered · 2 failed`."""
    from gyre_sdk.messages import enum_name

    parts = [f"batch #{batch.number} {enum_name(batch, 'state')}"]
    if batch.total_count:
        parts.append(f"{batch.completed_count}/{batch.total_count} answered")
    if batch.failed_count:
        parts.append(f"{batch.failed_count} failed")
    return " · ".join(parts)


def _share(batch: InferenceBatch) -> float | None:
    return (batch.completed_count + batch.failed_count) / batch.total_count if batch.total_count else None


def _next(batch: InferenceBatch) -> str:
    from gyre_sdk import names

    if batch.result_version:
        return f"Read the answers: gyre datasets rows {names.short(batch.result_version)}"
    return f"Follow it: gyre batches wait {batch.number}"
