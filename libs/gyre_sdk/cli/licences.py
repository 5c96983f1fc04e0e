"""`gyre licences`: what data and bases ask of everything made from them, and what is refused to be deployed."""

from __future__ import annotations

from typing import Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect

TERMS = ["non_commercial", "attribution", "naming", "share_alike", "no_training_of_rivals", "field_of_use"]


@click.group(cls=GyreGroup)
def licences() -> None:
    """Terms that models inherit from their data and bases, and the policy of what may be deployed."""


@licences.command()
@click.argument("reference", metavar="MODEL[@VERSION][:VARIANT]", shell_complete=complete("models"))
def terms(reference: str) -> None:
    """Show the terms of a model, with the ancestor that each comes from. Also of a data set version by its whole name.

    Examples:
    gyre licences terms hotline-bot@2
    gyre licences terms projects/default/datasets/hotline/versions/1
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        name = reference if reference.startswith("projects/") else gyre.models.reference_name(reference)
        found = gyre.licences.terms(name)
    if OPTIONS.json:
        output.show_item(found)
    else:
        _show_terms(found)


def _show_terms(found: Any) -> None:
    from gyre_sdk import messages, names
    from gyre_sdk.cli import output

    output.show_pairs([("of", names.short(found.name)), ("licence", found.licence or "not stated")])
    rows = [
        (messages.enum_name(term, "term"), names.short(term.because_of), term.licence, term.summary)
        for term in found.terms
    ]
    rows += [("UNKNOWN", names.short(each.name), each.licence or "not stated", "") for each in found.unknown]
    if rows:
        click.echo()
        output.show_table(["TERM", "BECAUSE OF", "UNDER", "WHICH SAYS"], rows)
    for refusal in found.refusals:
        click.echo(f"\nMay not be deployed: {refusal.message}")


@licences.command()
@click.option(
    "--refuse",
    multiple=True,
    type=click.Choice(TERMS, case_sensitive=False),
    help="Refuse to deploy what stands under this term; the terms given replace those of before.",
)
@click.option("--refuse-nothing", is_flag=True, help="Refuse no term any more.")
@click.option(
    "--refuse-unknown/--allow-unknown", default=None, help="Whether what has an ancestor of unknown licence is refused."
)
def policy(refuse: tuple[str, ...], refuse_nothing: bool, refuse_unknown: bool | None) -> None:
    """Show what the project refuses to deploy, or change it. What serves already goes on. Administrators change it.

    Examples:
    gyre licences policy
    gyre licences policy --refuse non_commercial --refuse no_training_of_rivals
    gyre licences policy --refuse-nothing --allow-unknown
    """
    from gyre_sdk.cli import output

    if refuse and refuse_nothing:
        raise click.UsageError("Give either --refuse or --refuse-nothing.")
    terms = list(refuse) if refuse or refuse_nothing else None
    with connect() as gyre:
        if terms is None and refuse_unknown is None:
            found = gyre.licences.policy()
        else:
            found = gyre.licences.update_policy(terms, refuse_unknown)
    refused = ", ".join(_names(found)) or "no term"
    note = f"Refuses {refused}; what is of unknown licence is {'refused' if found.refuse_unknown else 'allowed'}."
    output.show_item(found, note)


def _names(policy: Any) -> list[str]:
    from gyre.model_registry.v1.licence_pb2 import Term

    return [Term.Name(term).removeprefix("TERM_") for term in policy.refuse_terms]
