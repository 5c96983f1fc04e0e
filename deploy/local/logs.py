"""Log files of supervised processes: appended by the process itself, so that it outlives a killed supervisor."""

from __future__ import annotations

import os
import shutil
from io import BufferedWriter
from pathlib import Path
from typing import BinaryIO

TAIL_BLOCK = 64 * 1024


def open_for_child(path: Path) -> BufferedWriter:
    """A handle to give to a process as stdout and stderr. O_APPEND keeps writing right after a rotation."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "wb")


def rotate(path: Path, max_bytes: int, keep: int) -> bool:
    """Copies a log that is too long to `<name>.1` and empties it in place; True if it did.

    The process keeps its handle, so nobody has to be told. Lines written between copy and truncation (well under a
    millisecond for 10 MB in the page cache) are lost: the price of not standing between a process and its log.
    """
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    for number in range(keep, 1, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            os.replace(older, path.with_name(f"{path.name}.{number}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    os.truncate(path, 0)
    return True


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines, read from the end; empty if there is no such log."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return [line.decode(errors="replace") for line in _last_lines(file, lines)]


def follow(path: Path, position: int) -> tuple[list[str], int]:
    """Whole lines written after `position`, and the position to go on from. A truncated file starts again at 0."""
    if not path.exists():
        return [], 0
    size = path.stat().st_size
    position = position if size >= position else 0
    with path.open("rb") as file:
        file.seek(position)
        content = file.read(size - position)
    whole = content[: content.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines(), position + len(whole)


def _last_lines(file: BinaryIO, lines: int) -> list[bytes]:
    position, content = file.seek(0, os.SEEK_END), b""
    while position > 0 and content.count(b"\n") <= lines:
        step = min(TAIL_BLOCK, position)
        position = file.seek(position - step)
        content = file.read(step) + content
    return content.splitlines()[-lines:] if lines else []
