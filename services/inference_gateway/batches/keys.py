"""The keys with which the gateway asks itself for batches: as good as the key that made the batch, and no better.

They are made of a secret that lives as long as this process; the data plane gets their hashes with its routes.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

from gyre_kit.names import last

from services.inference_gateway.models.batches import InferenceBatch
from services.inference_gateway.proxy.snapshot import Key


def token(secret: bytes, batch: InferenceBatch) -> str:
    """What a batch sends as its API key."""
    return f"gyre-batch-{hmac.new(secret, batch.name.encode(), sha256).hexdigest()}"


def keys_of(batches: Iterable[InferenceBatch], known: Iterable[Key], secret: bytes) -> dict[str, Key]:
    """By digest, as a snapshot has keys. A batch whose key is gone or was revoked is refused like any other client."""
    held = {key.name: key for key in known}
    return {sha256(token(secret, batch).encode()).hexdigest(): _key(batch, held) for batch in batches}


def _key(batch: InferenceBatch, held: dict[str, Key]) -> Key:
    if not batch.api_key:  # no key asked for it: what it may cost is up to the project
        return Key(name=f"projects/{batch.project}/keys/batches", project=batch.project, batch=last(batch.name))
    gone = Key(name=batch.api_key, project=batch.project, revoked=True)
    return replace(held.get(batch.api_key, gone), project=batch.project, batch=last(batch.name))
