"""What this machine keeps of an attempt that runs elsewhere: its logs as far as they were seen, its result, its end.

Rank 0 lies in the attempt's folder, where logs and results are read; the others under `members/<rank>/`. So logs are
there while the work runs, and still when its node is not.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.gpu_scheduler.launchers.base import RESULT, STDERR, STDOUT, Ended, Ref

ENDED = "ended.json"
LOGS = (STDOUT, STDERR)


def folder_of(ref: Ref, rank: int) -> Path:
    return rank_folder(ref.folder, rank)


def rank_folder(folder: Path, rank: int) -> Path:
    """Of the member of that rank; `folder` is the attempt's."""
    return folder / "members" / str(rank) if rank else folder


def prepare(ref: Ref) -> None:
    """Empty logs, so that whoever asks for them finds that nothing was said yet."""
    for rank in range(len(ref.members)):
        folder = folder_of(ref, rank)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in LOGS:
            (folder / name).touch(mode=0o600)


def offsets(ref: Ref) -> list[dict[str, int]]:
    """How much of each log is here, in bytes, by rank."""
    return [{name: _size(folder_of(ref, rank) / name) for name in LOGS} for rank in range(len(ref.members))]


def write(ref: Ref, rank: int, logs: Mapping[str, str], result: str | None) -> bool:
    """Appends base64 pieces that follow on `offsets`. True if there was anything: there may be more."""
    folder, grew = folder_of(ref, rank), False
    for name in LOGS:
        piece = base64.b64decode(logs.get(name, ""))
        if piece:
            with (folder / name).open("ab") as file:
                file.write(piece)
            grew = True
    if result is not None:
        _write_whole(folder / RESULT, base64.b64decode(result))
    return grew


def end(ref: Ref, ended: Ended) -> Ended:
    """Written down before the cluster forgets the attempt, so that whoever asks again is told the same."""
    _write_whole(ref.folder / ENDED, json.dumps(asdict(ended)).encode())
    return ended


def end_of(ref: Ref) -> Ended | None:
    try:
        found: dict[str, Any] = json.loads((ref.folder / ENDED).read_text())
        return Ended(**found)
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    whole = path.with_name(f".{path.name}")
    with whole.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    whole.replace(path)
