"""`gyre prompts`: prompts with versions. `gyre policy`: guardrails and the exact cache."""

from __future__ import annotations

import difflib
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gyre_sdk.cli.base import OPTIONS, GyreGroup, complete, connect
from gyre_sdk.cli.commands import Columns, listing, made
from gyre_sdk.cli.when import When

if TYPE_CHECKING:
    from gyre.inference_gateway.v1.prompt_pb2 import Prompt, PromptVersion
    from gyre.inference_gateway.v1.traffic_policy_pb2 import TrafficPolicy

COLUMNS: Columns = [
    ("PROMPT", lambda o: o.short()),
    ("NAME", lambda o: o.text("display_name")),
    ("NEWEST", lambda o: o.text("newest_version")),
    ("LABELS", lambda o: lambda item: ", ".join(f"{label} → {at}" for label, at in sorted(item.labels.items()))),
    ("CHANGED", lambda o: o.age("update_time")),
]
FINDING_COLUMNS: Columns = [
    ("FOUND", lambda o: o.text("what")),
    ("DONE", lambda o: o.text("action")),
    ("TIMES", lambda o: o.text("count")),
    ("LAST", lambda o: o.age("last_time")),
]
FILE_FIELDS = ("display_name", "system", "messages", "parameters")
MODES = {"off": "MODE_OFF", "on-request": "MODE_ON_REQUEST", "always": "MODE_ALWAYS"}


@click.group(cls=GyreGroup)
def prompts() -> None:
    """Prompts with versions, which requests name instead of spelling them out."""


prompts.add_command(
    listing(
        "prompts", lambda gyre: gyre.prompts, COLUMNS, "List prompts, newest first.\n\nExamples:\ngyre prompts list"
    )
)


@prompts.command()
@click.argument("prompt", metavar="PROMPT[@VERSION]", shell_complete=complete("prompts"))
@click.option("--diff", metavar="VERSION", help="What changed since this version or label.")
def show(prompt: str, diff: str | None) -> None:
    """Show a prompt's labels, and one version of it: the one that `production` leads to, else the newest.

    Examples:
    gyre prompts show triage
    gyre prompts show triage@3 --diff production
    """
    from gyre_sdk.cli import output

    name, _, wanted = prompt.partition("@")
    with connect() as gyre:
        known = gyre.prompts.get(name)
        version = gyre.prompts.version(
            name, _number(known, wanted or ("production" if known.labels.get("production") else ""))
        )
        other = gyre.prompts.version(name, _number(known, diff)) if diff else None
    if OPTIONS.json:
        output.show_item(version)
    elif other is not None:
        _show_diff(other, version)
    else:
        _show_version(known, version)


@prompts.command()
@click.argument("prompt", shell_complete=complete("prompts"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-m", "--comment", default="", help="What changed, for people.")
@click.option("--label", default="", help="Move this label to it at once, for example production.")
def push(prompt: str, file: Path, comment: str, label: str) -> None:
    """Make a version of a prompt, and the prompt if there is none. FILE is JSON with `messages` (or `system` alone),
    `parameters` and `display_name`. The newest content once more makes no version.

    Examples:
    gyre prompts push triage triage.json -m "asks for the address first"
    gyre prompts push triage triage.json --label production
    """
    from gyre_sdk.cli import output

    said = _read(file)
    messages = [{"role": "system", "content": said["system"]}] if said.get("system") else []
    with connect() as gyre:
        version = gyre.prompts.push(
            prompt,
            [*messages, *said.get("messages", ())],
            said.get("parameters"),
            comment=comment,
            label=label,
            display_name=said.get("display_name", ""),
        )
    names = ", ".join(version.variables) or "no variables"
    output.show_item(version, f"{output.short()(version)} ({names}).")


@prompts.command("label")
@click.argument("prompt", shell_complete=complete("prompts"))
@click.argument("label")
@click.argument("version", type=click.IntRange(0))
def label_(prompt: str, label: str, version: int) -> None:
    """Move a label to a version; 0 takes it away. Requests that name the label, or nothing (production), follow at once.

    Examples:
    gyre prompts label triage production 3
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        moved = gyre.prompts.label(prompt, label, version)
    output.show_item(moved, f"{label} leads to {version}." if version else f"{label} is gone.")


@prompts.command()
@click.argument("prompt", shell_complete=complete("prompts"))
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(prompt: str, yes: bool) -> None:
    """Delete a prompt with all its versions. Requests that name it are refused from then on.

    Examples:
    gyre prompts delete triage
    """
    if not yes:
        click.confirm(f"Delete {prompt} with all its versions, for good?", abort=True, err=True)
    with connect() as gyre:
        gyre.prompts.delete(prompt)
    click.echo(f"{prompt} is deleted.", err=True)


@click.group(cls=GyreGroup)
def policy() -> None:
    """Guardrails and the exact cache of a project. All of it is off until somebody turns it on."""


@policy.command("show")
def show_policy() -> None:
    """Show what the project wants done to its traffic.

    Examples:
    gyre policy show
    """
    with connect() as gyre:
        _show_policy(gyre.traffic_policies.of_project())


@policy.command("findings")
@click.option("--since", type=When(), help="From the hour of this time on; without it, of the last 24 hours.")
def show_findings(since: datetime | None) -> None:
    """Show what guardrails found and what the exact cache did: counts alone, also where no text is kept.

    Examples:
    gyre policy findings --since 2026-11-24
    """
    from gyre_sdk.cli import output

    with connect() as gyre:
        found = gyre.traffic_policies.findings(since.isoformat() if since else "")
    output.show_items("findings", list(found.findings), made(FINDING_COLUMNS))


@policy.command("set")
@click.option("--prompt-data", type=click.Choice(["allow", "mark", "refuse"]), help="Personal data in prompts.")
@click.option("--answer-data", type=click.Choice(["allow", "mark"]), help="Personal data in answers.")
@click.option(
    "--injection", type=click.Choice(["allow", "flag", "refuse"]), help="Signs of prompt injection in results."
)
@click.option("--hook", help="URL that is asked; '' for none.")
@click.option("--hook-when", type=click.Choice(["before", "after", "both"]), default="before", show_default=True)
@click.option("--hook-seconds", type=click.FloatRange(0.01, 30), default=1.0, show_default=True)
@click.option("--hook-fails", type=click.Choice(["open", "closed"]), default="closed", show_default=True)
@click.option("--hook-region", default="", help="Where a hook computes that is not own hardware, for example eu.")
@click.option("--cache", type=click.Choice(list(MODES)), help="Give the same answer again to the very same request.")
@click.option("--cache-seconds", type=click.IntRange(1), default=3600, show_default=True)
@click.option("--cache-for", multiple=True, metavar="DEPLOYMENT", help="Only of these; without it, of all.")
@click.option("--cache-billed", is_flag=True, help="Answers from the cache cost what the engine's would.")
def set_policy(
    hook: str | None, hook_when: str, hook_seconds: float, hook_fails: str, hook_region: str, cache: str | None,
    cache_seconds: int, cache_for: tuple[str, ...], cache_billed: bool, **actions: str | None,
) -> None:  # fmt: skip
    """Change what the project wants done to its traffic; what is not named stays. For administrators.

    Examples:
    gyre policy set --prompt-data mark --answer-data mark --injection flag
    gyre policy set --hook http://127.0.0.1:9000/judge --hook-when both --hook-fails open
    gyre policy set --cache on-request --cache-for hotline
    """
    changes: dict[str, Any] = {name: f"ACTION_{value.upper()}" for name, value in actions.items() if value}
    if hook is not None:
        changes["hook"] = {
            "url": hook,
            "timeout": f"{hook_seconds:g}s",
            "fails_open": hook_fails == "open",
            "region": hook_region,
            "before": hook_when != "after",
            "after": hook_when != "before",
        }
    if cache is not None:
        kept = {"ttl": f"{cache_seconds}s", "deployments": list(cache_for), "billed": cache_billed}
        changes["cache"] = {"mode": MODES[cache]} | kept
    if not changes:
        raise click.UsageError("Say what to change, for example --prompt-data mark.")
    with connect() as gyre:
        _show_policy(gyre.traffic_policies.update(**changes))


def _number(prompt: Prompt, wanted: str) -> int:
    if not wanted:
        return prompt.newest_version
    if wanted in prompt.labels:
        return prompt.labels[wanted]
    if not wanted.isdecimal():
        raise click.UsageError(f"There is no label {wanted!r}; there are {', '.join(sorted(prompt.labels)) or 'none'}.")
    return int(wanted)


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{file} is not JSON: {error}") from error
    turns = said.get("messages", []) if isinstance(said, dict) else None
    if not isinstance(turns, list) or not all(
        isinstance(each, dict) and set(each) == {"role", "content"} for each in turns
    ):
        raise click.UsageError(f"{file}: `messages` is a list of objects with `role` and `content`.")
    if unknown := sorted(set(said) - set(FILE_FIELDS)):
        raise click.UsageError(f"{file} has the field {unknown[0]!r}; known are {', '.join(FILE_FIELDS)}.")
    return dict(said)


def _lines(version: PromptVersion) -> list[str]:
    lines = [line for turn in version.messages for line in (f"[{turn.role}]", *turn.content.splitlines())]
    parameters = json.loads(version.parameters_json or "{}")
    return [*lines, *json.dumps(parameters, indent=2, ensure_ascii=False).splitlines()] if parameters else lines


def _show_diff(old: PromptVersion, new: PromptVersion) -> None:
    lines = difflib.unified_diff(
        _lines(old), _lines(new), f"version {old.number}", f"version {new.number}", lineterm=""
    )
    colours = {"+": "green", "-": "red"}
    for line in lines:
        click.echo(click.style(line, fg=colours.get(line[0])))


def _show_version(prompt: Prompt, version: PromptVersion) -> None:
    from gyre_sdk.cli import output

    labels = ", ".join(f"{label} → {number}" for label, number in sorted(prompt.labels.items()))
    output.show_pairs([
        ("prompt", output.short()(prompt)),
        ("version", f"{version.number} of {prompt.newest_version}"),
        ("labels", labels or "none"),
        ("variables", ", ".join(version.variables) or "none"),
        ("comment", version.comment or "none"),
    ])  # fmt: skip
    click.echo()
    for line in _lines(version):
        click.echo(line)


def _show_policy(found: TrafficPolicy) -> None:
    from gyre_sdk import messages
    from gyre_sdk.cli import output

    if OPTIONS.json:
        output.show_item(found)
        return
    said = [(name, messages.enum_name(found, name).lower()) for name in ("prompt_data", "answer_data", "injection")]
    hook, cache = found.hook, found.cache
    when = " and ".join(name for name in ("before", "after") if getattr(hook, name))
    fails = "open" if hook.fails_open else "closed"
    seconds = hook.timeout.ToTimedelta().total_seconds()
    where = f" in {hook.region}" if hook.region else ""
    said.append(("hook", f"{hook.url}{where} {when}, {seconds:g} s, fails {fails}" if hook.url else "none"))
    mode = messages.enum_name(cache, "mode").lower().replace("_", "-") if found.HasField("cache") else "off"
    of = ", ".join(cache.deployments) or "all deployments"
    said.append(("cache", f"{mode}, {cache.ttl.seconds} s, {of}" if found.HasField("cache") else mode))
    output.show_pairs(said)
