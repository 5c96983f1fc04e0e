"""Completions that a project consented to keep: from the answer's end to a file that survives the worker.

A record is appended to the worker's open segment before the client sees the end of its answer. What was handed to the
kernel outlives the process: a `kill -9` of a worker loses no answer whose end a client saw. A moment later the segment
is synced to the disk, off the loop, and renamed; the control plane ships such segments and deletes them when they are
stored (`shipper.py`). A worker holds the lock of its open segment, so that the segment of a dead one is told from that
of a running one by trying the lock.

What the machine's own death can lose is what was not synced: the last `record_flush_seconds` and one sync. While the
disk refuses, records wait in memory: at most `record_queue` of them or `record_queue_bytes`, and a death loses those.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from services.inference_gateway.proxy.settings import ProxySettings

log = logging.getLogger(__name__)
SEGMENT_RECORDS = 500  # as many as RecordCompletions takes at once
SEGMENT_BYTES = 3 * 1024 * 1024  # below gRPC's 4 MiB
SUFFIX = ".jsonl"  # whole, on the disk
OPEN = ".open"  # being written by whoever holds its lock
NEW = ".new"  # not locked yet
RETRY_SECONDS = 1.0


@dataclass(slots=True)
class CompletionRecord:
    """One answered request, not changed once it is made. `id` as the client got it; names are resource names; `time` in Unix seconds. No messages:
    its texts are not to be kept."""

    id: str
    project: str
    deployment: str
    target: str
    model_version: str
    variant: str
    api_key: str
    messages: list[dict[str, Any]]
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
    session: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    tool_calls: list[dict[str, str]] = field(default_factory=list)
    error: str = ""
    cached_tokens: int = 0
    cost_picousd: int = 0
    prompt: str = ""  # name of the version that was filled in
    guardrails: list[str] = field(default_factory=list)  # what they found and did
    cached: bool = False  # no engine was asked

    def line(self) -> bytes:
        """JSON. Characters that no database takes (NUL, halves of surrogate pairs) become U+FFFD."""
        try:
            line = orjson.dumps(self)
            if b"\\u0000" not in line:
                return line
        except orjson.JSONEncodeError:  # half a surrogate pair, or a number beyond 64 bits
            pass
        fields = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(storable(fields), separators=(",", ":")).encode()


def storable(value: Any) -> Any:
    """`value` without the characters that no database takes: NUL and halves of surrogate pairs become U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {storable(name): storable(each) for name, each in value.items()}
    if isinstance(value, list):
        return [storable(each) for each in value]
    return value


def parse_line(line: bytes) -> CompletionRecord:
    """Raises: ValueError, TypeError if it is not a record."""
    return CompletionRecord(**json.loads(line))


class Spool:
    """Where one worker's records go. `count` hears what became of each."""

    def __init__(self, folder: Path, settings: ProxySettings, count: Callable[[str], None]) -> None:
        self._folder = folder
        self._settings = settings
        self._count = count
        self._segment: Segment | None = None
        self._spare: Segment | None = (
            None  # made off the loop: to make a file can wait for the disk, to append does not
        )
        self._full: list[Segment] = []
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        """How many wait for the disk to take them."""
        return len(self._waiting)

    def put(self, record: CompletionRecord) -> None:
        """Never raises for what the disk does, and never waits but for the kernel's copy."""
        line = record.line() + b"\n"
        if len(line) > self._settings.record_max_bytes:
            self._count("too_large")
            return
        if self._waiting or not self._append(line):
            self._wait(line)
        self._arrived.set()

    async def run(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(self._settings.record_flush_seconds)
            self._arrived.clear()
            if not await self.flush():
                self._arrived.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> bool:
        """Hands all that came on to the shipper. False where the disk refused: what waits is tried again."""
        while self._waiting and self._append(self._waiting[0]):
            self._waiting_bytes -= len(self._waiting.popleft())
        self._turn_over()
        try:
            while self._full:
                await asyncio.to_thread(self._full[0].finish)
                self._full.pop(0)
            if self._spare is None:
                self._spare = await asyncio.to_thread(Segment, self._folder)
        except OSError as error:
            self._refused(error)
            return False
        return not self._waiting

    async def close(self) -> bool:
        """What is left to the shipper, as `flush` does it; the worker is about to end."""
        done = await self.flush()
        if self._spare is not None:
            self._spare.drop()
        return done

    def _append(self, line: bytes) -> bool:
        try:
            if self._segment is not None and not self._segment.has_room_for(line):
                self._turn_over()
            if self._segment is None:
                self._segment, self._spare = self._spare or Segment(self._folder), None
            self._segment.append(line)
        except OSError as error:
            self._refused(error)
            return False
        self._count("spooled")
        return True

    def _turn_over(self) -> None:
        if self._segment is not None and self._segment.lines:
            self._full.append(self._segment)
            self._segment = None

    def _wait(self, line: bytes) -> None:
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        most, most_bytes = self._settings.record_queue, self._settings.record_queue_bytes
        while len(self._waiting) > most or self._waiting_bytes > most_bytes:
            self._waiting_bytes -= len(self._waiting.popleft())
            self._count("dropped")

    def _refused(self, error: OSError) -> None:
        self._count("write_failed")
        log.error("completions cannot be written to the spool", extra={"reason": str(error)})


class Segment:
    """A file of JSON lines that this process writes. Names sort as the files were begun. Raises: OSError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{time.time_ns()}-{os.getpid()}{OPEN}"
        self.lines = 0
        self._size = 0
        new = self._path.with_suffix(NEW)
        self._file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(new, self._path)  # nobody sees it unlocked

    def has_room_for(self, line: bytes) -> bool:
        return not self.lines or (self.lines < SEGMENT_RECORDS and self._size + len(line) <= SEGMENT_BYTES)

    def append(self, line: bytes) -> None:
        """All of `line` or nothing of it."""
        if os.write(self._file, line) != len(line):
            os.ftruncate(self._file, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.lines += 1
        self._size += len(line)

    def drop(self) -> None:
        """One that was never written to."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def finish(self) -> None:
        """To the disk, and on to the shipper. Blocks for as long as the disk takes; may be tried again."""
        os.fsync(self._file)
        os.rename(self._path, self._path.with_suffix(SUFFIX))
        sync_folder(self._path.parent)
        os.close(self._file)


def adopt(folder: Path) -> None:
    """Segments of workers that died become whole ones: their locks went with them."""
    for path in folder.glob(f"*{OPEN}"):
        with suppress(FileNotFoundError, BlockingIOError), open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(path.with_suffix(SUFFIX))


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
