"""Models as OpenAI lists them: a deployment's base, and the adapters on it."""

from __future__ import annotations

from typing import Any

from services.inference_gateway.proxy import adapters
from services.inference_gateway.proxy.snapshot import Deployment, Key


def models(deployment: Deployment, key: Key) -> list[dict[str, Any]]:
    """The base, and each adapter on it that `key` may use."""
    base = model(deployment)
    usable = adapters.usable_by(deployment, key.name) if deployment.adapters else ()
    return [base, *(base | {"id": f"{deployment.name}:{name}"} for name in usable)]


def model(deployment: Deployment) -> dict[str, Any]:
    """As OpenAI lists a model."""
    return {
        "id": deployment.name,
        "object": "model",
        "created": deployment.created,
        "owned_by": deployment.project,
    }
