"""Public files as people have them, read where they lie: every row is accepted or refused by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from services.dataset.tests.conftest import Imported
from services.dataset.tests.samples import PUBLIC_DATA, most_alike

FILES = [
    ("alpaca_en_demo.json", "SFT", 999, {"EXACT_DUPLICATE": 14}, "latin"),
    ("alpaca_zh_demo.json", "SFT", 1000, {"EXACT_DUPLICATE": 8}, "zh"),
    ("dpo_en_demo.json", "PREFERENCE", 300, {"EXACT_DUPLICATE": 5}, "latin"),
    ("dpo_zh_demo.json", "PREFERENCE", 300, {"EXACT_DUPLICATE": 11}, "zh"),
    ("kto_en_demo.json", "SFT", 300, {"MARKED_AS_BAD": 150}, "latin"),
    ("glaive_toolcall_en_demo.json", "SFT", 300, {"UNSUPPORTED_ROLE": 153, "EXACT_DUPLICATE": 20}, "latin"),
    ("gsm8k_test.jsonl", "SFT", 1319, {}, "latin"),
]


@pytest.mark.parametrize(("filename", "dataset_type", "rows", "refused", "language"), FILES)
def test_a_public_file_is_imported_unchanged_and_split_without_leaks(
    imported: Callable[..., Imported],
    filename: str,
    dataset_type: str,
    rows: int,
    refused: dict[str, int],
    language: str,
) -> None:
    result = imported(PUBLIC_DATA / filename, filename, dataset_type)
    outcome = result.outcome
    assert outcome.failure_message == ""
    assert outcome.row_count + outcome.refused_count == rows
    assert Counter(reject["reason"] for reject in result.rejects) == refused
    assert outcome.test_count == pytest.approx(0.2 * outcome.row_count, abs=1)
    assert max(outcome.profile["languages"], key=outcome.profile["languages"].get) == language
    assert most_alike(result.rows("test"), result.rows("train")) <= 0.7
