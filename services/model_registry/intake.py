"""Takes a run's output over into the registry's own prefix: no blob has two owners.

Files lie by content below `registry/blobs/sha256/`, where equal files of several versions are stored once and a GGUF
can be handed to an engine as it is; a version is a manifest below `registry/manifests/`, itself named by its content.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gyre_kit.errors import Precondition
from gyre_kit.storage import ObjectStore, checked, digest_of, digest_of_file, key_of, uri_of

from services.model_registry.files import BLOBS

MANIFESTS = "registry/manifests"


class ManifestMissing(Precondition):
    """The run's output has no manifest: it did not end well, or was collected."""


class OutputDamaged(Precondition):
    """A file of the output is not what its manifest says."""


@dataclass(frozen=True)
class Manifest:
    """Paths with size and hash, and what is known of the model."""

    uri: str
    digest: str
    size_bytes: int
    facts: dict[str, Any]


async def take_over(store: ObjectStore, prefix_uri: str, digest: str) -> Manifest:
    """Copies the files that an output's manifest lists, each checked. Repeating it changes nothing.

    Raises: ManifestMissing; OutputDamaged.
    """
    prefix = key_of(prefix_uri)
    try:
        content = await store.get(f"{prefix}/manifest.json")
    except FileNotFoundError as error:
        raise ManifestMissing(uri=prefix_uri) from error
    if digest_of(content) != digest:
        raise OutputDamaged(uri=prefix_uri, expected=digest, found=digest_of(content))
    listing = json.loads(content)
    files = [entry for entry in listing["files"] if entry["path"].startswith(("model/", "adapter/"))]
    with tempfile.TemporaryDirectory(prefix="gyre-intake-") as scratch:
        for entry in files:
            await _take_file(store, f"{prefix}/{checked(entry['path'])}", entry["sha256"], Path(scratch))
    facts = {key: value for key, value in listing.items() if key not in ("files", "created")}
    return await write_manifest(store, [_renamed(entry) for entry in files], facts)


async def write_manifest(store: ObjectStore, files: list[dict[str, Any]], facts: dict[str, Any]) -> Manifest:
    """`files` are {path, size, sha256} whose blobs are stored already."""
    ordered = sorted(files, key=lambda entry: str(entry["path"]))
    content = json.dumps({**facts, "files": ordered}, indent=1, sort_keys=True).encode()
    digest = digest_of(content)
    uri = await store.put(f"{MANIFESTS}/{digest.removeprefix('sha256:')}.json", content)
    return Manifest(uri, digest, sum(int(entry["size"]) for entry in files), facts)


async def put_blob(store: ObjectStore, path: Path) -> dict[str, Any]:
    """Stores a file by its content and returns {size, sha256}."""
    sha256 = (await asyncio.to_thread(digest_of_file, path)).removeprefix("sha256:")
    key = f"{BLOBS}/{sha256}"
    if not await store.exists(key):
        await store.put_file(key, path)
    return {"size": path.stat().st_size, "sha256": sha256}


def blob_uri(sha256: str) -> str:
    return uri_of(f"{BLOBS}/{sha256}")


async def _take_file(store: ObjectStore, key: str, sha256: str, scratch: Path) -> None:
    if await store.exists(f"{BLOBS}/{checked(sha256)}"):
        return
    try:
        path = await store.fetch(key, scratch)
    except FileNotFoundError as error:
        raise OutputDamaged(uri=uri_of(key), expected=sha256, found="nothing") from error
    found = (await put_blob(store, path))["sha256"]
    if found != sha256:
        raise OutputDamaged(uri=uri_of(key), expected=sha256, found=found)


def _renamed(entry: dict[str, Any]) -> dict[str, Any]:
    """The merged model lies at the top, as an engine or a trainer wants it; the adapter stays in its folder."""
    return {**entry, "path": str(entry["path"]).removeprefix("model/")}
