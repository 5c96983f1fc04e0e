"""Reads the shape of a base out of its config.json in the object store, for the planner."""

from __future__ import annotations

import json
from typing import Any, Final

from gyre_kit.storage import BadKey, ObjectStore, key_of

from services.training_scheduler.inputs import Weights
from services.training_scheduler.planning.architecture import Architecture, from_config, typical

CONFIG: Final = "config.json"
BLOBS: Final = "registry/blobs/sha256"  # where the registry keeps files by content; its manifests list them by path


async def shape_of(store: ObjectStore, weights: Weights) -> Architecture:
    """Where there is no config.json that says enough, such as for weights of a hub: a usual shape of that size."""
    config = await _config(store, weights.uri)
    return from_config(config, weights.parameters) or typical(weights.parameters)


async def _config(store: ObjectStore, uri: str) -> dict[str, Any]:
    """Empty if it cannot be had: the trainer says what is wrong with a base, the planner only knows less."""
    try:
        key = key_of(uri)
        found = await _by_manifest(store, key) if key.endswith(".json") else await store.get(f"{key}/model/{CONFIG}")
        parsed = json.loads(found)
    except (BadKey, FileNotFoundError, KeyError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


async def _by_manifest(store: ObjectStore, key: str) -> bytes:
    """Raises: FileNotFoundError; KeyError and ValueError for a manifest that is none."""
    files = json.loads(await store.get(key))["files"]
    entry = next((file for file in files if file["path"] == CONFIG), None)
    if entry is None:
        raise FileNotFoundError(CONFIG)
    blob = f"{BLOBS}/{entry['sha256']}"
    return await store.get(blob if await store.exists(blob) else f"{key.rpartition('/')[0]}/{CONFIG}")
