from __future__ import annotations

import json

import pytest
from gyre_trainers.exits import BadInput
from gyre_trainers.graders import as_reward, graders_of
from gyre_trainers.methods import GRPOSettings
from gyre_trainers.settings import Hyperparameters

SCHEMA = json.dumps({"type": "object", "required": ["department"], "properties": {"department": {"type": "string"}}})


def grade(name: str, answer: str, expected: str = "") -> float:
    return graders_of((name,), SCHEMA)[name](answer, expected)


@pytest.mark.parametrize(
    ("name", "answer", "expected", "right"),
    [
        ("exact", " the  road\n", "the road", 1),
        ("exact", "the roads", "the road", 0),
        ("exact", "", "the road", 0),
        ("numeric", "3 + 4 makes 7.", "The answer: 7", 1),
        ("numeric", "1,000", "1e3", 1),
        ("numeric", "-0.5", ".5", 0),
        ("numeric", "7, or rather 8", "7", 0),
        ("numeric", "seven", "7", 0),
        ("numeric", "7", "seven", 0),
        ("schema", '{"department": "roads"}', "", 1),
        ("schema", '{"department": 7}', "", 0),
        ("schema", '{"department": "roads"', "", 0),
        ("schema", "[" * 100_000, "", 0),
    ],
)
def test_an_answer_is_right_or_not(name: str, answer: str, expected: str, right: float) -> None:
    assert grade(name, answer, expected) == right


def test_a_grader_is_a_reward_function_of_its_name() -> None:
    reward = as_reward("exact", graders_of(("exact",), "")["exact"])
    answers = [[{"role": "assistant", "content": text}] for text in ("yes", "no")]
    assert (reward.__name__, reward(answers, ["yes", "yes"], prompts=[])) == ("exact", [1.0, 0.0])


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "[]",
        "[" * 20_000,
        '{"$ref": "http://127.0.0.1/schema.json"}',
        '{"properties": {"a": {"$ref": "file:///etc/passwd"}}}',
        '{"items": [{"$dynamicRef": 7}]}',
    ],
)
def test_a_schema_that_is_none_or_would_have_something_fetched_is_refused(schema: str) -> None:
    fault = GRPOSettings(graders=("schema",), answer_schema=schema).fault(Hyperparameters())
    assert fault is not None and fault[0] == "own.answer_schema"


def test_a_schema_may_refer_to_itself_and_has_to_be_one() -> None:
    itself = '{"$defs": {"name": {"type": "string"}}, "properties": {"who": {"$ref": "#/$defs/name"}}}'
    assert GRPOSettings(graders=("schema",), answer_schema=itself).fault(Hyperparameters()) is None
    assert graders_of(("schema",), itself)["schema"]('{"who": 7}', "") == 0
    with pytest.raises(BadInput, match="texts"):
        graders_of(("schema",), '{"type": "texts"}')
    with pytest.raises(BadInput, match="it has no /nowhere"):
        graders_of(("schema",), '{"$ref": "#/nowhere"}')["schema"]("{}", "")
