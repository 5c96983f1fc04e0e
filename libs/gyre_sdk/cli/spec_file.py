"""What a run or a lap is asked for, as a file: YAML, of which JSON is a part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gyre_sdk.cli.base import OPTIONS

if TYPE_CHECKING:
    from google.protobuf.message import Message

DEFAULT_SEED: Final = 7
F = TypeVar("F", bound=Callable[..., Any])


def spec_option(kind: str) -> Callable[[F], F]:
    """`--spec`, whose value `read_spec` takes."""
    words = f"{kind} as YAML or JSON; `-` reads stdin. Other options win."
    return click.option("--spec", "file", type=click.File("r"), help=words)


def read_spec(file: Any) -> dict[str, Any]:
    """Nothing where no file was given. Raises: UsageError that names the file."""
    if file is None:
        return {}
    import yaml

    try:
        spec = yaml.safe_load(file)
    except yaml.YAMLError as error:
        raise click.UsageError(f"{Path(file.name).name} is neither YAML nor JSON: {error}") from error
    if not isinstance(spec, dict):
        raise click.UsageError(f"{Path(file.name).name} must hold one object with the fields of a spec.")
    return spec


def show_spec(spec: Message) -> None:
    """As `--spec` takes it; with --json as JSON."""
    import yaml

    from gyre_sdk import messages
    from gyre_sdk.cli import output

    asked = messages.to_body(spec)
    if OPTIONS.json:
        output.show_json(asked)
    else:
        click.echo(yaml.safe_dump(asked, sort_keys=False, allow_unicode=True), nl=False)
