"""The pure parts of files and batches: forms, paths, part files, and what is worth another try."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.inference_gateway.batches import multipart
from services.inference_gateway.batches.answering import _is_final
from services.inference_gateway.batches.lines import Bounds, check
from services.inference_gateway.proxy.parts import PartWriter, answer_record, failure_record, read_parts
from services.inference_gateway.proxy.stored import template_of

KIND = 'multipart/form-data; boundary="a b"'
FORM = (
    b'--a b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    b'--a b\r\nContent-Disposition: form-data; name="file"; filename="..\\\\../x/in.jsonl"\r\n\r\n--a\r\n{}\r\n--a b--\r\n'
)


def form(tmp_path: Path, body: bytes) -> Path:
    (tmp_path / "body").write_bytes(body)
    return tmp_path / "body"


def test_a_form_is_found_in_a_file_part_by_part(tmp_path: Path) -> None:
    path = form(tmp_path, FORM)
    purpose, file = multipart.parts_of(path, KIND)
    assert (purpose.name, purpose.filename, multipart.read(path, purpose, 99)) == ("purpose", "", b"batch")
    assert (file.filename, b"".join(multipart.pieces(path, file))) == ("in.jsonl", b"--a\r\n{}")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", KIND),
        (b"{}", KIND),
        (FORM[:-20], KIND),
        (FORM, "application/json"),
        (FORM, "multipart/form-data"),
        (b"--a b\r\nnothing: here\r\n\r\nx\r\n--a b--", KIND),
        (b"--a b" + b"\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n--a b" * 20, KIND),
    ],
)
def test_what_is_no_form_is_refused(tmp_path: Path, body: bytes, kind: str) -> None:
    with pytest.raises(multipart.BadForm):
        multipart.parts_of(form(tmp_path, body), kind)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/files", "/v1/files"),
        ("/v1/files/file-1", "/v1/files/{file}"),
        ("/v1/files/file-1/content", "/v1/files/{file}/content"),
        ("/v1/batches/b/cancel", "/v1/batches/{batch}/cancel"),
        ("/v1/batches/b/content", ""),
        ("/v1/files/", ""),
        ("/v1/files//content", ""),
        ("/v1/filesystem", ""),
        ("/files", ""),
    ],
)
def test_paths_of_files_and_batches_are_told_from_others(path: str, template: str) -> None:
    assert template_of(path) == template


def test_a_line_counts_once_and_a_torn_record_spoils_no_other(tmp_path: Path) -> None:
    first, second = PartWriter(tmp_path), PartWriter(tmp_path)
    first.append("b", answer_record(1, 200, "r1", "v1", b'{"a":\n1}'))
    with next((tmp_path / "b").glob("*.jsonl")).open("ab") as file:
        file.write(b'\n{"line": 2, "sta')  # killed here
    first.append("b", failure_record(3, "no_answer", "x"))
    second.append("b", answer_record(1, 200, "r2", "v1", b'{"a": 1}'))
    second.append("b", answer_record(3, 200, "r3", "v1", b"{}"))
    parts = list(read_parts(tmp_path / "b"))
    found = {part.line: part for part in parts}
    assert (
        len(parts) == 2
        and set(found) == {1, 3}
        and found[1].body == {"a": 1}
        and found[1].answered
        and found[3].answered
    )


def test_a_batch_of_too_many_or_too_long_lines_is_refused(tmp_path: Path) -> None:
    line = b'{"custom_id":"%d","method":"POST","url":"/v1/completions","body":{"model":"m"}}\n'
    path = form(tmp_path, b"".join(line % number for number in range(3)))
    assert check(path, "/v1/completions", Bounds(3, 1000)) == (3, [])
    assert check(path, "/v1/completions", Bounds(2, 1000))[1][0]["code"] == "too_many_requests"
    assert [error["code"] for error in check(path, "/v1/completions", Bounds(3, 40))[1]] == ["line_too_long"] * 3
    deep = form(tmp_path, b"[" * 100_000)
    assert check(deep, "/v1/completions", Bounds(3, 10**6))[1][0]["code"] == "invalid_json_line"
    broken = form(tmp_path, b"\xff\n" * 500)
    assert len(check(broken, "/v1/completions", Bounds(10**4, 100))[1]) == 100


@pytest.mark.parametrize(
    ("status", "headers", "final"),
    [
        (400, {}, True),
        (404, {}, True),
        (401, {}, False),
        (429, {"retry-after": "3"}, False),
        (429, {"x-should-retry": "false", "retry-after": "9000"}, False),
        (429, {"x-should-retry": "false"}, True),
        (500, {}, False),
        (503, {}, False),
        (0, {}, False),
    ],
)
def test_only_what_can_change_is_tried_again(status: int, headers: dict[str, str], final: bool) -> None:
    assert _is_final(status, headers) is final
