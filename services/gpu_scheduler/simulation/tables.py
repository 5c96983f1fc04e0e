"""Strict reading of CSV tables, one line at a time. What is wrong is told with file, line, column and what to do."""

from __future__ import annotations

import csv
import difflib
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

from gyre_kit.errors import Invalid

GZIP_MAGIC = b"\x1f\x8b"
LONGEST_LINE = 1 << 20  # bytes
MOST = 1e11  # of seconds, cards or cores: three thousand years, and no cluster
SHOWN = 60  # characters of what was found


class BadTrace(Invalid):
    """A file of the trace is not as it has to be."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file. `line` from 1, with the header as line 1; 0 is the file as a whole."""

    file: str
    line: int = 0
    column: str = ""

    def refuse(self, what: str, remedy: str) -> NoReturn:
        """Raises: BadTrace."""
        line = f", line {self.line}" if self.line else ""
        column = f", column {self.column}" if self.column else ""
        raise BadTrace(
            f"{self.file}{line}{column}: {what}.", file=self.file, line=self.line, column=self.column, remedy=remedy
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. Cells are stripped; a column that the file does not have reads as blank."""

    table: Table
    line: int
    cells: Sequence[str]

    def text(self, column: str) -> str:
        index = self.table.index.get(column, -1)
        return self.cells[index].strip() if index >= 0 else ""

    def needed(self, column: str) -> str:
        return self.text(column) or self.place(column).refuse("it is blank", f"Give every line a {column}.")

    def number(self, column: str, blank: float | None = None, least: float = 0.0) -> float:
        """A finite number. `blank` is what an empty cell means; None: it must not be empty."""
        given = self.text(column)
        if not given:
            if blank is None:
                self.place(column).refuse("it is blank", "Write a number there.")
            return blank
        try:
            value = float(given.replace("_", "x"))  # 1_000 is Python's alone
        except ValueError:
            self.place(column).refuse(f"{shown(given)} is no number", "Write it in digits, with a point.")
        if not math.isfinite(value):
            self.place(column).refuse(f"{shown(given)} is no finite number", "Leave the line out, or measure it anew.")
        if not least <= value <= MOST:
            self.place(column).refuse(f"{shown(given)} is out of range", f"It has to be from {least:g} to {MOST:g}.")
        return value

    def whole(self, column: str, blank: int | None = None, least: int = 0) -> int:
        value = self.number(column, blank, least)
        if value != int(value):
            self.place(column).refuse(f"{shown(self.text(column))} is no whole number", "Write a whole number there.")
        return int(value)

    def one_of(self, column: str, allowed: Sequence[str], blank: str) -> str:
        given = self.text(column) or blank
        if given not in allowed:
            self.place(column).refuse(f"{shown(given)} is not known", f"It is one of {', '.join(allowed)}.")
        return given

    def place(self, column: str = "") -> Place:
        return Place(self.table.file, self.line, column)


@dataclass(frozen=True, slots=True)
class Table:
    """`index`: column → its position. `rows` can be gone through once; the file is read meanwhile."""

    file: str
    columns: tuple[str, ...]
    index: dict[str, int]
    rows: Iterator[Row]


def read_table(path: Path, needed: Sequence[str], optional: Sequence[str] = (), delimiter: str = ",") -> Table:
    """Opens a table that is plain or gzipped. Columns of other names are passed over, unless they look misspelt.

    Raises: BadTrace, here for the header, and while the rows are gone through.
    """
    quoted = delimiter == ","  # sacct quotes nothing
    reader = csv.reader(
        _lines(path), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=quoted
    )
    records = _records(reader, path)
    header = next(records, None)
    if header is None:
        Place(path.name).refuse("it is empty", f"Its first line names the columns: {','.join([*needed, *optional])}.")
    columns = tuple(name.strip() for name in header[1])
    _check_columns(Place(path.name, header[0]), columns, needed, optional)
    index = {name: position for position, name in enumerate(columns)}
    table = Table(path.name, columns, index, iter(()))

    def rows() -> Iterator[Row]:
        width = len(columns)
        for line, cells in records:
            if len(cells) != width:
                _refuse_width(Place(path.name, line), len(cells), width)
            yield Row(table, line, cells)

    return Table(path.name, columns, index, rows())


def read_bytes(path: Path, most: int) -> bytes:
    """A whole file, gunzipped where it is gzipped. Raises: BadTrace if it is larger than `most`, or not to be read."""
    with _opened(path) as file:
        data = _guarded(path, lambda: file.read(most + 1))
    if len(data) > most:
        Place(path.name).refuse(f"it has more than {most // 2**20} MiB", "Split it by time, and import the parts.")
    return data


def shown(given: str) -> str:
    """In quotation marks, cut short."""
    return repr(given if len(given) <= SHOWN else given[:SHOWN] + "…")


def _lines(path: Path) -> Iterator[str]:
    """Decoded lines, with their ends as they are. A byte order mark is dropped."""
    with _opened(path) as file:
        number = 0
        while data := _guarded(path, lambda: file.readline(LONGEST_LINE)):
            number += 1
            if len(data) == LONGEST_LINE:
                Place(path.name, number).refuse("the line has more than 1 MiB", "Check that the file is a table.")
            try:
                yield data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                found = f"byte {error.start + 1} of the line, 0x{data[error.start]:02x}, is not UTF-8"
                Place(path.name, number).refuse(found, "Save the file as UTF-8.")


def _opened(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        Place(path.name).refuse(f"it cannot be read: {error.strerror}", "Check its name and its rights.")
    zipped = file.peek(2)[:2] == GZIP_MAGIC
    return cast(BinaryIO, gzip.open(file, "rb")) if zipped else file


def _guarded(path: Path, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except (OSError, EOFError, zlib.error) as error:
        Place(path.name).refuse(f"it cannot be read to its end: {error}", "Copy it anew; it is cut off or damaged.")


def _records(reader: Iterator[list[str]], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines with something in them, numbered. A quoted cell with a line break counts as the line where it ends."""
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            Place(path.name, reader.line_num).refuse(str(error), "Check quotation marks and line ends.")  # type: ignore[attr-defined]
        if cells is None:
            return
        if cells:
            yield reader.line_num, cells  # type: ignore[attr-defined]


def _check_columns(place: Place, columns: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> None:
    known = {*needed, *optional}
    for name in needed:
        if name not in columns:
            place.refuse(f"column {name} is missing", f"The columns there are {shown(','.join(columns))}; add it.")
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        place.refuse(f"column {shown(name)} is there twice", "Rename one of them.")
    for name in sorted(set(columns) - known):
        meant = difflib.get_close_matches(name, sorted(known - set(columns)), 1, 0.8)
        if meant:
            place.refuse(f"column {shown(name)} is not known", f"If {meant[0]} is meant, write it so.")


def _refuse_width(place: Place, found: int, width: int) -> NoReturn:
    few_or_many = "too many" if found > width else "too few"
    place.refuse(
        f"{found} fields are {few_or_many}; there are {width} columns",
        "Quote a cell that has a comma, or mend the line.",
    )
