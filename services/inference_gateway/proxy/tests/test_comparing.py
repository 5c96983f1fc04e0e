"""How alike two answers are."""

from __future__ import annotations

import pytest

from services.inference_gateway.proxy.comparing import LONGEST, agree, similarity


def test_case_white_space_and_forms_of_letters_make_no_difference() -> None:
    assert agree("The  ﬁnal\nanswer: 42 ", "the final answer: 42")
    assert not agree("the final answer: 42", "the final answer: 43")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("a b c d", "a b c d", 1.0), ("a b", "c d", 0.0), ("a b c", "a b", 0.8), ("", "", 1.0), ("", "a", 0.0)],
)
def test_similarity_is_the_share_of_tokens_that_both_have(one: str, other: str, expected: float) -> None:
    assert similarity(one, other) == pytest.approx(expected)


def test_a_script_without_spaces_is_compared_by_its_characters() -> None:
    assert similarity("北京是首都", "北京是大城") == pytest.approx(0.6)


def test_answers_are_looked_at_up_to_a_bound() -> None:
    assert agree("x" * LONGEST + "a", "x" * LONGEST + "b")
