"""Weights fetched onto this machine: checked against their digests, and gone on with where it broke off."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from gyre.model_registry.v1.file_pb2 import ModelFile

from gyre_sdk import messages, names
from gyre_sdk.collection import Collection
from gyre_sdk.errors import GyreError

TRIES = 5
BLOCK = 1024 * 1024

Progress = Callable[[str, int, int], None]  # path, its bytes that are here, its bytes in all


class ModelFiles(Collection[ModelFile]):
    """All take a variant by its whole name (`Gyre.models.variant_name`)."""

    kind, plural = ModelFile, "files"

    def of(self, variant: str) -> list[ModelFile]:
        """Paths, sizes and digests."""
        reply = self._transport.call("GET", f"{names.path(variant)}/files")
        return [messages.parse(ModelFile, file) for file in reply.get("files", ())]

    def fetch(self, variant: str, file: ModelFile, target: Path, on_progress: Progress | None = None) -> Path:
        """Writes `target`, whole or not at all. What an earlier try left beside it is gone on with.

        Raises: GyreError (FILE_DAMAGED) where the bytes are not what the digest says; nothing of them is kept then.
        """
        show = on_progress or (lambda path, here, total: None)
        if target.is_file() and _digest(target) == file.digest:
            show(file.path, file.size_bytes, file.size_bytes)
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{file.digest[7:19]}.partial")
        for attempt in range(TRIES):
            try:
                self._append(variant, file, partial, show)
                break
            except GyreError as error:
                if attempt + 1 == TRIES or 0 < error.status < 500:
                    raise
                time.sleep(2.0**attempt)
        if _digest(partial) != file.digest:
            partial.unlink()
            raise GyreError(0, "FILE_DAMAGED", f"{file.path} arrived damaged.", "Export it again.")
        os.replace(partial, target)
        return target

    def _append(self, variant: str, file: ModelFile, partial: Path, show: Progress) -> None:
        here = partial.stat().st_size if partial.exists() else 0
        if here >= file.size_bytes:
            return
        with partial.open("ab") as out:
            for chunk in self._transport.content(f"{names.path(variant)}/files/{file.path}", here):
                out.write(chunk)
                here += len(chunk)
                show(file.path, here, file.size_bytes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
