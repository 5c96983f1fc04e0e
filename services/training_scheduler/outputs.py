"""What an attempt left in the object store: a result counts only if its manifest vouches for every file."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

from gyre_kit.errors import Invalid
from gyre_kit.storage import ObjectStore, digest_of, digest_of_file, uri_of
from gyre_trainers.manifest import content_digest

from services.training_scheduler.models import Run
from services.training_scheduler.service import Output, output_prefix

MANIFEST = "manifest.json"


async def digest_in_store(store: ObjectStore, key: str) -> str:
    """Of one small object; empty if it is not there."""
    try:
        return digest_of(await store.get(key))
    except FileNotFoundError:
        return ""


async def verify(store: ObjectStore, run: Run, attempt: int) -> Output:
    """Reads the manifest of `attempt` and every file that it lists; a fault is MANIFEST_MISSING or DIGEST_MISMATCH."""
    prefix = f"{output_prefix(run)}/{attempt}"
    try:
        written = await store.get(f"{prefix}/{MANIFEST}")
    except FileNotFoundError:
        return _fault("MANIFEST_MISSING", f"The trainer ended well but left no manifest below {prefix}; see its log.")
    digest = digest_of(written)
    if run.completed_attempt == attempt and run.completed_digest != digest:
        return _fault("DIGEST_MISMATCH", f"{prefix}/{MANIFEST} is not the manifest that the trainer reported.")
    manifest = _parsed(written)
    if manifest is None or manifest.get("run") != run.name or manifest.get("attempt") != attempt:
        return _fault("DIGEST_MISMATCH", f"{prefix}/{MANIFEST} does not belong to attempt {attempt} of this run.")
    for entry in manifest["files"]:
        if not await _is_whole(store, prefix, entry):
            return _fault("DIGEST_MISMATCH", f"{prefix}/{entry.get('path')} is missing or was changed.")
    metrics = {name: float(value) for name, value in (manifest.get("metrics") or {}).items()}
    steps, content = int(manifest.get("step", run.step)), content_digest(manifest["files"])
    return Output(uri=uri_of(prefix), digest=digest, content_digest=content, steps=steps, metrics=metrics)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        manifest = json.loads(content)
    except ValueError:
        return None
    return manifest if isinstance(manifest, dict) and isinstance(manifest.get("files"), list) else None


async def _is_whole(store: ObjectStore, prefix: str, entry: dict[str, Any]) -> bool:
    try:
        key = f"{prefix}/{entry['path']}"
        if await store.size(key) != entry["size"]:
            return False
        return await _digest(store, key) == f"sha256:{entry['sha256']}"
    except (FileNotFoundError, KeyError, Invalid):
        return False


async def _digest(store: ObjectStore, key: str) -> str:
    """Hashed in a thread where the file is local, else as it streams by: weights do not pass through memory whole."""
    if (path := store.local_path(key)) is not None:
        return await asyncio.to_thread(digest_of_file, path)
    seen = hashlib.sha256()
    async for chunk in store.chunks(key):
        await asyncio.to_thread(seen.update, chunk)
    return f"sha256:{seen.hexdigest()}"


def _fault(fault: str, message: str) -> Output:
    return Output(fault=fault, message=message)
