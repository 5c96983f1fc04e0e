"""Logs of an attempt, read from its work folder piece by piece."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from gyre_kit.errors import NotFound

CHUNK = 64 * 1024
FOLLOW_SECONDS = 0.25


class AttemptNotFound(NotFound):
    """There is no such attempt, or its logs were deleted after their time of keeping."""


async def read_log(
    path: Path, *, offset: int, tail_lines: int, follow: bool, has_ended: Callable[[], Awaitable[bool]]
) -> AsyncIterator[tuple[int, bytes]]:
    """(position of its first byte, bytes) of each piece, from `offset` or of the last `tail_lines`.

    With `follow` it stays until `has_ended` says so and everything was sent. Raises: AttemptNotFound.
    """
    position = await asyncio.to_thread(_start, path, offset, tail_lines)
    while True:
        ended = not follow or await has_ended()  # asked before the read: what came before the end is still sent
        while data := await asyncio.to_thread(_read, path, position):
            yield position, data
            position += len(data)
        if ended:
            return
        await asyncio.sleep(FOLLOW_SECONDS)


def _start(path: Path, offset: int, tail_lines: int) -> int:
    if not path.is_file():
        raise AttemptNotFound(log=path.name)
    return _tail_offset(path, tail_lines) if tail_lines > 0 else max(0, offset)


def _read(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read(CHUNK)


def _tail_offset(path: Path, lines: int) -> int:
    """Where the last `lines` lines begin: read backwards, a chunk at a time."""
    with path.open("rb") as file:
        position = size = file.seek(0, os.SEEK_END)
        wanted = lines
        while position > 0:
            start = max(0, position - CHUNK)
            file.seek(start)
            chunk = file.read(position - start)
            end = len(chunk) - (position == size and chunk.endswith(b"\n"))  # a final newline begins no line
            while (found := chunk.rfind(b"\n", 0, end)) >= 0:
                wanted -= 1
                if wanted == 0:
                    return start + found + 1
                end = found
            position = start
    return 0
