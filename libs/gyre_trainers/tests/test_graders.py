from __future__ import annotations

import json

import pytest
from gyre_trainers.graders import as_reward, graders_of

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
