"""One reader a file type: JSONL, a JSON array, CSV, Parquet. Each yields records; none holds the file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO

from services.dataset.importer.encoding import SAVE_AS_UTF8, UTF8
from services.dataset.importer.problems import FileRefused, RowRefused, printable

MAX_ROW: Final = 8 * 1024 * 1024  # bytes or characters of one row
MAX_ROWS: Final = 300_000
CHUNK: Final = 1 << 20
BATCH: Final = 512
ONE_OBJECT_A_LINE: Final = 'write one JSON object a line, for example {"prompt": "…", "completion": "…"}'
JSON_COLUMNS: Final = ("messages", "conversations", "chosen", "rejected", "prompt")
KNOWN_COLUMNS: Final = frozenset(
    [
        "instruction",
        "input",
        "output",
        "messages",
        "conversations",
        "prompt",
        "completion",
        "chosen",
        "rejected",
        "question",
        "answer",
        "query",
        "response",
        "text",
    ]
)


@dataclass(frozen=True)
class Record:
    """One row of a source: what was read, or why it could not be. `line` counts from 1."""

    line: int
    row: dict[str, Any] | None
    raw: str = ""
    refused: RowRefused | None = None

    @property
    def text(self) -> str:
        return self.raw or json.dumps(self.row, ensure_ascii=False, default=str)


def read(path: Path, file_type: str, encoding: str = UTF8, max_rows: int = MAX_ROWS) -> Iterator[Record]:
    """The records of `path`.

    Raises: FileRefused, naming line and remedy, where the file itself is broken or has over `max_rows` records.
    """
    for count, record in enumerate(READERS[file_type](path, encoding), 1):
        if count > max_rows:
            message = f"Row {record.line}: a version has at most {max_rows} rows; split the file."
            raise FileRefused("TOO_MANY_ROWS", message)
        yield record


def read_jsonl(path: Path, encoding: str) -> Iterator[Record]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_ROW + 1):
            number += 1
            if len(line) > MAX_ROW:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_ROW)
                refused = RowRefused("", "ROW_TOO_LONG", f"a row has at most {MAX_ROW} bytes; split or shorten it")
                yield Record(number, None, refused=refused)
            elif line := line.removeprefix(b"\xef\xbb\xbf").rstrip():
                yield _line_record(number, line, encoding)


def _line_record(number: int, line: bytes, encoding: str) -> Record:
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError as error:
        raw = line.decode(encoding, "replace")
        remedy = (
            f"byte {error.start + 1} of the line is 0x{line[error.start]:02X}, which {encoding} does not allow there; "
        )
        return Record(number, None, raw, RowRefused("", "NOT_UTF8", remedy + SAVE_AS_UTF8))
    if "\0" in text:
        remedy = f"a NUL byte at column {text.index(chr(0)) + 1}; remove it (tr -d '\\000' < FILE)"
        return Record(number, None, text, RowRefused("", "NUL_CHARACTER", remedy))
    try:
        return _object_record(number, _loads(text), text)
    except ValueError as error:
        where = f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        return Record(number, None, text, RowRefused("", "BROKEN_JSON", f"{where}; {ONE_OBJECT_A_LINE}"))


def read_json(path: Path, encoding: str) -> Iterator[Record]:
    """The elements of one JSON array, decoded one at a time."""
    with path.open(
        encoding="utf-8-sig" if encoding == UTF8 else encoding, errors="surrogateescape", newline=""
    ) as file:
        window = _Window(file)
        if window.peek() != "[":
            window.broken("the file is not a JSON list; wrap the rows in [ and ], or write one object a line (JSONL)")
        window.step()
        number = 0
        while window.peek() != "]":
            if number:
                if window.peek() != ",":
                    window.broken("a comma or the closing ] is missing after this row")
                window.step()
            number += 1
            value, raw = window.value()
            yield _object_record(number, value, raw)
        window.step()
        if window.peek():
            window.broken("something follows the closing ] of the list; remove it")


class _Window:
    """A part of a text file that moves on and grows as a value needs it."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at, self._lines, self._column = file, "", 0, 0, 0

    def peek(self) -> str:
        """The next character that is not blank; empty at the end of the file."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or not self._fill():
                return self._text[self._at : self._at + 1]

    def step(self) -> None:
        self._at += 1

    def value(self) -> tuple[Any, str]:
        """The next value and its text. Raises: FileRefused (BROKEN_JSON)."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError, _NotAValue) as error:
                if len(self._text) - self._at > MAX_ROW or not self._fill():
                    self._at = getattr(error, "pos", self._at)
                    self.broken(f"{getattr(error, 'msg', error)}; the rows up to here are fine, repair this one")
                continue
            if end == len(self._text) and self._fill():
                continue  # a number may go on behind the window
            raw, self._at = self._text[self._at : end], end
            return value, raw

    def broken(self, what: str) -> NoReturn:
        line = self._lines + self._text.count("\n", 0, self._at) + 1
        newline = self._text.rfind("\n", 0, self._at)
        column = self._at - newline if newline >= 0 else self._column + self._at + 1
        nul = " (a NUL byte)" if self._text[self._at : self._at + 1] == "\0" else ""
        raise FileRefused("BROKEN_JSON", f"Line {line}, column {column}{nul}: {what}.")

    def _fill(self) -> bool:
        more = self._file.read(CHUNK)
        if more:
            passed = self._text[: self._at]
            self._lines += passed.count("\n")
            newline = passed.rfind("\n")
            self._column = len(passed) - newline - 1 if newline >= 0 else self._column + len(passed)
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)


def read_csv(path: Path, encoding: str) -> Iterator[Record]:
    """Records under a header line, separated by comma, semicolon or tab."""
    csv.field_size_limit(MAX_ROW)
    with path.open(
        encoding="utf-8-sig" if encoding == UTF8 else encoding, errors="surrogateescape", newline=""
    ) as file:
        header = file.readline(CHUNK)
        delimiter = max(",;\t", key=header.count)
        columns = [column.strip() for column in next(csv.reader([header], delimiter=delimiter), [])]
        if not KNOWN_COLUMNS & set(columns):
            raise FileRefused(
                "UNKNOWN_COLUMNS",
                f"Line 1: the header has the columns {printable(', '.join(columns)) or '(none)'}; name them instruction, "
                "input, output, or prompt, completion, or messages, or prompt, chosen, rejected.",
            )
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        for number, cells in _csv_rows(reader):
            yield _csv_record(number, columns, cells)


def _csv_rows(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Numbered records. Raises: FileRefused (BROKEN_CSV) with the line at which the broken record begins."""
    number = 0
    while True:
        line = reader.line_num + 2  # the header is line 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FileRefused(
                "BROKEN_CSV",
                f"Line {line}: {error} in the record that begins here; close its quotes, and write a quote inside "
                'a quoted field twice ("").',
            ) from error
        if cells:
            number += 1
            yield number, cells


def _csv_record(number: int, columns: list[str], cells: list[str]) -> Record:
    raw = ",".join(cells)
    if len(cells) != len(columns):
        remedy = f"the record has {len(cells)} fields, the header {len(columns)}; quote fields that hold the separator"
        return Record(number, None, raw, RowRefused("", "COLUMN_COUNT", remedy))
    row: dict[str, Any] = dict(zip(columns, cells, strict=True))
    for column in JSON_COLUMNS:
        if row.get(column, "").startswith(("[", "{")):
            row[column] = _unfolded(row[column])
    return Record(number, row, raw)


def _unfolded(cell: str) -> Any:
    """A cell that holds a turn or a list of turns as JSON; any other cell is text."""
    try:
        value = _loads(cell)
    except ValueError:
        return cell
    first = value[0] if isinstance(value, list) and value else value
    return value if isinstance(first, dict) and ({"role", "from"} & first.keys()) else cell


def read_parquet(path: Path, _: str) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in _parquet_rows(batch):
                    number += 1
                    yield Record(number, row) if isinstance(row, dict) else Record(number, None, refused=row)
    except (OSError, pa.ArrowException) as error:
        raise FileRefused(
            "BROKEN_PARQUET",
            f"Row {number + 1}: the file cannot be read as Parquet ({_first_line(error)}); write it again with a "
            "current writer.",
        ) from error


def _parquet_rows(batch: Any) -> list[dict[str, Any] | RowRefused]:
    """Rows of a batch; a string that is not UTF-8 costs its own row alone."""
    try:
        return list(batch.to_pylist())
    except UnicodeDecodeError:
        return [_row_or_refusal(batch.slice(at, 1)) for at in range(batch.num_rows)]


def _row_or_refusal(batch: Any) -> dict[str, Any] | RowRefused:
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
        return row
    except UnicodeDecodeError:
        return RowRefused("", "NOT_UTF8", "a string of this row is not UTF-8; store it as binary, or repair it")


READERS: Final[Mapping[str, Callable[[Path, str], Iterator[Record]]]] = {
    "JSONL": read_jsonl,
    "JSON": read_json,
    "CSV": read_csv,
    "PARQUET": read_parquet,
}

_BLANKS: Final = re.compile(r"[ \t\r\n]*")


class _NotAValue(ValueError):
    """NaN and Infinity, which Python's decoder takes and JSON does not know."""


def _no_constant(name: str) -> NoReturn:
    raise _NotAValue(f"{name} is not JSON; write null or a number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def _loads(text: str) -> Any:
    """Raises: ValueError, also for what nests too deep."""
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("the value nests too deep") from error


def _object_record(number: int, value: Any, raw: str) -> Record:
    if isinstance(value, dict):
        return Record(number, value, raw)
    remedy = f"a row is an object, this is {_kind(value)}; {ONE_OBJECT_A_LINE}"
    return Record(number, None, raw, RowRefused("", "NOT_AN_OBJECT", remedy))


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
