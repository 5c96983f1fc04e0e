"""What a person may send by mistake, and what is said to them: line, field, remedy."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.dataset.importer.detect import inspect
from services.dataset.importer.problems import FileRefused
from services.dataset.tests.conftest import Imported
from services.dataset.tests.samples import jsonl

GOOD = {"instruction": "Name a colour.", "input": "", "output": "Blue."}
OTHER = {"instruction": "Name a river.", "input": "", "output": "The Rhine."}
CHINESE = [
    {"instruction": "请说出一种颜色。", "input": "", "output": "蓝色是一种颜色。"},
    {"instruction": "中国最长的河是哪一条？", "input": "", "output": "长江是中国最长的河。"},
]

Import = Callable[..., Imported]


def refused(content: bytes, filename: str, tmp_path: Path, **limits: Any) -> FileRefused:
    path = tmp_path / "upload"
    path.write_bytes(content)
    with pytest.raises(FileRefused) as caught:
        inspect(path, filename, **limits)
    return caught.value


def test_a_byte_order_mark_and_crlf_are_no_fault(imported: Import) -> None:
    content = b"\xef\xbb\xbf" + jsonl([GOOD, OTHER]).replace(b"\n", b"\r\n")
    result = imported(content)
    assert (result.outcome.row_count, result.rejects) == (2, [])
    assert {row["messages"][0]["content"] for row in result.rows()} == {"Name a colour.", "Name a river."}


def test_crlf_and_a_byte_order_mark_in_a_csv_are_no_fault(imported: Import) -> None:
    content = b"\xef\xbb\xbfinstruction,output\r\nName a colour.,Blue.\r\nName a river.,The Rhine.\r\n"
    result = imported(content, "rows.csv")
    assert result.outcome.row_count == 2
    assert result.rows()[1]["messages"][1]["content"] == "The Rhine."


@pytest.mark.parametrize("filename", ["rows.jsonl", "rows.json"])
def test_gb18030_is_recognised_and_stored_as_utf8_with_a_note(imported: Import, filename: str) -> None:
    text = jsonl(CHINESE).decode() if filename == "rows.jsonl" else json.dumps(CHINESE, ensure_ascii=False)
    result = imported(text.encode("gb18030"), filename)
    assert result.outcome.encoding == "gb18030"
    assert result.rows()[0]["messages"][1]["content"] == "蓝色是一种颜色。"
    assert "GB18030" in result.outcome.profile["notes"][0]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "Où est la déchèterie? Elle est fermée."),
        ("euc-kr", "한국에서 가장 긴 강은 무엇입니까? 낙동강입니다."),
        ("big5", "請說出一種顏色。藍色是一種顏色。"),
        ("shift-jis", "日本で一番長い川は何ですか。信濃川です。"),
    ],
)
def test_another_encoding_is_never_taken_for_gb18030(encoding: str, text: str, tmp_path: Path) -> None:
    line = json.dumps({"prompt": text, "completion": text}, ensure_ascii=False).encode(encoding)
    error = refused(line + b"\n", "rows.jsonl", tmp_path)
    assert error.reason == "NO_ROW_UNDERSTOOD"
    assert "Line 1: NOT_UTF8; byte " in error.message
    assert "iconv" in error.message


def test_a_line_that_is_not_utf8_costs_that_line_and_names_the_byte(imported: Import) -> None:
    broken = b'{"prompt": "caf\xe9 open?", "completion": "Yes."}\n'
    result = imported(jsonl([GOOD]) + broken + jsonl([OTHER]))
    assert result.outcome.row_count == 2
    assert result.reasons == [(2, "", "NOT_UTF8")]
    assert "byte 16 of the line is 0xE9" in result.rejects[0]["remedy"]


def test_utf16_is_refused_with_the_remedy(tmp_path: Path) -> None:
    error = refused(jsonl([GOOD]).decode().encode("utf-16"), "rows.jsonl", tmp_path)
    assert error.reason == "NOT_UTF8"
    assert "UTF-16" in error.message and "iconv" in error.message


def test_a_nul_byte_and_an_escaped_one_cost_their_lines(imported: Import) -> None:
    raw = b'{"prompt": "a\x00b", "completion": "c"}\n'
    escaped = rb'{"prompt": "d", "completion": "e\u0000f"}' + b"\n"
    result = imported(jsonl([GOOD]) + raw + escaped)
    assert result.reasons == [(2, "", "NUL_CHARACTER"), (3, "completion", "NUL_CHARACTER")]
    assert "remove it" in result.rejects[0]["remedy"]


def test_half_a_character_costs_its_line(imported: Import) -> None:
    result = imported(jsonl([GOOD]) + rb'{"prompt": "\ud83d", "completion": "e"}' + b"\n")
    assert result.reasons == [(2, "prompt", "NOT_UTF8")]


def test_a_broken_line_costs_that_line_and_names_the_column(imported: Import) -> None:
    result = imported(jsonl([GOOD]) + b'{"prompt": "x", "completion": \n' + jsonl([OTHER]))
    assert result.outcome.row_count == 2
    assert result.reasons == [(2, "", "BROKEN_JSON")]
    assert result.rejects[0]["remedy"].startswith("column 30")
    assert result.rejects[0]["excerpt"].startswith('{"prompt": "x"')


def test_a_broken_json_list_is_refused_with_line_and_column(imported: Import) -> None:
    result = imported(b'[\n {"prompt": "a", "completion": "b"},\n {"prompt": "c" "completion": "d"}\n]', "rows.json")
    assert result.outcome.failure_reason == "BROKEN_JSON"
    assert result.outcome.failure_message.startswith("Line 3, column 17: Expecting ',' delimiter")


def test_a_fault_of_the_whole_file_is_found_before_it_is_kept_though_its_first_rows_are_good(tmp_path: Path) -> None:
    broken = b'[{"prompt": "a", "completion": "b"},\n{"prompt": "c" "completion": "d"}]'
    assert refused(broken, "rows.json", tmp_path).reason == "BROKEN_JSON"
    assert refused(b'prompt,completion\na,b\n"c,d\n', "rows.csv", tmp_path).reason == "BROKEN_CSV"
    assert refused(jsonl([GOOD, OTHER]), "rows.jsonl", tmp_path, max_rows=1).reason == "TOO_MANY_ROWS"


def test_a_file_that_does_not_fit_its_data_set_is_refused_before_it_is_kept(tmp_path: Path) -> None:
    pairs = jsonl([{"prompt": "a", "chosen": "b", "rejected": "c"}])
    assert (
        "field chosen: MISSING_FIELD"
        in refused(jsonl([GOOD]), "rows.jsonl", tmp_path, dataset_type="PREFERENCE").message
    )
    assert "field rejected: WRONG_TYPE" in refused(pairs, "rows.jsonl", tmp_path, dataset_type="SFT").message
    assert inspect(tmp_path / "upload", "rows.jsonl", "PREFERENCE").row_format == "PREFERENCE"


def test_a_json_list_without_its_end_is_refused(imported: Import) -> None:
    result = imported(b'[{"prompt": "a", "completion": "b"}', "rows.json")
    assert result.outcome.failure_reason == "BROKEN_JSON"
    assert "closing ]" in result.outcome.failure_message


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf", b"[]"])
def test_an_empty_file_is_refused(content: bytes, tmp_path: Path) -> None:
    error = refused(content, "rows.json", tmp_path)
    assert error.reason == "EMPTY_FILE"
    assert "at least one" in error.message


@pytest.mark.parametrize(
    ("content", "filename", "what"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "rows.jsonl", "a picture"),
        (b"PK\x03\x04" + bytes(40), "rows.xlsx", "Excel"),
        (gzip.compress(jsonl([GOOD])), "rows.jsonl.gz", "gunzip"),
    ],
)
def test_a_file_of_another_kind_is_refused(content: bytes, filename: str, what: str, tmp_path: Path) -> None:
    error = refused(content, filename, tmp_path)
    assert error.reason == "UNSUPPORTED_FILE"
    assert what in error.message


def test_a_file_that_nothing_tells_apart_is_refused(tmp_path: Path) -> None:
    assert refused(b"hello\nworld\n", "notes.txt", tmp_path).reason == "UNKNOWN_FILE_TYPE"


def test_a_value_of_the_wrong_type_names_field_and_remedy(imported: Import, tmp_path: Path) -> None:
    wrong = {"instruction": "Name a number.", "output": 5}
    result = imported(jsonl([GOOD, wrong, {"messages": "hello"}]))
    assert result.reasons == [(2, "output", "WRONG_TYPE"), (3, "messages", "WRONG_TYPE")]
    assert result.rejects[0]["remedy"] == "it is a number; write a string"
    error = refused(jsonl([wrong]), "rows.jsonl", tmp_path)
    assert error.message == "No row can be used. Line 1, field output: WRONG_TYPE; it is a number; write a string."


def test_rows_of_the_wrong_shape_say_which_shapes_there_are(tmp_path: Path) -> None:
    error = refused(jsonl([{"title": "x", "body": "y"}]), "rows.jsonl", tmp_path)
    assert error.reason == "NO_ROW_UNDERSTOOD"
    assert "the row has the fields body, title" in error.message and "prompt and completion" in error.message


def test_pairs_in_a_conversation_data_set_and_the_reverse_are_refused_by_field(imported: Import) -> None:
    pairs = imported(jsonl([{"prompt": "a", "chosen": "b", "rejected": "c"}]))
    assert pairs.outcome.failure_reason == "NO_ROWS_ACCEPTED"
    assert "field rejected" in pairs.outcome.failure_message and "PREFERENCE" in pairs.outcome.failure_message
    plain = imported(jsonl([GOOD]), dataset_type="PREFERENCE")
    assert "Line 1, field chosen: MISSING_FIELD" in plain.outcome.failure_message


def test_an_import_without_an_accepted_row_fails_and_keeps_its_rejects(imported: Import) -> None:
    result = imported(jsonl([{"prompt": "a"}, {"prompt": "b", "completion": " "}]))
    assert result.outcome.failure_reason == "NO_ROWS_ACCEPTED"
    assert "Line 1, field completion: MISSING_FIELD" in result.outcome.failure_message
    assert result.reasons == [(1, "completion", "MISSING_FIELD"), (2, "completion", "EMPTY_CONTENT")]
    assert sorted(path.name for path in result.out.iterdir()) == ["rejects.jsonl"]


def test_a_csv_record_with_a_field_too_many_costs_that_record(imported: Import) -> None:
    result = imported(b"prompt,completion\na,b\nc,d,e\nf,g\n", "rows.csv")
    assert result.outcome.row_count == 2
    assert result.reasons == [(2, "", "COLUMN_COUNT")]


def test_a_csv_quote_that_never_closes_is_refused_with_the_line_where_it_opens(imported: Import) -> None:
    result = imported(b'prompt,completion\na,b\n"c,d\ne,f\n', "rows.csv")
    assert result.outcome.failure_reason == "BROKEN_CSV"
    assert result.outcome.failure_message.startswith("Line 3: ")


def test_a_csv_with_unknown_columns_names_them(imported: Import) -> None:
    result = imported(b"colour,taste\nred,sweet\n", "rows.csv")
    assert result.outcome.failure_reason == "UNKNOWN_COLUMNS"
    assert "colour, taste" in result.outcome.failure_message


def test_a_truncated_parquet_file_is_refused(imported: Import, tmp_path: Path) -> None:
    path = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "completion": ["b"]}), path)
    result = imported(path.read_bytes()[:-20], "rows.parquet")
    assert result.outcome.failure_reason == "BROKEN_PARQUET"


def test_a_row_beyond_the_limits_is_refused(imported: Import) -> None:
    long = imported(jsonl([GOOD, {"prompt": "a", "completion": "b" * 200}]), max_characters=150)
    assert long.reasons == [(2, "completion", "TOO_LONG")]
    many = imported(jsonl([GOOD, OTHER]), max_rows=1)
    assert many.outcome.failure_reason == "TOO_MANY_ROWS"


def test_a_line_that_never_ends_costs_itself_alone(imported: Import) -> None:
    endless = b'{"prompt": "' + b"x" * (9 * 1024 * 1024) + b'"}\n'
    result = imported(jsonl([GOOD]) + endless + jsonl([OTHER]))
    assert result.outcome.row_count == 2
    assert result.reasons == [(2, "", "ROW_TOO_LONG")]


def test_nan_and_deep_nesting_are_no_json(imported: Import) -> None:
    deep = b'{"prompt": ' + b"[" * 100_000 + b"\n"
    result = imported(jsonl([GOOD]) + b'{"prompt": "a", "completion": "b", "score": NaN}\n' + deep)
    assert [reason for _, _, reason in result.reasons] == ["BROKEN_JSON", "BROKEN_JSON"]


def test_tool_turns_and_unknown_roles_are_refused_by_name(imported: Import) -> None:
    tool = {"conversations": [{"from": "human", "value": "a"}, {"from": "function_call", "value": "b"}]}
    odd = {"messages": [{"role": "wizard", "content": "a"}]}
    result = imported(jsonl([GOOD, tool, odd]))
    assert result.reasons == [
        (2, "conversations[1].from", "UNSUPPORTED_ROLE"),
        (3, "messages[0].role", "UNKNOWN_ROLE"),
    ]


def test_an_answer_that_was_marked_as_bad_is_not_imitated(imported: Import) -> None:
    turns = [{"role": "user", "content": "Where is the tower?"}, {"role": "assistant", "content": "Nowhere."}]
    result = imported(jsonl([GOOD, {"messages": turns, "label": False}]))
    assert result.reasons == [(2, "label", "MARKED_AS_BAD")]
