"""`gyre feedback`: submit, review and batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, made, showing

if TYPE_CHECKING:
    from gyre.feedback.v1.feedback_pb2 import Feedback

RATINGS = ["THUMBS_UP", "THUMBS_DOWN", "NONE"]
COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("STATE", lambda o: o.state()),
    ("RATING", lambda o: o.enum("rating")),
    ("SLICE", lambda o: o.text("slice")),
    ("ANSWER", lambda o: lambda item: item.answer[:60]),
    ("CORRECTION", lambda o: lambda item: item.correction[:60]),
    ("FROM", lambda o: o.text("submitter")),
    ("MODEL", lambda o: o.short("model_version")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]
FORGOTTEN_COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("STATE", lambda o: o.state()),
    ("COMPLETION", lambda o: o.short("completion")),
    ("DATA SETS", lambda o: lambda item: " ".join(o.names.short(name) for name in item.dataset_versions) or "none"),
    ("ID", lambda o: o.short()),
]
BATCH_COLUMNS: Columns = [
    ("#", lambda o: o.text("number")),
    ("STATE", lambda o: o.state()),
    ("PIECES", lambda o: o.text("count")),
    ("CORRECTIONS", lambda o: o.short("sft_version")),
    ("PAIRS", lambda o: o.short("preference_version")),
    ("CREATED", lambda o: o.age()),
    ("ID", lambda o: o.short()),
]


@click.group(cls=GyreGroup)
def feedback() -> None:
    """Submit, review and batch what people say about answers. A piece is named by its id or its short number."""


feedback.add_command(listing("feedback", lambda gyre: gyre.feedback, COLUMNS, "List the feedback, newest first."))
feedback.add_command(
    showing("FEEDBACK", lambda gyre: gyre.feedback, "feedback", "Show one piece, with its conversation.")
)
feedback.add_command(listing("batches", lambda gyre: gyre.batches, BATCH_COLUMNS, "List the batches.", "batches"))


@feedback.command()
def forgotten() -> None:
    """List the feedback whose completion was deleted, and the data set versions that hold rows of it still.

    Those versions do not change: delete them, or make new ones without the rows, where a person asked to be forgotten.
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(gyre.feedback.list(filter="completion_deleted=true"))
    output.show_items("feedback", found, made(FORGOTTEN_COLUMNS))
    versions = {name for item in found for name in item.dataset_versions}
    click.echo(f"Data set versions that hold rows of them: {len(versions)}.", err=True)


@feedback.command()
@click.argument("completion", shell_complete=complete("completions"))
@click.option("--rating", type=click.Choice(RATINGS, case_sensitive=False), default="NONE", show_default=True)
@click.option("--correction", default="", help="What the answer should have been.")
@click.option("--comment", default="")
@click.option("--slice", "slice_", default="", help="Label that its rows get.")
@click.option("--submitter", default="", help="Who says it, if not you.")
def submit(completion: str, rating: str, correction: str, comment: str, slice_: str, submitter: str) -> None:
    """Say something about an answer, by the id of its completion.

    Examples:
    gyre feedback submit chatcmpl-01J… --rating THUMBS_DOWN --correction '{"department":"parks"}'
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        given = {"correction": correction, "comment": comment, "slice": slice_, "submitter": submitter}
        output.show_item(gyre.feedback.submit(completion, rating, **given))


@feedback.command()
@click.argument("pieces", nargs=-1, required=True, shell_complete=complete("feedback"))
@click.option("--edit", default="", help="Correction in place of the given one (one piece).")
@click.option("--slice", "slice_", default="", help="Label in place of the given one.")
def approve(pieces: tuple[str, ...], edit: str, slice_: str) -> None:
    """Claim and approve: its correction will be learnt from.

    Examples:
    gyre feedback approve 12 13 14
    gyre feedback approve 15 --edit '{"department":"parks","urgency":"low"}'
    """
    if edit and len(pieces) > 1:
        raise click.UsageError("--edit is for one piece at a time.")
    with connect() as gyre:
        for piece in pieces:
            name = gyre.feedback.claim(gyre.feedback.find(piece).name).name
            _say(gyre.feedback.approve(name, edit, slice_))


@feedback.command()
@click.argument("pieces", nargs=-1, required=True, shell_complete=complete("feedback"))
@click.option("--reason", default="", help="For the one who gave it.")
def reject(pieces: tuple[str, ...], reason: str) -> None:
    """Claim and reject.

    Examples:
    gyre feedback reject 16 --reason "the answer was right"
    """
    with connect() as gyre:
        for piece in pieces:
            name = gyre.feedback.claim(gyre.feedback.find(piece).name).name
            _say(gyre.feedback.reject(name, reason))


@feedback.command()
@click.argument("pieces", nargs=-1, required=True, shell_complete=complete("feedback"))
def claim(pieces: tuple[str, ...]) -> None:
    """Take pieces into review, so that nobody else does."""
    with connect() as gyre:
        for piece in pieces:
            _say(gyre.feedback.claim(gyre.feedback.find(piece).name))


@feedback.command()
@click.argument("pieces", nargs=-1, required=True, shell_complete=complete("feedback"))
def reopen(pieces: tuple[str, ...]) -> None:
    """Undo a claim or a decision."""
    with connect() as gyre:
        for piece in pieces:
            _say(gyre.feedback.reopen(gyre.feedback.find(piece).name))


@feedback.command()
@click.option("--dataset", required=True, help="Data set X for the corrections; the pairs go to X-preferences.")
@click.option("--wait/--no-wait", default=True, show_default=True)
def batch(dataset: str, wait: bool) -> None:
    """Make data set versions of all approved feedback that no batch has taken.

    Examples:
    gyre feedback batch --dataset hotline-corrections
    """
    from gyre_sdk.cli import output, progress

    with connect() as gyre:
        made = gyre.batches.create(dataset)
        if wait:
            with progress.Watching(progress.by_state) as watching:
                made = gyre.batches.wait(made.name, on_update=watching)
    output.show_item(
        made, f"Learn from it: gyre pipelines start --batch {made.number} --base MODEL --register-as MODEL"
    )


def _say(piece: Feedback) -> None:
    """One line for people, one JSON object for programs."""
    from gyre_sdk.cli import progress
    from gyre_sdk.messages import enum_name

    if OPTIONS.json:
        progress.json_line(piece)
    else:
        click.echo(f"#{piece.number} is {enum_name(piece, 'state')}")
