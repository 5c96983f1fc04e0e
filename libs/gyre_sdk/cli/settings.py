"""`--set NAME=VALUE`, `--health RULE=ACTION`, and what can be set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import click

WORD: Final = re.compile(r"[a-z][a-z0-9_]*")


def hyperparameters(settings: tuple[str, ...]) -> dict[str, Any]:
    """`learning_rate=1e-3` → a number, `kl_estimator=k3` → a word; the server says whether there is such a name."""
    values: dict[str, Any] = {}
    for term in settings:
        name, _, value = term.partition("=")
        try:
            values[name] = value if WORD.fullmatch(value) and value not in ("true", "false") else json.loads(value)
        except ValueError as error:
            raise click.UsageError(f"--set wants NAME=VALUE, for instance learning_rate=1e-3, not {term!r}.") from error
    return values


def health(rules: tuple[str, ...]) -> dict[str, Any]:
    """`divergence=STOP` → an action, `largest_kl=10` → a limit."""
    chosen: dict[str, Any] = {}
    for term in rules:
        name, _, value = term.partition("=")
        try:
            chosen[name] = value if value.replace("_", "").isalpha() else float(value)
        except ValueError as error:
            raise click.UsageError(f"--health wants RULE=ACTION or LIMIT=NUMBER, not {term!r}.") from error
    return chosen


def table(schema: Mapping[str, Any]) -> list[list[str]]:
    """Name, default, range and meaning of each setting in the JSON Schema of a method."""
    common = {name: one for name, one in schema["properties"].items() if name != "own"}
    own = schema["properties"].get("own", {}).get("properties", {})
    ordered = [*sorted(common.items(), key=_order), *sorted(own.items(), key=_order)]
    return [[name, _default(one), _range(one), _words(one)] for name, one in ordered]


def _order(named: tuple[str, Mapping[str, Any]]) -> float:
    return float(named[1].get("x-order", 0))


def _default(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema["default"]).strip('"') if "default" in schema else ""


def _range(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if schema["type"] == "array":
        return "some of " + ", ".join(schema["items"]["enum"])
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    return ", ".join(bounds) or str(schema["type"])


def _words(schema: Mapping[str, Any]) -> str:
    return ". ".join(filter(None, (schema.get("title", ""), schema.get("description", ""))))
