"""What kind of file this is: by its first bytes, then by its name, and whether anything in it can be read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.dataset.importer.canonical import Parsed, fit, parse
from services.dataset.importer.encoding import UTF8, detect_encoding
from services.dataset.importer.problems import FileRefused, Reject, RowRefused
from services.dataset.importer.readers import KNOWN_COLUMNS, MAX_ROWS, read
from services.dataset.importer.validate import MAX_CHARACTERS, check, check_turns

FOREIGN: Final = {
    b"PK\x03\x04": ("a ZIP archive or an Excel file", "unpack it, or save the sheet as CSV (UTF-8)"),
    b"\x1f\x8b": ("gzip", "unpack it first: gunzip FILE"),
    b"\x28\xb5\x2f\xfd": ("Zstandard", "unpack it first: unzstd FILE"),
    b"%PDF": ("a PDF", "extract the rows as JSONL or CSV"),
    b"\x89PNG": ("a picture", "choose a file of rows: JSONL, JSON, CSV or Parquet"),
    b"\xff\xd8\xff": ("a picture", "choose a file of rows: JSONL, JSON, CSV or Parquet"),
}
BY_NAME: Final = {".jsonl": "JSONL", ".ndjson": "JSONL", ".json": "JSON", ".csv": "CSV", ".tsv": "CSV"}


@dataclass(frozen=True)
class Detected:
    """`row_format` is that of the first row that was understood."""

    file_type: str
    encoding: str
    row_format: str = ""


def detect(path: Path, filename: str, file_type: str = "") -> Detected:
    """File type and encoding; `file_type` overrules what the bytes and the name say.

    Raises: FileRefused (EMPTY_FILE, UNSUPPORTED_FILE, UNKNOWN_FILE_TYPE, NOT_UTF8).
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise FileRefused("EMPTY_FILE", "Line 1: the file is empty; choose a file with at least one row.")
    for magic, (what, remedy) in FOREIGN.items():
        if head.startswith(magic):
            raise FileRefused("UNSUPPORTED_FILE", f"Byte 1: the file is {what}; {remedy}.")
    if head.startswith(b"PAR1"):
        return Detected("PARQUET", "")
    if file_type == "PARQUET":
        raise FileRefused(
            "BROKEN_PARQUET", "Byte 1: a Parquet file begins with PAR1; leave the file type to be detected."
        )
    encoding = detect_encoding(path)
    return Detected(file_type or _text_type(head, filename), encoding)


def inspect(
    path: Path, filename: str, dataset_type: str = "", *, max_rows: int = MAX_ROWS, max_characters: int = MAX_CHARACTERS
) -> Detected:
    """`detect`, and reads the file to its end: what an import would refuse as a whole is refused here already.

    A row must fit `dataset_type`, where one is given; else some type.
    Raises: FileRefused as `detect` and the readers do; NO_ROW_UNDERSTOOD with the fault of the first row.
    """
    found = detect(path, filename)
    row_format = ""
    first: Reject | None = None
    for record in read(path, found.file_type, found.encoding or UTF8, max_rows):
        if row_format:
            continue  # one good row is enough; only a fault of the whole file can still come
        try:
            if record.refused:
                raise record.refused
            row_format = understood(record.row or {}, dataset_type, max_characters=max_characters).row_format
        except RowRefused as refused:
            first = first or Reject.of(record.line, refused, record.text)
    if row_format:
        return Detected(found.file_type, found.encoding, row_format)
    if first is None:
        raise FileRefused("EMPTY_FILE", "Line 1: the file holds no row; choose a file with at least one.")
    raise FileRefused("NO_ROW_UNDERSTOOD", f"No row can be used. {described(first)}")


def understood(
    row: dict[str, Any], dataset_type: str, row_format: str = "", max_characters: int = MAX_CHARACTERS
) -> Parsed:
    """The row as a data set of `dataset_type` has it; without a type, as any could. Raises: RowRefused."""
    parsed = parse(row, row_format)
    if not dataset_type:
        check_turns(parsed)
        return parsed
    fitted = fit(parsed, dataset_type)
    check(fitted, dataset_type, max_characters)
    return fitted


def described(reject: Reject) -> str:
    """`Line 3, field output: EMPTY_CONTENT; write the answer.`"""
    field = f", field {reject.field}" if reject.field else ""
    return f"Line {reject.line}{field}: {reject.reason}; {reject.remedy}."


def _text_type(head: bytes, filename: str) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return "JSON"
    if start.startswith(b"{"):
        return "JSONL"
    by_name = BY_NAME.get(Path(filename).suffix.lower())
    if by_name:
        return by_name
    header = start.split(b"\n", 1)[0].decode("utf-8", "replace")
    words = {word.strip().strip('"') for word in header.replace(";", ",").replace("\t", ",").split(",")}
    if words & KNOWN_COLUMNS:
        return "CSV"
    raise FileRefused(
        "UNKNOWN_FILE_TYPE",
        "Line 1: neither the first bytes nor the name say what this file is; send JSONL, a JSON list, CSV with a "
        "header, or Parquet.",
    )
