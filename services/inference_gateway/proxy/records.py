"""Completions that a project consented to keep: from the answer's end to a file that survives the worker.

An answer's end puts the record into a bounded queue (never a wait); a writer takes what came in `record_flush_seconds`
and writes it as one spool segment: a file of JSON lines, fsynced, then renamed into place. The control plane ships
segments and deletes them when they are stored (`shipper.py`).

What a `kill -9` of a worker can lose is what ended within the last flush interval and the fsync under way: at most
`record_queue` completions or `record_queue_bytes`, in practice those of the last 50 ms and one fsync.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.inference_gateway.proxy.settings import ProxySettings

log = logging.getLogger(__name__)
SEGMENT_RECORDS = 500  # as many as RecordCompletions takes at once
SEGMENT_BYTES = 3 * 1024 * 1024  # below gRPC's 4 MiB
SUFFIX = ".jsonl"
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class CompletionRecord:
    """One answered request. `id` as the client got it; names are resource names; `time` in Unix seconds. No messages:
    its texts are not to be kept."""

    id: str
    project: str
    deployment: str
    target: str
    model_version: str
    variant: str
    api_key: str
    messages: list[dict[str, str]]
    parameters: dict[str, Any]
    answer: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    ttft_ms: float
    duration_ms: float
    time: float
    streamed: bool = False
    shadow_of: str = ""  # id of the completion whose request it answered too
    comparison: dict[str, Any] | None = None  # of both answers; there without their texts too

    def line(self) -> bytes:
        """ASCII JSON. Characters that no database takes (NUL, halves of surrogate pairs) become U+FFFD."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        line = json.dumps(fields, separators=(",", ":"))
        if "\\u0000" in line or "\\ud" in line:
            line = json.dumps(_storable(fields), separators=(",", ":"))
        return line.encode()


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_storable(name): _storable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return value


def parse_line(line: bytes) -> CompletionRecord:
    """Raises: ValueError, TypeError if it is not a record."""
    return CompletionRecord(**json.loads(line))


@dataclass
class RecordQueue:
    """Lines that wait for the disk. When full, the oldest go: `count` hears the outcome of each."""

    settings: ProxySettings
    count: Callable[[str], None]
    _lines: deque[bytes] = field(default_factory=deque)
    _bytes: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def __len__(self) -> int:
        return len(self._lines)

    def put(self, record: CompletionRecord) -> None:
        line = record.line()
        if len(line) > self.settings.record_max_bytes:
            self.count("too_large")
            return
        self._lines.append(line)
        self._bytes += len(line)
        while len(self._lines) > self.settings.record_queue or self._bytes > self.settings.record_queue_bytes:
            self._bytes -= len(self._lines.popleft())
            self.count("dropped")
        self.arrived.set()

    def take(self) -> list[bytes]:
        """The oldest lines, as many as go into one segment."""
        lines: list[bytes] = []
        size = 0
        while self._lines and len(lines) < SEGMENT_RECORDS:
            if lines and size + len(self._lines[0]) > SEGMENT_BYTES:
                break
            line = self._lines.popleft()
            size += len(line)
            lines.append(line)
        self._bytes -= size
        if not self._lines:
            self.arrived.clear()
        return lines


class SpoolWriter:
    """Writes the queue to the spool folder until it is stopped; `flush` writes what is left."""

    def __init__(self, queue: RecordQueue, folder: Path, settings: ProxySettings) -> None:
        self._queue = queue
        self._folder = folder
        self._settings = settings
        self._held: list[bytes] = []

    async def run(self) -> None:
        while True:
            await self._queue.arrived.wait()
            await asyncio.sleep(self._settings.record_flush_seconds)
            if not await self.flush():
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> bool:
        """Writes all that waits. False where the disk refused: the lines are kept and tried again."""
        while self._held or len(self._queue):
            self._held = self._held or self._queue.take()
            try:
                await asyncio.to_thread(write_segment, self._folder, self._held)
            except OSError as error:
                self._queue.count("write_failed")
                log.error("completions cannot be written to the spool", extra={"reason": str(error)})
                return False
            for _ in self._held:
                self._queue.count("spooled")
            self._held = []
        return True


def write_segment(folder: Path, lines: list[bytes]) -> Path:
    """A segment appears whole, and only once it is on the disk; names sort as they were written. Raises: OSError."""
    path = folder / f"{time.time_ns()}-{os.getpid()}{SUFFIX}"
    temporary = path.with_suffix(".part")
    try:
        with open(temporary, "wb") as file:
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(folder)
    return path


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
