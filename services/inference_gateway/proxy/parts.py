"""Answers to lines of batches, on the disk before they are billed.

A batch asks with a key of its own (`Key.batch`) and says in a header which line it asks. The answer is written to a
part file and synced; only then is it billed and sent. So a line that was billed is never asked again, whoever is
killed, and one that is asked again was not billed. Each worker appends to files of its own: `{batch}/{writer}.jsonl`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference_gateway.proxy import errors, ulid, wire
from services.inference_gateway.proxy.reply import Look, Reply
from services.inference_gateway.proxy.wire import Request

LINE_HEADER = "x-gyre-line"


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one line of a batch. `error` is a code and a message where no answer came at all."""

    line: int
    status: int
    request_id: str
    body: Any
    model_version: str = ""
    error: Mapping[str, str] | None = None

    @property
    def answered(self) -> bool:
        return self.error is None and self.status == 200


class PartWriter:
    """One process' files. Safe in threads: each record is one write to the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"{ulid.new()}.jsonl"

    def append(self, batch: str, record: bytes) -> None:
        """Returns when it is on the disk. Raises: OSError."""
        folder = self._folder / batch
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            data = b"\n" + record + b"\n"  # a record that was cut off spoils no other
            if os.write(descriptor, data) != len(data):
                raise OSError("the disk is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class HeldReply(Reply):
    """Holds the answer to a batch's line until it is on the disk: to everybody it has not started before that."""

    __slots__ = ("_reply", "_whole")

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        super().__init__(reply._connection, reply._request)
        self._whole: tuple[int, bytes, dict[str, str]] = (0, b"", {})

    @property
    def on_look(self) -> Look | None:
        """Of the reply that the connection has: that is the one whose time is watched."""
        return self._reply.on_look

    @on_look.setter
    def on_look(self, look: Look | None) -> None:
        self._reply.on_look = look

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._whole = status, body, headers or {}

    async def keep(self, writer: PartWriter, batch: str, line: int, model_version: str) -> None:
        """Raises: ApiError 503 where it cannot be written; then nothing is billed."""
        status, body, headers = self._whole
        record = answer_record(line, status, headers.get(wire.REQUEST_ID, ""), model_version, body)
        try:
            await asyncio.to_thread(writer.append, batch, record)
        except OSError as error:
            raise errors.overloaded("The answer cannot be kept now.") from error
        self.started = True

    def release(self) -> None:
        """To the client, once it is kept."""
        self._reply.send(*self._whole)


def line_of(request: Request, streamed: bool) -> int:
    """Raises: ApiError 400."""
    if streamed:
        raise errors.bad_request("invalid_value", "What a batch asks cannot be streamed.", "stream")
    said = request.headers.get(LINE_HEADER, "")
    if not said.isdecimal() or len(said) > 9:
        raise errors.bad_request("line_needed", f"A batch says in {LINE_HEADER} which line it asks.")
    return int(said)


def answer_record(line: int, status: int, request_id: str, model_version: str, body: bytes) -> bytes:
    """`body` is JSON and stays as it is, in one line."""
    fields = {"line": line, "status": status, "request_id": request_id, "model_version": model_version}
    return json.dumps(fields)[:-1].encode() + b',"body":' + body.replace(b"\n", b" ").replace(b"\r", b" ") + b"}"


def failure_record(line: int, code: str, message: str) -> bytes:
    """Of a line to which nothing was answered."""
    error = {"code": code, "message": message}
    return json.dumps({"line": line, "status": 0, "request_id": "", "body": None, "error": error}).encode()


def read_parts(folder: Path, only: int | None = None) -> Iterator[Part]:
    """Each line once, answers before failures. `only`: just that line."""
    seen: set[int] = set()
    failures: dict[int, Part] = {}
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for record in file:
                part = _parse(record)
                if part is None or part.line in seen or (only is not None and part.line != only):
                    continue
                if part.answered:
                    seen.add(part.line)
                    yield part
                else:
                    failures.setdefault(part.line, part)
    yield from (part for line, part in failures.items() if line not in seen)


def _parse(record: bytes) -> Part | None:
    """None for what a killed writer left."""
    try:
        return Part(**json.loads(record))
    except (ValueError, TypeError):
        return None
