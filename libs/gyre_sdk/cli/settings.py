"""`--set NAME=VALUE`."""

from __future__ import annotations

import json
from typing import Any

import click


def hyperparameters(settings: tuple[str, ...]) -> dict[str, Any]:
    """`learning_rate=1e-3` → a number; the proto says whether there is such a name."""
    values = {}
    for term in settings:
        name, _, value = term.partition("=")
        try:
            values[name] = json.loads(value)
        except ValueError as error:
            raise click.UsageError(
                f"--set wants NAME=NUMBER, for instance learning_rate=1e-3, not {term!r}."
            ) from error
    return values
