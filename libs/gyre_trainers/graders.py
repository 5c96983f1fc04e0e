"""Verifiable rewards: an answer is right or it is not, and no model needs to be asked. 1 is right, 0 wrong.

They compare with the row's last answer of the assistant, the schema's grader with a JSON Schema.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from gyre_trainers.exits import BadInput

NUMBER: Final = re.compile(r"[-+]?(?:\d[\d,]*)?\.?\d+(?:[eE][-+]?\d+)?")
TOLERANCE: Final = 1e-6  # relative; absolute around 0

Grader = Callable[[str, str], float]


def exact(answer: str, expected: str) -> float:
    """The same text, whatever white space is between its words."""
    return float(answer.split() == expected.split())


def numeric(answer: str, expected: str) -> float:
    """The last number of both is the same: 1,000 is 1e3."""
    ours, theirs = last_number(answer), last_number(expected)
    return float(
        ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    )


def last_number(text: str) -> float | None:
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def schema(answer: str, _: str, *, validator: Any) -> float:
    """JSON that the schema allows. Raises: BadInput where that refers to a part that it does not have."""
    from referencing.exceptions import Unresolvable

    try:
        return float(validator.is_valid(json.loads(answer)))
    except Unresolvable as error:
        raise BadInput("own.answer_schema", f"it has no {error.ref}", "correct its references") from error
    except (ValueError, RecursionError):
        return 0.0


def graders_of(names: tuple[str, ...], answer_schema: str) -> dict[str, Grader]:
    """By name, in the order of `names`."""
    known: Mapping[str, Callable[[], Grader]] = {
        "exact": lambda: exact,
        "numeric": lambda: numeric,
        "schema": lambda: partial(schema, validator=_validator(answer_schema)),
    }
    return {name: known[name]() for name in names}


def _validator(answer_schema: str) -> Any:
    """Without a registry jsonschema would fetch what a schema refers to. Raises: BadInput."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry

    schema = json.loads(answer_schema)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise BadInput("own.answer_schema", error.message, "give a JSON Schema of draft 2020-12") from error
    return Draft202012Validator(schema, registry=Registry())


def as_reward(name: str, grade: Grader) -> Callable[..., list[float]]:
    """A reward function as TRL calls it; its values are logged as `rewards/<name>/mean`."""

    def reward(completions: list[list[dict[str, str]]], expected: list[str], **_: Any) -> list[float]:
        return [grade(answer[-1]["content"], right) for answer, right in zip(completions, expected, strict=True)]

    reward.__name__ = name
    return reward
