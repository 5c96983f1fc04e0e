"""Looks into the files of a version, page by page: accepted rows by DuckDB, refused ones from their JSON lines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyre_kit import pages
from gyre_kit.app import Context
from gyre_kit.names import new_id
from gyre_kit.resources import BadFilter, parse_filter

from services.dataset.models import Version

TURN_COLUMNS = ("messages", "prompt", "chosen", "rejected")
REJECT_FILTERS = ("reason", "field", "line")


@dataclass(frozen=True)
class RowsAsked:
    page_size: int = 0
    page_token: str = ""
    split: str = ""
    slice: str = ""
    query: str = ""


@dataclass(frozen=True)
class Found:
    """One page, as dicts of columns."""

    rows: list[dict[str, Any]]
    next_page_token: str
    total: int


@dataclass(frozen=True)
class _Place:
    """Where a page begins and how long it is."""

    question: str
    offset: int
    size: int

    @classmethod
    def of(cls, question: str, page_size: int, page_token: str) -> _Place:
        """Raises: BadPageToken."""
        size = min(page_size or pages.DEFAULT_SIZE, pages.MAX_SIZE)
        return cls(question, pages.decode_offset(page_token, question), size)

    def next_token(self, shown: int, total: int) -> str:
        end = self.offset + shown
        return pages.encode_offset(end, self.question) if end < total else ""


async def rows_page(context: Context, version: Version, asked: RowsAsked) -> Found:
    """Rows in the order of the source. Raises: BadPageToken."""
    question = json.dumps([version.name, asked.split, asked.slice, asked.query])
    place = _Place.of(question, asked.page_size, asked.page_token)
    path = await _local(context, f"{version.prefix}/rows.parquet")
    rows, total = await asyncio.to_thread(_query_rows, path, asked, place)
    return Found(rows, place.next_token(len(rows), total), total)


async def rejects_page(context: Context, version: Version, *, filter: str, page_size: int, page_token: str) -> Found:
    """Refused rows in the order of the source; none where the import has written none. Raises: BadFilter; BadPageToken."""
    wanted = parse_filter(filter)
    for name in wanted:
        if name not in REJECT_FILTERS:
            raise BadFilter(field=name, allowed="|".join(REJECT_FILTERS))
    place = _Place.of(json.dumps([version.name, "rejects", filter]), page_size, page_token)
    key = f"{version.prefix}/rejects.jsonl"
    if not await context.store.exists(key):
        return Found([], "", 0)
    path = await _local(context, key)
    rows, total = await asyncio.to_thread(_read_rejects, path, wanted, place)
    return Found(rows, place.next_token(len(rows), total), total)


def _query_rows(path: Path, asked: RowsAsked, place: _Place) -> tuple[list[dict[str, Any]], int]:
    import duckdb  # on first use: a service that shows no rows need not hold it

    with duckdb.connect(config={"threads": 2, "memory_limit": "256MB"}) as connection:
        source = connection.read_parquet(str(path), file_row_number=True)
        turns = [column for column in TURN_COLUMNS if column in source.columns]
        text = " || ' ' || ".join(f"{column}::VARCHAR" for column in turns)
        clauses = {
            "split = ?": asked.split,
            "slice = ?": asked.slice,
            f"contains(lower({text}), lower(?))": asked.query,
        }
        given = {clause: value for clause, value in clauses.items() if value}
        where, values = " AND ".join(["true", *given]), list(given.values())
        found = connection.execute(f"SELECT count(*) FROM source WHERE {where}", values).fetchone()
        page = f"SELECT * FROM source WHERE {where} ORDER BY file_row_number LIMIT {place.size} OFFSET {place.offset}"
        result = connection.execute(page, values)
        names = [column[0] for column in result.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        return rows, int(found[0]) if found else 0


def _read_rejects(path: Path, wanted: Mapping[str, str], place: _Place) -> tuple[list[dict[str, Any]], int]:
    rows, total = [], 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            reject = json.loads(line)
            if all(str(reject[name]) == value for name, value in wanted.items()):
                if place.offset <= total < place.offset + place.size:
                    rows.append(reject)
                total += 1
    return rows, total


async def _local(context: Context, key: str) -> Path:
    """The file itself where the store is a folder, else a copy; versions do not change, so a copy stays good."""
    if (path := context.store.local_path(key)) is not None:
        return path
    cached = (
        Path(tempfile.gettempdir()) / "gyre-dataset" / hashlib.sha256(f"{context.store.url} {key}".encode()).hexdigest()
    )
    if not cached.exists():
        fetched = await context.store.fetch(key, cached.parent / new_id())
        os.replace(fetched, cached)
    return cached
