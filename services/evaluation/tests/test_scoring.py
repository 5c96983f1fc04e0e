from __future__ import annotations

import pytest

from services.evaluation import scoring

HOTLINE = {"kind": "JSON_FIELDS", "exact_fields": ["department", "urgency"], "text_field": "reply"}
EXPECTED = '{"department": "waste", "urgency": "low", "reply": "A truck comes on Friday."}'


def test_equal_fields_are_exact_whatever_the_order_case_and_spaces() -> None:
    score = scoring.score(HOTLINE, EXPECTED, '{"urgency": "LOW ", "department": "Waste", "reply": "A truck comes."}')
    assert (score.valid, score.exact) == (True, True)
    assert score.text is not None
    assert 0.3 < score.text < 1.0


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ('{"department": "waste", "urgency": "high", "reply": ""}', True),
        ('{"department": "waste"}', True),
        ('Sure! {"department": "waste", "urgency": "low", "reply": "x"}', False),
        ('{"department": "waste", "urgency": "low"', False),
        ("[]", False),
        ("", False),
    ],
)
def test_what_is_not_quite_right_is_not_exact(answer: str, valid: bool) -> None:
    score = scoring.score(HOTLINE, EXPECTED, answer)
    assert (score.valid, score.exact) == (valid, False)


def test_a_broken_answer_scores_nothing_for_its_text() -> None:
    assert scoring.score(HOTLINE, EXPECTED, "A truck comes on Friday.").text == 0.0


def test_numbers_are_not_strings() -> None:
    scorer = {"kind": "JSON_FIELDS", "exact_fields": ["n"], "text_field": ""}
    assert not scoring.score(scorer, '{"n": 1}', '{"n": "1"}').exact
    assert not scoring.score(scorer, '{"n": 1}', '{"n": true}').exact


def test_chrf_is_one_for_equal_texts_and_zero_for_strangers() -> None:
    assert scoring.chrf("路灯坏了。", "路灯坏了。") == 1.0
    assert scoring.chrf("abc", "xyz") == 0.0
    assert 0.0 < scoring.chrf("路灯坏了,请修。", "路灯坏了。") < 1.0


def test_wilson_bounds_stay_within_zero_and_one() -> None:
    assert scoring.wilson(0, 10)[0] == 0.0
    assert scoring.wilson(10, 10)[1] == pytest.approx(1.0)
    lower, upper = scoring.wilson(90, 100)
    assert (lower, upper) == (pytest.approx(0.8256, abs=1e-3), pytest.approx(0.9448, abs=1e-3))


def test_figures_come_for_all_rows_and_for_each_slice() -> None:
    rows = [
        {"slice": "parks", "valid": True, "exact": True, "text_score": 1.0},
        {"slice": "waste", "valid": True, "exact": False, "text_score": 0.5},
    ]
    figures = {(figure["slice"], figure["metric"]): figure["value"] for figure in scoring.summarise(rows)}
    assert figures[("", "exact")] == 0.5
    assert figures[("parks", "exact")] == 1.0
    assert figures[("waste", "text")] == 0.5
