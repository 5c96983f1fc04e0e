"""reference/cli.md from the commands themselves: their help, options and examples."""

from __future__ import annotations

from collections.abc import Iterator

import click
from gyre_sdk.cli.base import EXIT_CODES
from gyre_sdk.cli.root import SECTIONS, cli

EVERYWHERE = ("--json", "--project", "--help")  # said once, at the top
HEAD = """# The command line

This page is generated (`make gen`); do not edit it. `gyre COMMAND --help` says the same.

Every command takes `--json` (JSON for programs) and `-p`, `--project` (default `GYRE_PROJECT`, else `default`).
`gyre --url URL` or `GYRE_URL` names a Gyre elsewhere, `GYRE_API_KEY` the key for it; without them the Gyre of
`GYRE_HOME` (default `./.gyre`) is meant, with its administrator's key. `gyre completion bash` prints what the shell
needs to complete commands and names.
"""


def page() -> str:
    lines = [HEAD, "| exit code | meaning |", "|---|---|"]
    lines += [f"| {code.value} | {text} |" for code, text in EXIT_CODES.items()]
    root = click.Context(cli, info_name="gyre")
    for title, commands in SECTIONS.items():
        lines.append(f"\n## {title}")
        for name in commands:
            command = cli.get_command(root, name)
            assert command, name
            lines += described(command, click.Context(command, info_name=name, parent=root), depth=3)
    return "\n".join(lines) + "\n"


def described(command: click.Command, context: click.Context, depth: int) -> Iterator[str]:
    """Heading, usage, text and options of one command, then those below it."""
    yield f"\n{'#' * depth} `{context.command_path}`\n"
    prose, _, examples = (command.help or "").replace("\b", "").partition("Examples:")
    yield from (" ".join(part.split()) + "\n" for part in prose.strip().split("\n\n"))
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [line.strip() for line in examples.strip().splitlines()]
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield f"Usage: `{context.command_path} {usage}`"
        yield from (["\n```sh", *lines, "```"] if lines else [])
    yield from options(command, context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child, name
            yield from described(child, click.Context(child, info_name=name, parent=context), depth + 1)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    shown = [record for record in records if record and record[1] and not any(name in record[0] for name in EVERYWHERE)]
    if shown:
        yield from ["\n| option | what it does |", "|---|---|"]
        yield from (f"| `{cell(name)}` | {cell(text)} |" for name, text in shown)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
