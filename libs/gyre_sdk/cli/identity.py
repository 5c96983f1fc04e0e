"""`gyre projects` and `gyre keys`."""

from __future__ import annotations

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, showing

ROLES = ["VIEWER", "REVIEWER", "ENGINEER", "ADMIN"]
PROJECT_COLUMNS: Columns = [
    ("NAME", lambda o: o.short()),
    ("TITLE", lambda o: o.text("display_name")),
    ("STATE", lambda o: o.state()),
    ("KEEPS COMPLETIONS", lambda o: lambda item: f"yes, by {item.consented_by}" if item.consent_to_keep else "no"),
    ("CREATED", lambda o: o.age()),
]
KEY_COLUMNS: Columns = [
    ("ID", lambda o: o.short()),
    ("TITLE", lambda o: o.text("display_name")),
    ("BEGINS WITH", lambda o: o.text("prefix")),
    ("ROLE", lambda o: o.enum("role")),
    ("STATE", lambda o: o.state()),
    ("PER MINUTE", lambda o: lambda item: str(item.requests_per_minute or "no limit")),
    ("CREATED", lambda o: o.age()),
]


@click.group(cls=GyreGroup)
def projects() -> None:
    """Projects, and whether they keep completions."""


projects.add_command(listing("projects", lambda gyre: gyre.projects, PROJECT_COLUMNS, "List what your key opens."))
projects.add_command(showing("PROJECT", lambda gyre: gyre.projects, "projects", "Show one project."))


@projects.command("create")
@click.argument("name")
@click.option("--title", default="", help="Free text shown to people.")
@click.option(
    "--keep/--no-keep", default=False, show_default=True, help="Keep what is asked and answered, for feedback."
)
def create_project(name: str, title: str, keep: bool) -> None:
    """Make a project.

    Examples:
    gyre projects create city-hall --title "City Hall" --keep
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        project = gyre.projects.create(name, title, keep)
    output.show_item(project, f"Give somebody a key for it: gyre keys create --project {name} --role ENGINEER")


@projects.command()
@click.argument("name", shell_complete=complete("projects"))
@click.option("--title", help="Free text shown to people.")
@click.option("--keep/--no-keep", default=None, help="Keep what is asked and answered, for feedback.")
def update(name: str, title: str | None, keep: bool | None) -> None:
    """Change a project.

    Examples:
    gyre projects update default --keep
    """
    from gyre_sdk.cli import output

    changes = {"display_name": title, "consent_to_keep": keep}
    changes = {key: value for key, value in changes.items() if value is not None}
    if not changes:
        raise click.UsageError("Nothing to change: give --title or --keep/--no-keep.")
    with connect() as gyre:
        output.show_item(gyre.projects.update(name, **changes))


@click.group(cls=GyreGroup)
def keys() -> None:
    """API keys. A key belongs to a project; give it with --project."""


keys.add_command(listing("keys", lambda gyre: gyre.keys, KEY_COLUMNS, "List the keys of a project."))


@keys.command("create")
@click.option("--role", type=click.Choice(ROLES, case_sensitive=False), required=True)
@click.option("--title", default="", help="What it is for.")
@click.option(
    "--per-minute", default=0, type=click.IntRange(0), help="Requests a minute to the OpenAI endpoint; 0: no limit."
)
def create_key(role: str, title: str, per_minute: int) -> None:
    """Make a key. It is shown once, on stdout, and never again.

    Examples:
    gyre keys create --role ENGINEER --title "my laptop"
    export GYRE_API_KEY=$(gyre keys create --role VIEWER --title app)
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        key = gyre.keys.create(role, title, per_minute)
    if OPTIONS.json:
        output.show_item(key)
        return
    click.echo(key.secret)
    click.echo(
        f"Keep it: it is not shown again. Revoke it with: gyre keys revoke {key.name.rsplit('/', 1)[-1]}", err=True
    )


@keys.command()
@click.argument("key", shell_complete=complete("keys"))
def revoke(key: str) -> None:
    """Revoke a key, at once.

    Examples:
    gyre keys revoke 01JABC…
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        output.show_item(gyre.keys.revoke(key))


@keys.command()
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1))
def audit(limit: int) -> None:
    """Who changed what, newest first."""
    from itertools import islice

    from gyre_sdk.cli import output

    with connect() as gyre:
        found = list(islice(gyre.keys.audit(), limit))
    columns = [("WHEN", output.age()), ("WHO", output.text("actor")), ("DID", output.text("action"))]
    output.show_items(
        "audit_entries", found, [*columns, ("TO", output.text("resource")), ("OUTCOME", output.enum("outcome"))]
    )
