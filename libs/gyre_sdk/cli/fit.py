"""`gyre models fit`: which of several models fits one's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreCommand, complete, connect

if TYPE_CHECKING:
    from gyre_sdk.client import Gyre

MOST_ROWS = 200
TAKEN = "SUITE_EXISTS"


@click.command(cls=GyreCommand)
@click.option("--models", required=True, metavar="MODEL[@VERSION],…", help="Two or more of the registry, by commas.")
@click.option("--dataset", metavar="DATASET[@VERSION]", shell_complete=complete("datasets"), help="Its held-out rows.")
@click.option(
    "--rows",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of conversations instead; it becomes a data set.",
)
@click.option("--suite", shell_complete=complete("suites"), help="A suite that is there, with its way to score.")
@click.option("--metric", type=click.Choice(["exact", "valid_json", "text"]), default="text", show_default=True)
@click.option("--quantisation", default="Q8_0", show_default=True, help="How each is served while it is measured.")
@click.option("--margin", type=click.FloatRange(0, 100), default=5.0, show_default=True, help="Points below the best.")
@click.option("--max-tokens", default=128, show_default=True, type=click.IntRange(1), help="Of an answer.")
@click.option("--queue", default="", help="Queue that the measuring waits in.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def fit(
    models: str, dataset: str | None, rows: Path | None, suite: str | None, metric: str, quantisation: str,
    margin: float, max_tokens: int, queue: str, wait: bool,
) -> None:  # fmt: skip
    """Measure several models on your rows (200 at most), and recommend the cheapest that is about as good as the best.

    Examples:
    gyre models fit --rows my_50_rows.jsonl --models smollm2,qwen3-0.6b
    gyre models fit --dataset hotline@1 --models smollm2@1,smollm2-tuned --margin 2
    gyre models fit --suite hotline --metric exact --models smollm2,qwen3-0.6b
    """
    from gyre_sdk.cli import output, progress
    from gyre_sdk.cli.compare import line, share, show

    if sum(given is not None for given in (dataset, rows, suite)) != 1:
        raise click.UsageError("Give one of --dataset, --rows and --suite.")
    with connect() as gyre:
        versions = [gyre.models.version_name(each.strip()) for each in models.split(",") if each.strip()]
        measured_on = gyre.suites.name(suite) if suite else _suite(gyre, _data(gyre, dataset, rows), max_tokens)
        comparison = gyre.comparisons.create_of_models(
            versions, measured_on, quantisations=[quantisation], metric=metric, margin=margin / 100, queue=queue
        )
        if wait:
            with progress.Watching(line, share) as watching:
                comparison = gyre.comparisons.wait(comparison.name, on_update=watching)
    if OPTIONS.json or not wait:
        output.show_item(comparison)
    else:
        show(comparison)


def _data(gyre: Gyre, dataset: str | None, rows: Path | None) -> str:
    """A version with held-out rows."""
    if rows is None:
        return gyre.datasets.version_name(dataset or "")
    version = gyre.datasets.import_file(rows, f"fit-{_slug(rows.stem)}", "EVALUATION", origin="given to models fit")
    return gyre.datasets.wait_version(version.name).name


def _suite(gyre: Gyre, version: str, max_tokens: int) -> str:
    """The suite of this version and length, made if it is missing."""
    from gyre_sdk.errors import GyreError

    data, number = version.split("/")[3:6:2]
    name = f"{data[:40]}-{number}-fit-{max_tokens}"
    try:
        return gyre.suites.create(name, version, max_tokens=max_tokens, max_rows=MOST_ROWS).name
    except GyreError as error:
        if error.reason != TAKEN:
            raise
        return gyre.suites.name(name)


def _slug(text: str) -> str:
    return (
        "".join(each if each.isascii() and each.isalnum() else "-" for each in text.lower()).strip("-")[:40] or "rows"
    )
