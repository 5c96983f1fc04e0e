"""The files of a version: Parquet with TRL's columns, rejects as JSON lines. The same rows give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from services.dataset.importer.canonical import Parsed, Turn
from services.dataset.importer.problems import Reject

BATCH: Final = 1000
TURNS: Final = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
# A PROMPT row has `messages` beside `prompt`, the same turns: what generates answers reads `messages` of any type.
COLUMNS: Final = {
    "SFT": ("messages",),
    "EVALUATION": ("messages",),
    "PREFERENCE": ("prompt", "chosen", "rejected"),
    "PROMPT": ("prompt", "messages"),
}
Columns = dict[str, list[dict[str, str]]]  # name of the column → turns
OWN: Final = ("_side", "_user", "_whole", "_hash")  # columns of the spool alone


def schema_of(dataset_type: str) -> Any:
    """id, the type's turns, slice, split, source_line, meta (a JSON object as text)."""
    turns = [(name, TURNS) for name in COLUMNS[dataset_type]]
    rest = [("slice", pa.string()), ("split", pa.string()), ("source_line", pa.int64()), ("meta", pa.string())]
    return pa.schema([("id", pa.string()), *turns, *rest])


def turn_columns(parsed: Parsed, dataset_type: str) -> Columns:
    """The columns of `dataset_type` that hold turns."""
    sides = {"messages": parsed.turns, "prompt": parsed.turns, "chosen": parsed.chosen, "rejected": parsed.rejected}
    return {name: [_message(turn) for turn in sides[name]] for name in COLUMNS[dataset_type]}


def _message(turn: Turn) -> dict[str, str]:
    return {"role": turn.role, "content": turn.content}


def user_text(columns: Columns) -> str:
    """What the user says, in one text."""
    return "\n".join(
        turn["content"] for turn in columns.get("prompt", columns.get("messages", ())) if turn["role"] == "user"
    )


def whole_text(columns: Columns) -> str:
    """All that the row says. A system turn longer than the rest is left out: it would make all rows look alike."""
    names = ("prompt", "chosen", "rejected") if "prompt" in columns else ("messages",)
    turns = [turn for name in names for turn in columns.get(name, ())]
    system = [turn["content"] for turn in turns if turn["role"] == "system"]
    spoken = [turn["content"] for turn in turns if turn["role"] != "system"]
    if sum(map(len, system)) > sum(map(len, spoken)):
        system = []
    return "\n".join(system + spoken)


class Spool:
    """Accepted rows on their way: written once, then read back by number from a memory-mapped file."""

    def __init__(self, path: Path, dataset_type: str) -> None:
        text = [(name, pa.string()) for name in OWN[:-1]]
        self._schema = pa.schema([*schema_of(dataset_type), *text, ("_hash", pa.binary(32))])
        self._path = path
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._pending: list[dict[str, Any]] = []
        self._batches: list[Any] = []
        self._map: Any = None
        self._rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sink.close()
        if self._map is not None:
            self._batches.clear()
            self._map.close()

    def add(self, row: dict[str, Any]) -> None:
        self._pending.append(row)
        self._rows += 1
        if len(self._pending) == BATCH:
            self._flush()

    def finish(self) -> None:
        """No more rows come; from now on they can be read."""
        self._flush()
        self._writer.close()
        self._sink.close()
        self._map = pa.memory_map(str(self._path))
        reader = pa.ipc.open_file(self._map)
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]

    def __len__(self) -> int:
        return self._rows

    def user(self, row: int) -> str:
        return str(self.cell("_user", row))

    def whole(self, row: int) -> str:
        return str(self.cell("_whole", row))

    def column(self, name: str) -> list[Any]:
        return [value for batch in self._batches for value in batch.column(name).to_pylist()]

    def batches(self) -> Iterator[Any]:
        yield from self._batches

    def cell(self, column: str, row: int) -> Any:
        return self._batches[row // BATCH].column(column)[row % BATCH].as_py()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._pending, self._schema))
            self._pending.clear()


def write_rows(out: Path, dataset_type: str, spool: Spool, sides: Sequence[str | None]) -> None:
    """rows.parquet, train.parquet and test.parquet; a row whose side is None was refused after all."""
    schema = schema_of(dataset_type)
    names = {"rows": None, "train": "TRAIN", "test": "TEST"}
    writers = {name: pq.ParquetWriter(out / f"{name}.parquet", schema, compression="zstd") for name in names}
    try:
        start = 0
        for batch in spool.batches():
            split = pa.array(sides[start : start + len(batch)], pa.string())
            start += len(batch)
            table = pa.Table.from_batches([batch]).drop_columns(list(OWN))
            table = table.set_column(table.schema.get_field_index("split"), "split", split)
            for name, side in names.items():
                wanted = [value is not None if side is None else value == side for value in split.to_pylist()]
                writers[name].write_table(table.filter(pa.array(wanted)))
    finally:
        for writer in writers.values():
            writer.close()


def write_rejects(out: Path, rejects: Iterable[Reject]) -> None:
    with (out / "rejects.jsonl").open("w", encoding="utf-8") as file:
        for reject in rejects:
            file.write(json.dumps(reject.as_dict(), ensure_ascii=False) + "\n")


def read_side(rows: Path, side: str) -> Iterator[dict[str, Any]]:
    """The rows of a version's rows.parquet that lie on `side`."""
    with pq.ParquetFile(rows) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            yield from (row for row in batch.to_pylist() if row["split"] == side)


def ids_of(rows: Path, side: str) -> list[str]:
    table = pq.read_table(rows, columns=["id", "split"])
    return [row_id for row_id, of in zip(*table.to_pydict().values(), strict=True) if of == side]
