"""The files of a batch on this machine: its input, fetched; its part files; what it ends with, put together from them."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyre_kit.app import Context
from gyre_kit.names import last
from gyre_kit.storage import digest_of_file

from services.inference_gateway.batches import files
from services.inference_gateway.batches import rows as batch_rows
from services.inference_gateway.batches.files import Stored
from services.inference_gateway.batches.lines import Bounds, Line, lines
from services.inference_gateway.models.batches import BatchState, InferenceBatch
from services.inference_gateway.proxy import parts
from services.inference_gateway.proxy.parts import Part
from services.inference_gateway.proxy.settings import SCRATCH, Paths, ProxySettings

EXPIRED = {"code": "batch_expired", "message": "The batch's time was over before this line was answered."}


@dataclass(frozen=True)
class Results:
    """Paths of what was put together. `rows` is None where the source is a file."""

    output: Path
    errors: Path
    rows: Path | None
    completed: int
    failed: int
    model_versions: list[str]


@dataclass(frozen=True)
class Work:
    """Where results are put together, and of what."""

    scratch: Path
    parts: Path
    bounds: Bounds


@asynccontextmanager
async def scratch(context: Context) -> AsyncIterator[Path]:
    """A folder that goes away, on the disk of the gateway's state: files may be too large for /tmp."""
    paths: Paths = context.state["paths"]
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=SCRATCH, dir=paths.folder))
    try:
        yield folder
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def folder_of(context: Context, batch: InferenceBatch) -> Path:
    """Where its part files lie."""
    paths: Paths = context.state["paths"]
    return paths.batches / last(batch.name)


def bounds(context: Context) -> Bounds:
    return Bounds(context.settings.batch_max_requests, ProxySettings().max_body_bytes)


def input_key(batch: InferenceBatch) -> str:
    return files.key_of(batch.project, batch.input_file)


def object_key(batch: InferenceBatch, name: str) -> str:
    return f"inference_gateway/batches/{last(batch.name)}/{name}"


async def fetch_input(context: Context, batch: InferenceBatch, folder: Path) -> Path:
    """Raises: FileNotFoundError."""
    return await context.store.fetch(input_key(batch), folder)


async def write_source(context: Context, batch: InferenceBatch, folder: Path) -> Path:
    """The rows of its data set version as lines; the rows themselves go into the object store."""
    lines_path, rows_path = folder / "lines.jsonl", folder / "rows.jsonl"
    with lines_path.open("w", encoding="utf-8") as lines_file, rows_path.open("w", encoding="utf-8") as rows_file:
        async for each in batch_rows.rows(context.clients, batch.source_version):
            row = batch_rows.row_of(each)
            lines_file.write(_json_line(batch_rows.line_of(batch, row)))
            rows_file.write(_json_line(row))
    await context.store.put_file(object_key(batch, "source.jsonl"), rows_path)
    return lines_path


async def gather(context: Context, batch: InferenceBatch, folder: Path) -> Results:
    """What came of every line, in the order of the input; nothing where it was cancelled before there was one."""
    lines_path, rows_path = folder / "nothing.jsonl", None
    lines_path.touch()
    if not batch.start_time:
        return Results(lines_path, lines_path, None, 0, 0, [])
    lines_path = await fetch_input(context, batch, folder)
    if batch.source_version:
        rows_path = await context.store.fetch(object_key(batch, "source.jsonl"), folder)
    work = Work(folder, folder_of(context, batch), bounds(context))
    return await asyncio.to_thread(_gather, batch, lines_path, rows_path, work)


async def store(context: Context, key: str, path: Path) -> Stored:
    """Puts a file into the object store, whole or not at all."""
    uri = await context.store.put_file(key, path)
    return Stored(path.stat().st_size, uri, await asyncio.to_thread(digest_of_file, path))


async def forget_parts(context: Context, batch: InferenceBatch) -> None:
    await asyncio.to_thread(shutil.rmtree, folder_of(context, batch), ignore_errors=True)


def _gather(batch: InferenceBatch, lines_path: Path, rows_path: Path | None, work: Work) -> Results:
    found = {part.line: part for part in parts.read_parts(work.parts)}
    output, errors = work.scratch / "output.jsonl", work.scratch / "errors.jsonl"
    completed = failed = 0
    with output.open("w", encoding="utf-8") as good, errors.open("w", encoding="utf-8") as bad:
        for line in lines(lines_path, batch.endpoint, work.bounds):
            part = found.get(line.number)
            if part is None and batch.state == BatchState.CANCELLING:
                continue
            is_good = part is not None and part.answered
            completed, failed = completed + is_good, failed + (not is_good)
            (good if is_good else bad).write(_json_line(_result(batch, line, part)))
    rows = _rows(batch, rows_path, found, work.scratch) if rows_path else None
    versions = sorted({part.model_version for part in found.values() if part.model_version})
    return Results(output, errors, rows, completed, failed, versions)


def _result(batch: InferenceBatch, line: Line, part: Part | None) -> dict[str, Any]:
    """One line of the output or of the error file, as OpenAI has them."""
    fields = {"id": f"{last(batch.name)}_{line.number}", "custom_id": line.custom_id}
    if part is None:
        return fields | {"response": None, "error": EXPIRED}
    if part.error is not None:
        return fields | {"response": None, "error": dict(part.error)}
    response = {"status_code": part.status, "request_id": part.request_id, "body": part.body}
    return fields | {"response": response, "error": None}


def _rows(batch: InferenceBatch, rows_path: Path, found: dict[int, Part], scratch: Path) -> Path:
    path = scratch / "answered.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(map(_json_line, batch_rows.answered(batch, rows_path, found)))
    return path


def _json_line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"
