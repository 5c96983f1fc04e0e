"""A variant's files on their way out: what there is, and the bytes of one, from any place on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import last, part
from gyre_kit.storage import ObjectStore, key_of

from services.model_registry import adapters
from services.model_registry.files import BLOBS
from services.model_registry.models import Variant, VariantState

CHUNK = 1024 * 1024


class VariantNotReady(Precondition):
    """Only a variant that is READY can be read."""


class RangeUnusable(Invalid):
    """The range begins behind the end of the file."""


class FileDamaged(Precondition):
    """The stored file is not what was registered; import the model again."""


@dataclass(frozen=True)
class File:
    path: str
    size_bytes: int
    sha256: str

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"


@dataclass(frozen=True)
class Range:
    """`length` 0 means to the end."""

    offset: int = 0
    length: int = 0


async def files_of(context: Context, name: str) -> list[File]:
    """Raises: NotFound; VariantNotReady."""
    async with context.db.transaction() as session:
        variant = await resources.get(session, Variant, name)
    if variant.state != VariantState.READY:
        raise VariantNotReady(name=name, state=variant.state)
    if variant.format in ("GGUF", adapters.FORMAT):
        version = f"{part(name, 'models')}-{part(name, 'versions')}"
        sha256 = variant.digest.removeprefix("sha256:")
        return [File(f"{version}-{last(name)}.gguf", variant.size_bytes, sha256)]
    manifest = await manifest_of(context.store, variant.uri)
    return [File(entry["path"], entry["size"], entry["sha256"]) for entry in manifest["files"]]


async def file_of(context: Context, name: str, path: str) -> File:
    """Raises: NotFound; VariantNotReady."""
    found = next((file for file in await files_of(context, name) if file.path == path), None)
    if found is None:
        raise NotFound(f"{name} has no file {path[:120]}.", name=name)
    return found


async def content(store: ObjectStore, file: File, wanted: Range) -> AsyncIterator[bytes]:
    """Chunks of at most 1 MiB; one chunk is held back until the digest of a whole file is known.

    Raises: RangeUnusable; FileDamaged.
    """
    if not 0 <= wanted.offset < file.size_bytes or wanted.length < 0:
        raise RangeUnusable(path=file.path, offset=wanted.offset, size_bytes=file.size_bytes)
    length = min(wanted.length or file.size_bytes, file.size_bytes - wanted.offset)
    is_whole = length == file.size_bytes
    seen, held = hashlib.sha256(), b""
    try:
        async for chunk in store.chunks(f"{BLOBS}/{file.sha256}", wanted.offset, length):
            for start in range(0, len(chunk), CHUNK):
                if held:
                    yield held
                held = chunk[start : start + CHUNK]
                if is_whole:
                    seen.update(held)
    except FileNotFoundError as error:
        raise FileDamaged(path=file.path, expected=file.digest, found="nothing") from error
    if is_whole and seen.hexdigest() != file.sha256:
        raise FileDamaged(path=file.path, expected=file.digest, found=f"sha256:{seen.hexdigest()}")
    yield held


async def manifest_of(store: ObjectStore, uri: str) -> dict[str, Any]:
    """What is known of a version, with `files`. Raises: FileDamaged."""
    try:
        manifest: dict[str, Any] = json.loads(await store.get(key_of(uri)))
    except (FileNotFoundError, ValueError) as error:
        raise FileDamaged(path=uri, expected="a manifest", found="none") from error
    return manifest
