"""The files of one attempt's folder: credential, logs, result; and what is read from them when it is over."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gyre_kit.auth import write_private

from services.gpu_scheduler.launchers import shim
from services.gpu_scheduler.launchers.base import CREDENTIAL, RESULT, STDERR, Ended

MAX_RESULT_BYTES = 4 * 1024 * 1024


def renew_credential(folder: Path, token: str) -> None:
    """Replaces the token in one rename; the worker reads it anew for each call."""
    path = folder / CREDENTIAL
    if not path.exists() or path.read_text() != token:
        write_private(path, token.encode())


def with_remains(folder: Path, ended: Ended, *, is_job: bool) -> Ended:
    """`ended` with what lies in its folder: the result of a job that went well, the last words of what did not."""
    if ended.code != 0:
        return replace(ended, last_words=ended.last_words or last_words(folder))
    if not is_job:
        return ended
    try:
        return replace(ended, result=read_result(folder))
    except (ValueError, OSError) as error:
        return replace(ended, bad_result=str(error)[:500])


def read_result(folder: Path) -> str:
    """What a job left in result.json, as it is; empty if it left nothing. Raises: ValueError if it is no JSON object."""
    path = folder / RESULT
    if not path.exists():
        return ""
    if path.stat().st_size > MAX_RESULT_BYTES:
        raise ValueError(f"{RESULT} has over {MAX_RESULT_BYTES} bytes")
    text = path.read_text("utf-8")
    if not text.lstrip().startswith("{"):
        raise ValueError(f"{RESULT} holds no JSON object")
    json.loads(text)
    return text


def last_words(folder: Path, most: int = 500) -> str:
    """The last line on stderr: what a person wants to read first about a failure."""
    try:
        with (folder / STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().decode(errors="replace").replace("\0", "").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip()[:most] for line in reversed(lines) if line.strip()), "")


def word_of(folder: Path) -> dict[str, Any]:
    """What the shim left about the end; empty while it runs, or if it was killed."""
    try:
        word: dict[str, Any] = json.loads((folder / shim.EXIT).read_text())
        return word
    except (FileNotFoundError, ValueError):
        return {}


def ended_by(word: Mapping[str, Any]) -> Ended | None:
    try:
        return Ended(
            int(word["code"]),
            float(word["cpu_seconds"]),
            int(word["peak_memory_bytes"]),
            asked_to_stop=bool(word.get("asked_to_stop")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
