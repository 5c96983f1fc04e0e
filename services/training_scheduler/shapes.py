"""Reads the small files of a base out of the object store: its shape, for the planner, and its vocabulary."""

from __future__ import annotations

import json
from typing import Any, Final

from gyre_kit.storage import BadKey, ObjectStore, key_of

from services.training_scheduler.inputs import Weights
from services.training_scheduler.planning.architecture import Architecture, from_config, typical

CONFIG: Final = "config.json"
TOKENIZER: Final = "tokenizer.json"
BLOBS: Final = "registry/blobs/sha256"  # where the registry keeps files by content; its manifests list them by path


async def shape_of(store: ObjectStore, weights: Weights) -> Architecture:
    """Where there is no config.json that says enough, such as for weights of a hub: a usual shape of that size."""
    config = await _read(store, weights.uri, CONFIG)
    return from_config(config, weights.parameters) or typical(weights.parameters)


async def same_vocabulary(store: ObjectStore, one: Weights, other: Weights) -> bool | None:
    """Whether their tokens mean the same; None where a tokenizer.json cannot be had, and the trainer has to say."""
    found = [_tokens(await _read(store, weights.uri, TOKENIZER)) for weights in (one, other)]
    return found[0] == found[1] if all(found) else None


def _tokens(tokenizer: dict[str, Any]) -> dict[str, int]:
    """Number of each token, the added ones among them; empty for a kind of vocabulary that is no table of numbers."""
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens") or []
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict):
        return {}
    return vocabulary | {token["content"]: token["id"] for token in added}


async def _read(store: ObjectStore, uri: str, name: str) -> dict[str, Any]:
    """Empty if it cannot be had: the trainer says what is wrong with a base, the planner only knows less."""
    try:
        key = key_of(uri)
        found = (
            await _by_manifest(store, key, name) if key.endswith(".json") else await store.get(f"{key}/model/{name}")
        )
        parsed = json.loads(found)
    except (BadKey, FileNotFoundError, KeyError, ValueError):
        return {}
    return parsed if isinstance(parsed, dict) else {}


async def _by_manifest(store: ObjectStore, key: str, name: str) -> bytes:
    """Raises: FileNotFoundError; KeyError and ValueError for a manifest that is none."""
    files = json.loads(await store.get(key))["files"]
    entry = next((file for file in files if file["path"] == name), None)
    if entry is None:
        raise FileNotFoundError(name)
    blob = f"{BLOBS}/{entry['sha256']}"
    return await store.get(blob if await store.exists(blob) else f"{key.rpartition('/')[0]}/{name}")
