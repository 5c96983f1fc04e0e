"""The rows of an evaluation, read back from the object store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from gyre_kit.errors import Precondition
from gyre_kit.pages import DEFAULT_SIZE, MAX_SIZE, decode_offset, encode_offset
from gyre_kit.resources import BadFilter, parse_filter
from gyre_kit.storage import ObjectStore, digest_of, key_of

from services.evaluation import gate
from services.evaluation.models import Evaluation

FILTERS = ("exact", "valid", "slice", "row_id")


class ResultsDamaged(Precondition):
    """The stored results are not what the evaluation wrote; evaluate again."""


@dataclass(frozen=True)
class ResultPage:
    rows: Sequence[dict[str, Any]]
    next_page_token: str
    total: int


async def read(store: ObjectStore, evaluation: Evaluation) -> pa.Table:
    """Raises: ResultsDamaged."""
    try:
        content = await store.get(key_of(evaluation.results_uri))
    except FileNotFoundError as error:
        raise ResultsDamaged(uri=evaluation.results_uri) from error
    if digest_of(content) != evaluation.results_digest:
        raise ResultsDamaged(uri=evaluation.results_uri)
    return await asyncio.to_thread(pq.read_table, pa.BufferReader(content))


def as_gate_rows(table: pa.Table) -> dict[str, gate.Row]:
    """By row id, with the metrics that a rule may name."""
    rows = {}
    for row in table.to_pylist():
        values = {"exact": float(row["exact"]), "valid_json": float(row["valid"])}
        if row["text_score"] is not None:
            values["text"] = row["text_score"]
        rows[row["row_id"]] = gate.Row(row["slice"], values)
    return rows


def page(table: pa.Table, *, filter: str, query: str, page_size: int, page_token: str) -> ResultPage:
    """Raises: BadFilter; BadPageToken."""
    for field, value in parse_filter(filter).items():
        if field not in FILTERS:
            raise BadFilter(field=field, allowed="|".join(FILTERS))
        wanted = value.lower() == "true" if field in ("exact", "valid") else value
        table = table.filter(pc.equal(table[field], pa.scalar(wanted)))
    if query:
        hits = [pc.match_substring(table[name], query, ignore_case=True) for name in ("prompt", "expected", "answer")]
        table = table.filter(pc.or_(pc.or_(hits[0], hits[1]), hits[2]))
    asked = f"{filter}/{query}"
    offset = decode_offset(page_token, asked)
    rows = table.slice(offset, min(page_size or DEFAULT_SIZE, MAX_SIZE)).to_pylist()
    end = offset + len(rows)
    return ResultPage(rows, encode_offset(end, asked) if end < table.num_rows else "", table.num_rows)
