"""`gyre datasets`: import, inspect and delete data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, made, showing

if TYPE_CHECKING:
    from gyre.dataset.v1.version_pb2 import Version

    from gyre_sdk.client import Gyre

TYPES = ["SFT", "PREFERENCE", "EVALUATION", "PROMPT"]
SHOWN_REJECTS = 10
COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("TYPE", lambda o: o.enum("type")),
    ("ROWS", lambda o: o.text("row_count")),
    ("SIZE", lambda o: o.bytes_of()),
    ("NEWEST", lambda o: o.short("latest_version")),
    ("STATUS", lambda o: lambda item: o.coloured(item.latest_version_state or "EMPTY")),
    ("LICENCE", lambda o: o.text("licence")),
    ("CREATED", lambda o: o.age()),
    ("UPDATED", lambda o: o.age("update_time")),
]
VERSION_COLUMNS: Columns = [
    ("VERSION", lambda o: o.short()),
    ("STATE", lambda o: o.state()),
    ("TRAIN", lambda o: o.text("train_count")),
    ("TEST", lambda o: o.text("test_count")),
    ("REFUSED", lambda o: o.text("refused_count")),
    ("SIZE", lambda o: o.bytes_of()),
    ("DIGEST", lambda o: lambda item: item.digest[:19]),
    ("CREATED", lambda o: o.age()),
]


@click.group(cls=GyreGroup)
def datasets() -> None:
    """Import, inspect and delete data.

    `hotline` means the newest version of a data set that is ready, `hotline@3` its version 3.
    """


datasets.add_command(listing("datasets", lambda gyre: gyre.datasets, COLUMNS, "List the data sets."))
datasets.add_command(showing("DATASET", lambda gyre: gyre.datasets, "datasets", "Show one data set."))


@datasets.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Data set; its next version is made. [default: from the file's name]")
@click.option("--type", "type_", type=click.Choice(TYPES, case_sensitive=False), default="SFT", show_default=True)
@click.option("--origin", default="", help="Where the rows come from.")
@click.option("--licence", default="", help="SPDX identifier or the name of the terms.")
@click.option("--language", default="", help="BCP 47 tag, for example zh.")
@click.option("--test-fraction", type=click.FloatRange(0, 1, max_open=True), help="Share held out. [default 0.2]")
@click.option("--holdout", multiple=True, metavar="SLICE=ROWS", help="Held-out rows of one slice; repeat it.")
@click.option("--seed", default=0, show_default=True, type=int, help="Of the split.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the version is ready.")
def import_(
    file: Path,
    name: str | None,
    type_: str,
    origin: str,
    licence: str,
    language: str,
    test_fraction: float | None,
    holdout: tuple[str, ...],
    seed: int,
    wait: bool,
) -> None:
    """Upload a file (JSONL, JSON, CSV, Parquet), check each row, split it, and keep it as the next version.

    Alpaca, ShareGPT, messages, prompt/completion and chosen/rejected rows are told apart row by row.

    Examples:
    gyre datasets import hotline.jsonl --licence CC0-1.0 --origin "written for Gyre"
    gyre datasets import pairs.jsonl --type PREFERENCE --test-fraction 0.1
    gyre datasets import rows.csv --name hotline --holdout parks=60
    """
    from gyre_sdk.cli import output, progress
    from gyre_sdk.resources.data import holdouts

    split = holdouts(_parse_holdouts(holdout), test_fraction, seed)
    dataset_id = name or _slug(file)
    with connect() as gyre, progress.uploading(file) as show:
        version = gyre.datasets.import_file(
            file, dataset_id, type_, origin=origin, licence=licence, language=language, split=split, on_progress=show
        )
    if wait:
        with connect() as gyre, progress.Watching(progress.by_state) as watching:
            version = gyre.datasets.wait_version(version.name, on_update=watching)
    if OPTIONS.json or not wait:
        output.show_item(version)
    else:
        with connect() as gyre:
            _report(gyre, version)


def _report(gyre: Gyre, version: Version) -> None:
    """What was taken, what was refused and why, and what can be done next."""
    from itertools import islice

    from gyre_sdk import names
    from gyre_sdk.cli import output

    reference = names.short(version.name)
    click.secho(
        f"{reference} is ready: {version.train_count} rows to train on, {version.test_count} held out.", fg="green"
    )
    if version.refused_count:
        click.echo(f"{version.refused_count} rows were refused ({version.duplicate_count} exact duplicates):")
        _show_rejects(islice(gyre.datasets.rejects(version.name), SHOWN_REJECTS))
        if version.refused_count > SHOWN_REJECTS:
            click.echo(f"All of them: gyre datasets rejects {reference}")
    click.echo(f"{output.size(version.size_bytes)}, {version.digest}")
    click.echo(f"Next: gyre runs start --data {reference} --base MODEL")


def _show_rejects(rejects: object) -> None:
    from gyre_sdk.cli import output

    rows = [[str(r.line), r.field, r.reason, r.remedy, r.excerpt[:60]] for r in rejects]  # type: ignore[attr-defined]
    output.show_table(["LINE", "FIELD", "REASON", "WHAT TO DO", "ROW"], rows)


@datasets.command()
@click.argument("dataset", default="-", shell_complete=complete("datasets"))
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1))
def versions(dataset: str, limit: int) -> None:
    """List the versions of a data set, or of all.

    Examples:
    gyre datasets versions hotline
    """
    from itertools import islice

    from gyre_sdk.cli import output

    with connect() as gyre:
        items = list(islice(gyre.datasets.versions(dataset), limit))
    output.show_items("versions", items, made(VERSION_COLUMNS))


@datasets.command()
@click.argument("version", shell_complete=complete("datasets"))
@click.option("--split", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default=None)
@click.option("--slice", "slice_", default="", help="Only rows of this slice.")
@click.option("-q", "--query", default="", help="Text to find.")
@click.option("-n", "--limit", default=10, show_default=True, type=click.IntRange(1))
def rows(version: str, split: str | None, slice_: str, query: str, limit: int) -> None:
    """Show accepted rows.

    Examples:
    gyre datasets rows hotline@1 --split TEST -q "street light"
    """
    from itertools import islice

    from gyre_sdk import messages
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(islice(gyre.datasets.rows(version, split=split or "", slice=slice_, query=query), limit))
    if OPTIONS.json:
        output.show_json({"rows": [messages.to_json(row) for row in found]})
        return
    for row in found:
        click.secho(f"{row.source_line} {messages.enum_name(row, 'split')} {row.slice}", dim=True)
        for role, turns in (
            ("", row.messages),
            ("prompt ", row.prompt),
            ("chosen ", row.chosen),
            ("rejected ", row.rejected),
        ):
            for turn in turns:
                click.echo(f"  {click.style(role + turn.role, bold=True)}: {turn.content}")


@datasets.command()
@click.argument("version", shell_complete=complete("datasets"))
def rejects(version: str) -> None:
    """Show refused rows: line, field, reason and what to do.

    Examples:
    gyre datasets rejects hotline@1
    """
    from gyre_sdk.cli import output
    from gyre_sdk.messages import to_json

    with connect() as gyre:
        found = list(gyre.datasets.rejects(version))
    if OPTIONS.json:
        output.show_json({"rejects": [to_json(reject) for reject in found]})
    else:
        _show_rejects(found)


@datasets.command()
@click.argument("dataset", shell_complete=complete("datasets"))
@click.option("--title", help="Free text shown to people.")
@click.option("--description", help="Free text shown to people.")
@click.option("--origin", help="Where the rows come from.")
@click.option("--licence", help="SPDX identifier or the name of the terms.")
@click.option("--language", help="BCP 47 tag of the rows' main language.")
def update(dataset: str, **changes: str | None) -> None:
    """Change what is said of a data set. Versions that had its licence or origin follow; their rows stay as they are.

    Examples:
    gyre datasets update hotline --licence CC-BY-4.0
    """
    from gyre_sdk.cli import output

    changes["display_name"] = changes.pop("title")
    with connect() as gyre:
        output.show_item(gyre.datasets.update(dataset, **{key: it for key, it in changes.items() if it is not None}))


@datasets.command()
@click.argument("name", metavar="DATASET[@VERSION]", shell_complete=complete("datasets"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a data set, or one version of it. Refused while something needs it; kept for seven days.

    Examples:
    gyre datasets delete hotline@1
    """
    if not yes:
        click.confirm(f"Delete {name}?", abort=True, err=True)
    with connect() as gyre:
        if "@" in name or "/versions/" in name:
            gyre.datasets.delete_version(name)
        else:
            gyre.datasets.delete(name)
    click.echo(f"{name} is deleted.", err=True)


def _parse_holdouts(given: tuple[str, ...]) -> dict[str, int]:
    settings = {}
    for term in given:
        name, _, count = term.rpartition("=")
        if not name or not count.isdigit():
            raise click.UsageError(f"--holdout wants SLICE=ROWS, for instance parks=60, not {term!r}.")
        settings[name] = int(count)
    return settings


def _slug(file: Path) -> str:
    """`Alpaca_en demo.json` → `alpaca-en-demo`."""
    slug = re.sub(r"[^a-z0-9]+", "-", file.name.split(".")[0].lower()).strip("-")[:63].strip("-")
    if not slug:
        raise click.UsageError(f"No data set name can be made of {file.name!r}; give one with --name.")
    return slug
