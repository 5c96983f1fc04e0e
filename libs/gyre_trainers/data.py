"""Parquet rows of a data set version become TRL's conversational data sets.

Canonical columns: `messages` list<struct<role, content>> (SFT, evaluation, prompts), or `prompt`, `chosen`, `rejected`
of the same type (preferences). Everything else that a row carries is left out of training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

from gyre_trainers.exits import BadInput
from gyre_trainers.templates import CHATML, PLAIN

if TYPE_CHECKING:
    from datasets import Dataset

PREFERENCE: Final = ("prompt", "chosen", "rejected")
REMEDY: Final = "pick a ready data set version of the type that the method needs"


class Message(TypedDict):
    role: str
    content: str


Row = dict[str, Any]


def read_rows(path: Path, field: str, *, digest: str = "", rows: int = 0, columns: Iterable[str]) -> list[Row]:
    """The `columns` of one Parquet file, each a list of messages, checked against the pinned digest and count.

    Rows in which one of them is empty are left out. Raises: BadInput.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if digest and (found := f"sha256:{_sha256(path)}") != digest:
        raise BadInput(f"{field}.digest", f"the file has {found}", "create the run again; the stored rows changed")
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{field}.uri", f"not a Parquet file ({error})", REMEDY) from error
    if missing := [column for column in columns if column not in table.column_names]:
        raise BadInput(f"{field}.uri", f"no column {', '.join(missing)}", REMEDY)
    if rows and table.num_rows != rows:
        raise BadInput(f"{field}.rows", f"the file holds {table.num_rows} rows, not {rows}", "create the run again")
    if odd := [column for column in columns if not _holds_messages(table.schema.field(column).type)]:
        raise BadInput(f"{field}.uri", f"column {', '.join(odd)} is no list of messages", REMEDY)
    return _talks(table.select(list(columns)))


def first_rows(path: Path, count: int, columns: Iterable[str]) -> list[Row]:
    """The first of a file that `read_rows` has taken; no more of it is read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return _talks(next(file.iter_batches(batch_size=count, columns=list(columns))))


def _talks(table: Any) -> list[Row]:
    talks = [{column: _messages(value) for column, value in row.items()} for row in table.to_pylist()]
    return [row for row in talks if all(row.values())]


def _holds_messages(kind: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_list(kind) or not pa.types.is_struct(kind.value_type):
        return False
    return {"role", "content"} <= {inner.name for inner in kind.value_type}


def _messages(value: Any) -> list[Message]:
    return [{"role": message["role"], "content": message["content"] or ""} for message in value or ()]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def preferences(rows: Iterable[Row]) -> Dataset:
    """Prompt, chosen and rejected, as DPO, ORPO and reward models take them."""
    return _dataset([{side: row[side] for side in PREFERENCE} for row in rows], "no rows")


def judged(rows: Iterable[Row]) -> Dataset:
    """Each pair as a good and a bad completion, as KTO takes them."""
    singles = []
    for row in rows:
        singles.append({"prompt": row["prompt"], "completion": row["chosen"], "label": True})
        singles.append({"prompt": row["prompt"], "completion": row["rejected"], "label": False})
    return _dataset(singles, "no rows")


def prompts(rows: Iterable[Row]) -> Dataset:
    """What comes before the last turn of the assistant, as PPO and GRPO take it, and what that turn said."""
    asked = []
    for row in rows:
        messages, expected = list(row["messages"]), ""
        while messages and messages[-1]["role"] == "assistant":
            expected = messages.pop()["content"]
        if messages:
            asked.append({"prompt": messages, "expected": expected})
    return _dataset(asked, "no row has a message to answer")


def _dataset(rows: list[Row], why_empty: str) -> Dataset:
    from datasets import Dataset

    if not rows:
        raise BadInput("data", why_empty, REMEDY)
    return Dataset.from_list(rows)


def with_chat_template(tokenizer: Any) -> Any:
    """Gives a tokenizer without a chat template a plain one: ChatML where its markers are tokens, else roles in words."""
    if not tokenizer.chat_template:
        vocabulary = tokenizer.get_vocab()
        tokenizer.chat_template = CHATML if "<|im_start|>" in vocabulary and "<|im_end|>" in vocabulary else PLAIN
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
