"""The shapes in which rows come, and the one in which they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.dataset.tests.conftest import Imported
from services.dataset.tests.samples import jsonl, pair

Import = Callable[..., Imported]
ASKED = {"role": "user", "content": "Is it open?"}
ANSWERED = {"role": "assistant", "content": "Yes."}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("row", "row_format", "messages"),
    [
        ({"instruction": "Is it open?", "output": "Yes."}, "ALPACA", [ASKED, ANSWERED]),
        (
            {"instruction": "Translate.", "input": "Ja.", "output": "Yes.", "system": "Be brief."},
            "ALPACA",
            [SYSTEM, {"role": "user", "content": "Translate.\nJa."}, ANSWERED],
        ),
        (
            {"instruction": "And now?", "output": "Yes.", "history": [["Is it open?", "Yes."]]},
            "ALPACA",
            [ASKED, ANSWERED, {"role": "user", "content": "And now?"}, ANSWERED],
        ),
        (
            {"conversations": [{"from": "human", "value": "Is it open?"}, {"from": "gpt", "value": "Yes."}]},
            "SHAREGPT",
            [ASKED, ANSWERED],
        ),
        ({"messages": [SYSTEM, ASKED, ANSWERED]}, "MESSAGES", [SYSTEM, ASKED, ANSWERED]),
        ({"prompt": "Is it open?", "completion": "Yes."}, "PROMPT_COMPLETION", [ASKED, ANSWERED]),
        ({"question": "Is it open?", "answer": "Yes."}, "PROMPT_COMPLETION", [ASKED, ANSWERED]),
        ({"prompt": [SYSTEM, ASKED], "completion": [ANSWERED]}, "PROMPT_COMPLETION", [SYSTEM, ASKED, ANSWERED]),
    ],
)
def test_a_conversation_in_any_shape_becomes_messages(
    imported: Import, row: dict[str, Any], row_format: str, messages: list[dict[str, str]]
) -> None:
    result = imported(jsonl([row]))
    assert result.outcome.row_format == row_format
    assert result.rows()[0]["messages"] == messages


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Is it open?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [{"role": "assistant", "content": "No."}]},
        {"chosen": [ASKED, ANSWERED], "rejected": [ASKED, {"role": "assistant", "content": "No."}]},
        {"instruction": "Is it open?", "chosen": "Yes.", "rejected": "No."},
        {
            "conversations": [{"from": "human", "value": "Is it open?"}],
            "chosen": {"from": "gpt", "value": "Yes."},
            "rejected": {"from": "gpt", "value": "No."},
        },
    ],
)
def test_a_pair_in_any_shape_becomes_prompt_chosen_and_rejected(imported: Import, row: dict[str, Any]) -> None:
    kept = imported(jsonl([row]), dataset_type="PREFERENCE").rows()[0]
    assert kept["prompt"] == [ASKED]
    assert kept["chosen"] == [ANSWERED]
    assert kept["rejected"] == [{"role": "assistant", "content": "No."}]


def test_prompts_drop_the_answers_that_come_with_them(imported: Import) -> None:
    rows = [{"prompt": "Is it open?"}, {"instruction": "Name a river.", "output": "The Rhine."}]
    kept = imported(jsonl(rows), dataset_type="PROMPT").rows()
    assert [row["prompt"][0]["content"] for row in kept] == ["Is it open?", "Name a river."]
    assert all(row["messages"] == row["prompt"] for row in kept)


def test_a_row_keeps_its_line_its_slice_and_its_further_fields(imported: Import) -> None:
    row = {"prompt": "Is it open?", "completion": "Yes.", "slice": "hours", "author": "me", "score": 3}
    kept = imported(b"\n" + jsonl([row])).rows()[0]
    assert (kept["source_line"], kept["slice"]) == (2, "hours")
    assert json.loads(kept["meta"]) == {"author": "me", "score": 3}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_may_use_any_common_separator_and_hold_line_breaks(imported: Import, delimiter: str) -> None:
    content = f'prompt{delimiter}completion\n"Is it{delimiter}\nopen?"{delimiter}"Say ""yes""."\n'.encode()
    messages = imported(content, "rows.csv").rows()[0]["messages"]
    assert [turn["content"] for turn in messages] == [f"Is it{delimiter}\nopen?", 'Say "yes".']


def test_a_csv_cell_may_hold_messages_as_json(imported: Import) -> None:
    cell = json.dumps([ASKED, ANSWERED]).replace('"', '""')
    assert imported(f'messages\n"{cell}"\n'.encode(), "rows.csv").rows()[0]["messages"] == [ASKED, ANSWERED]


def test_parquet_rows_are_read_with_their_structs(imported: Import, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"messages": [[ASKED, ANSWERED]], "n": [1]}), path)
    result = imported(path, "whatever.bin")
    assert (result.outcome.file_type, result.rows()[0]["messages"]) == ("PARQUET", [ASKED, ANSWERED])


def test_a_large_json_list_is_read_across_the_reader_s_window(imported: Import) -> None:
    rows = [{"prompt": f"{number} " + "x" * 3000, "completion": str(number)} for number in range(1000)]
    result = imported(json.dumps(rows, indent=1).encode(), "rows.json")
    assert result.outcome.row_count + result.outcome.refused_count == 1000
    assert result.outcome.refused_count == 0


def test_the_order_of_roles_is_checked(imported: Import) -> None:
    rows = [
        {"messages": [ASKED, ASKED, ANSWERED]},
        {"messages": [ASKED, ANSWERED, {"role": "user", "content": "And now?"}]},
        {"messages": [ANSWERED]},
        {"messages": [SYSTEM]},
        {"messages": []},
    ]
    assert imported(jsonl(rows)).reasons == [
        (1, "messages[1].content", "ROLE_ORDER"),
        (2, "messages[2].content", "ROLE_ORDER"),
        (3, "messages[0].content", "ROLE_ORDER"),
        (4, "messages[0].content", "ROLE_ORDER"),
        (5, "messages", "EMPTY_CONTENT"),
    ]


def test_a_pair_needs_a_difference_and_a_prompt(imported: Import) -> None:
    rows = [pair("a", "same", "same "), {"chosen": "b", "rejected": "c"}, pair("d")]
    result = imported(jsonl(rows), dataset_type="PREFERENCE")
    assert result.reasons == [(1, "rejected", "SAME_ANSWERS"), (2, "prompt", "MISSING_FIELD")]


def test_a_format_that_was_asked_for_is_insisted_on(imported: Import) -> None:
    rows = [{"prompt": "a", "completion": "b"}, {"instruction": "c", "output": "d"}]
    result = imported(jsonl(rows), row_format="ALPACA")
    assert (result.outcome.row_count, result.reasons) == (1, [(1, "", "WRONG_SHAPE")])
