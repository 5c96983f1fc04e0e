"""`manifest.json`: what a folder of weights holds, with the sha256 of every file. Written last, so that it vouches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

NAME: Final = "manifest.json"


def write(folder: Path, facts: dict[str, Any]) -> str:
    """Lists every file below `folder` beside `facts` in its manifest, in one rename; returns the manifest's digest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    files = [
        {"path": str(path.relative_to(folder)), "size": path.stat().st_size, "sha256": sha256(path)} for path in paths
    ]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    content = json.dumps({**facts, "created": created, "files": files}, indent=1).encode()
    partial = folder / f".{NAME}"
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / NAME)
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest, or None where it is missing or not JSON of the right shape."""
    try:
        content = json.loads((folder / NAME).read_bytes())
        return content if isinstance(content, dict) and isinstance(content.get("files"), list) else None
    except (OSError, ValueError):
        return None


def verified(folder: Path) -> dict[str, Any] | None:
    """The manifest if every file that it lists is there, whole and unchanged; else None."""
    if (content := read(folder)) is None:
        return None
    for entry in content["files"]:
        path = folder / entry["path"]
        if not path.is_file() or path.stat().st_size != entry["size"] or sha256(path) != entry["sha256"]:
            return None
    return content


def content_digest(files: Iterable[Mapping[str, Any]]) -> str:
    """Of paths and contents alone: the same whoever made the files, and whenever. As `sha256sum` would list them."""
    lines = sorted(f"{entry['sha256']}  {entry['path']}\n" for entry in files)
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
