"""`gyre traces`: find, read and delete what was asked and answered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, made
from gyre_sdk.cli.when import When

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.trace_pb2 import Step, Trace

COLUMNS: Columns = [
    ("BEGAN", lambda o: o.age("start_time")),
    ("QUESTION", lambda o: lambda item: " ".join(item.opening.split())[:60]),
    ("MODEL", lambda o: lambda item: o.short("model_version")(item) or o.short("deployment")(item)),
    ("STEPS", lambda o: lambda item: str(item.completion_count + item.span_count)),
    ("ERRORS", lambda o: lambda item: str(item.error_count or "")),
    ("TOOK", lambda o: lambda item: _took(item.duration_ms)),
    ("TOKENS", lambda o: o.text("total_tokens")),
    ("COST", lambda o: lambda item: o.money(item.cost_microusd)),
    ("ID", lambda o: o.short()),
]
RATINGS = ["THUMBS_UP", "THUMBS_DOWN"]


@click.group(cls=GyreGroup)
def traces() -> None:
    """Find, read and delete what was asked and answered, of a project that keeps it."""


@traces.command("list")
@click.option("-q", "--query", help="Text in questions and answers.")
@click.option("--since", type=When(), help="Began then or later, for example 2026-11-24T14:05.")
@click.option("--until", type=When(), help="Began before then.")
@click.option("--deployment", help="Answered by this deployment.", shell_complete=complete("deployments"))
@click.option("--version", metavar="MODEL@VERSION", help="Answered by this version.", shell_complete=complete("models"))
@click.option("--session", help="Of this session (x-session-id), or its hash.")
@click.option("--key", help="Asked with this key.", shell_complete=complete("keys"))
@click.option("--finish-reason", help="stop, length, tool_calls, upstream_error, …")
@click.option("--errors", is_flag=True, help="Something went wrong.")
@click.option("--over-ms", type=click.IntRange(1), help="An answer took at least so long.")
@click.option("--over-tokens", type=click.IntRange(1), help="It used at least so many tokens.")
@click.option("--prompt", metavar="PROMPT[@VERSION]", help="Made from this prompt.")
@click.option("--rating", type=click.Choice(RATINGS, case_sensitive=False), help="What people said of an answer.")
@click.option(
    "--order-by", help="For example 'total_tokens desc'; start_time, duration_ms, cost_microusd, error_count."
)
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 500), help="At most so many.")
def list_(
    since: datetime | None, until: datetime | None, deployment: str | None, version: str | None, errors: bool,
    over_ms: int | None, over_tokens: int | None, rating: str | None, prompt: str | None, key: str | None,
    limit: int, **plain: Any,
) -> None:  # fmt: skip
    """List traces, newest first. What is asked of an answer has to be true of one and the same.

    Examples:
    gyre traces list --errors --since 2026-11-24
    gyre traces list -q 跳闸 --rating THUMBS_DOWN
    gyre traces list --deployment hotline --over-ms 5000 --order-by "duration_ms desc"
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        wanted: dict[str, Any] = {
            "start_time": since and since.isoformat(),
            "end_time": until and until.isoformat(),
            "deployment": deployment and gyre.deployments.name(deployment),
            "model_version": version and gyre.models.version_name(version),
            "with_error": "true" if errors else None,
            "min_duration_ms": over_ms,
            "min_total_tokens": over_tokens,
            "rating": rating and f"RATING_{rating.upper()}",
            "api_key": key and gyre.keys.find(key).name,
            "prompt": prompt and gyre.prompts.name(prompt.replace("@", "/versions/")),
        }
        page = gyre.traces.page(page_size=limit, **wanted, **plain)
    output.show_items("traces", page.items, made(COLUMNS), page.total_size)


@traces.command()
@click.argument("trace", shell_complete=complete("traces"))
def show(trace: str) -> None:
    """Show one trace as a tree, by its id or by the id of a completion in it.

    Examples:
    gyre traces show chatcmpl-01J…
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.traces.get(trace)
    if OPTIONS.json:
        output.show_item(found)
        return
    click.echo(f"{output.short()(found)}, {output.ago(found.start_time.ToDatetime().astimezone())}")
    for depth, step in tree(found):
        _show_step(step, "  " * depth)


@traces.command()
@click.argument("trace", required=False, shell_complete=complete("traces"))
@click.option("--session", help="All that was kept of a session, by its name or its hash.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(trace: str | None, session: str | None, yes: bool) -> None:
    """Forget a trace, or a whole session, for good. The audit log keeps that it was done.

    Examples:
    gyre traces delete 5b8efff798038103d269b633813fc60c
    gyre traces delete --session mrs-smith
    """
    from gyre_sdk.cli import output

    if bool(trace) == bool(session):
        raise click.UsageError("Give a trace, or --session.")
    if not yes:
        click.confirm(f"Forget {trace or f'all of the session {session}'} for good?", abort=True, err=True)
    with connect() as gyre:
        if session:
            gone = gyre.traces.delete_session(session)
            output.show_item(gone)
            return
        gyre.traces.delete(trace or "")
    click.echo("Forgotten. What data sets hold of it: gyre feedback forgotten", err=True)


def tree(trace: Trace) -> Iterator[tuple[int, Step]]:
    """Steps in the order in which they began, each below its parent, with its depth. One whose parent is not there, or
    that would be its own ancestor, stands at the top.
    """
    below: dict[str, list[Step]] = {}
    known = {step.span_id for step in trace.steps}
    for step in trace.steps:
        below.setdefault(step.parent_span_id if step.parent_span_id in known else "", []).append(step)
    shown: set[str] = set()

    def walk(step: Step, depth: int) -> Iterator[tuple[int, Step]]:
        if step.name in shown:
            return
        shown.add(step.name)
        yield depth, step
        for child in below.get(step.span_id, ()):
            yield from walk(child, depth + 1)

    for step in [*below.get("", ()), *trace.steps]:
        yield from walk(step, 0)


def _show_step(step: Step, indent: str) -> None:
    from gyre_sdk import messages

    kind = messages.enum_name(step, "kind").lower()
    said = [_took(step.duration_ms), step.title]
    if step.HasField("completion"):
        said += [f"{step.completion.usage.total_tokens} tokens", step.completion.finish_reason]
    head = f"{indent}{click.style(kind, bold=True)}  " + ", ".join(part for part in said if part)
    click.echo(head + (click.style(f"  {step.error}", fg="red") if step.error else ""))
    for label, text in _texts(step):
        for number, line in enumerate(text.splitlines()):
            click.echo(f"{indent}  {label if number == 0 else ' ' * len(label)}  {line}")


def _texts(step: Step) -> Iterator[tuple[str, str]]:
    if not step.HasField("completion"):
        yield from (("in ", step.input), ("out", step.output))
        return
    for message in step.completion.messages:
        yield message.role, message.content
        yield from ((f"{message.role} calls", f"{call.name}({call.arguments})") for call in message.tool_calls)
    yield "assistant", step.completion.answer
    yield from (("assistant calls", f"{call.name}({call.arguments})") for call in step.completion.tool_calls)


def _took(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"
