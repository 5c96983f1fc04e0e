from __future__ import annotations

import pytest
from gyre_trainers import tree
from gyre_trainers.tree import IGNORED, Row

ROWS = [Row([1, 2, 3, 4], [IGNORED, IGNORED, 3, 4]), Row([1, 2, 5], [IGNORED, IGNORED, 5]), Row([6, 7], [IGNORED, 7])]


def test_a_common_beginning_is_there_once_and_each_token_sees_its_own_beginning() -> None:
    (planted,) = tree.plant(ROWS, share=True)

    assert planted["input_ids"].tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert planted["position_ids"].tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    seen = [row.nonzero()[:, 0].tolist() for row in planted["attention_mask"][0, 0]]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [5], [5, 6]]


def test_each_label_is_predicted_by_the_token_before_it() -> None:
    (planted,) = tree.plant(ROWS, share=True)

    predictions = zip(*(planted[name].tolist() for name in ("predicted_at", "targets", "row_of")), strict=True)
    assert list(predictions) == [(1, 3, 0), (2, 4, 0), (1, 5, 1), (5, 7, 2)]


def test_what_rows_share_with_labels_counts_for_each_of_them() -> None:
    (planted,) = tree.plant([Row([1, 2], [IGNORED, 2]), Row([1, 2], [IGNORED, 2])], share=True)

    assert planted["input_ids"].tolist() == [[1, 2]]
    assert planted["targets"].tolist() == [2, 2]
    assert "attention_mask" not in planted  # one line needs no mask beyond the causal one


def test_a_tree_stops_growing_at_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "CPU_TOKENS", 5)
    monkeypatch.setattr(tree, "GPU_TOKENS", 5)

    first, second = tree.plant(ROWS, share=True)

    assert first["input_ids"].tolist() == [[1, 2, 3, 4, 5]]
    assert second["input_ids"].tolist() == [[6, 7]]
    assert second["row_of"].tolist() == [2]


def test_models_that_cannot_share_get_one_row_at_a_time() -> None:
    planted = tree.plant(ROWS, share=False)

    assert [found["input_ids"].tolist() for found in planted] == [[list(row.ids)] for row in ROWS]
    assert not any("attention_mask" in found for found in planted)
