"""`gyre projects` and `gyre keys`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from gyre_sdk.cli import limits
from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, made, showing
from gyre_sdk.cli.when import When

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
    ("LIMITS", lambda o: limits.said),
    ("EXPIRES", lambda o: lambda item: _day(item)),
    ("CREATED", lambda o: o.age()),
]
SPENDING_COLUMNS: Columns = [
    ("OF", lambda o: lambda item: "all keys" if "/keys/" not in item.name else item.name.rsplit("/", 1)[-1]),
    ("REQUESTS", lambda o: lambda item: f"{item.request_count:,}"),
    ("TOKENS", lambda o: lambda item: f"{item.tokens:,}"),
    ("COST", lambda o: lambda item: o.money(item.cost_microusd)),
    ("BUDGET", lambda o: lambda item: _budget(o, item)),
    ("USED", lambda o: lambda item: _used(item)),
    ("RUNNING", lambda o: lambda item: str(item.running_request_count)),
    ("COUNTS UNTIL", lambda o: lambda item: _day(item, "period_end_time", "")),
]

SENT_OUT_COLUMNS: Columns = [
    ("TO", lambda o: o.text("upstream")),
    ("REGION", lambda o: lambda item: item.region or "unknown"),
    ("PROMPTS", lambda o: lambda item: f"{item.prompt_count:,}"),
    ("LAST", lambda o: o.age("last_time")),
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
@click.option("--regions", metavar="eu,us", help="Where rented engines may compute; 'any', or 'none': own hardware.")
@click.option(
    "--personal-data/--no-personal-data", default=None, help="Keep it unredacted, or with marks like [email]."
)
@click.option("--retention-days", type=click.IntRange(0, 36_500), help="Forget it after so many days; 0: never.")
@limits.limit_options
def update(
    name: str,
    title: str | None,
    keep: bool | None,
    regions: str | None,
    personal_data: bool | None,
    retention_days: int | None,
    **given: Any,
) -> None:
    """Change a project. Limits and budget are for all its keys together.

    Examples:
    gyre projects update default --keep --retention-days 90
    gyre projects update default --budget-usd 200 --budget-per month
    gyre projects update default --regions eu
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        said: dict[str, Any] = {"display_name": title, "consent_to_keep": keep, "keep_personal_data": personal_data}
        said["retention_days"] = retention_days
        said["regions"] = None if regions is None else _regions(regions)
        changes = _changes(given, lambda: gyre.projects.get(name).limits, **said)
        output.show_item(gyre.projects.update(name, **changes))


@click.group(cls=GyreGroup)
def keys() -> None:
    """API keys. A key belongs to a project; give it with --project."""


keys.add_command(listing("keys", lambda gyre: gyre.keys, KEY_COLUMNS, "List the keys of a project."))


@keys.command("create")
@click.option("--role", type=click.Choice(ROLES, case_sensitive=False), required=True)
@click.option("--title", default="", help="What it is for.")
@click.option("--expires", type=When(), help="It opens nothing from then on, for example 2027-01-31.")
@limits.limit_options
def create_key(role: str, title: str, expires: datetime | None, **given: Any) -> None:
    """Make a key. It is shown once, on stdout, and never again.

    Examples:
    gyre keys create --role ENGINEER --title "my laptop"
    export GYRE_API_KEY=$(gyre keys create --role VIEWER --title app)
    gyre keys create --role VIEWER --title intern --budget-usd 20 --tokens-per-minute 60000 --expires 2027-01-31
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        key = gyre.keys.create(role, title, given["per_minute"] or 0, limits.limits_of(given), expires)
    if OPTIONS.json:
        output.show_item(key)
        return
    click.echo(key.secret)
    click.echo(
        f"Keep it: it is not shown again. Revoke it with: gyre keys revoke {key.name.rsplit('/', 1)[-1]}", err=True
    )


@keys.command("update")
@click.argument("key", shell_complete=complete("keys"))
@click.option("--title", help="What it is for.")
@click.option("--expires", type=When(), help="It opens nothing from then on.")
@limits.limit_options
def update_key(key: str, title: str | None, expires: datetime | None, **given: Any) -> None:
    """Change a key's limits, budget or end. What is not given stays as it is.

    Examples:
    gyre keys update 01JABC… --budget-usd 50
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        changes = _changes(
            given,
            lambda: gyre.keys.get(key).limits,
            display_name=title,
            expire_time=expires.isoformat() if expires else None,
        )
        output.show_item(gyre.keys.update(key, **changes))


@keys.command()
def spending() -> None:
    """What was used of budgets in their present period, by the project and by each key."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.keys.spending()
    output.show_items("spending", [found.project, *found.keys], made(SPENDING_COLUMNS))


@keys.command("sent-out")
def sent_out() -> None:
    """How many prompts left own hardware, to which rented engine or guardrail hook, and region."""
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.keys.spending()
    output.show_items("prompts_sent_out", found.sent_out, made(SENT_OUT_COLUMNS))


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


def _changes(given: dict[str, Any], present: Callable[[], Any], **others: Any) -> dict[str, Any]:
    """What a PATCH says; `present` is asked for the limits of now, of which those that are not given stay."""
    from gyre_sdk import messages

    changes = {**others, "requests_per_minute": given["per_minute"]}
    if limits.limits_of(given) and (changed := limits.limits_of(given, present())):
        changes["limits"] = messages.to_json(changed)
    changes = {key: value for key, value in changes.items() if value is not None}
    if not changes:
        raise click.UsageError("Nothing to change: give one of the options.")
    return changes


def _regions(given: str) -> list[str]:
    return {"any": ["*"], "none": []}.get(given) or [
        part.strip() for part in given.split(",") if part.strip() != "none"
    ]


def _budget(output: Any, item: Any) -> str:
    money = output.money(item.budget_microusd) if item.budget_microusd else ""
    tokens = f"{item.budget_tokens:,} tokens" if item.budget_tokens else ""
    return ", ".join(part for part in (money, tokens) if part)


def _used(item: Any) -> str:
    """Of the budget that is nearer to its end."""
    pairs = (item.cost_microusd, item.budget_microusd), (item.tokens, item.budget_tokens)
    shares = [used / budget for used, budget in pairs if budget]
    return f"{max(shares):.0%}" if shares else ""


def _day(item: Any, field: str = "expire_time", never: str = "never") -> str:
    return f"{getattr(item, field).ToDatetime():%Y-%m-%d}" if item.HasField(field) else never
