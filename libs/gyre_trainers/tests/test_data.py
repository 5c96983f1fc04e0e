from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gyre_trainers import data
from gyre_trainers.exits import BadInput

TALK = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_only_the_wanted_columns_are_read_and_rows_without_them_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, [{"id": "1", "messages": TALK, "meta": "{}"}, {"id": "2", "messages": None, "meta": "{}"}])

    assert data.read_rows(path, "data.0", columns=["messages"]) == [{"messages": TALK}]


def test_a_column_of_plain_text_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [{"messages": "hello"}])

    with pytest.raises(BadInput, match=r"data\.0\.uri: column messages is no list of messages"):
        data.read_rows(path, "data.0", columns=["messages"])


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("hello")

    with pytest.raises(BadInput, match=r"data\.0\.uri: not a Parquet file"):
        data.read_rows(path, "data.0", columns=["messages"])


def test_another_number_of_rows_than_pinned_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [{"messages": TALK}])

    with pytest.raises(BadInput, match=r"data\.0\.rows: the file holds 1 rows, not 2"):
        data.read_rows(path, "data.0", rows=2, columns=["messages"])


def test_a_prompt_is_what_comes_before_the_last_answer() -> None:
    asked = data.prompts([{"messages": [*TALK, TALK[0]]}, {"messages": TALK}, {"messages": TALK[1:]}])

    assert [len(row["prompt"]) for row in asked] == [3, 1]


def test_a_pair_is_judged_as_two_answers() -> None:
    found = data.judged([{"prompt": TALK[:1], "chosen": TALK[1:], "rejected": TALK[1:]}])

    assert [row["label"] for row in found] == [True, False]
