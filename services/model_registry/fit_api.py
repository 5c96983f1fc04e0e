"""Parse, ask, render: does it fit?"""

from __future__ import annotations

import json
from typing import Any

from gyre.gpu_scheduler.v1 import node_pb2
from gyre.model_registry.v1 import fit_pb2, fit_service_pb2
from gyre.model_registry.v1.fit_service_pb2_grpc import FitServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context

from services.model_registry import downloads, fit, machines, service, variants
from services.model_registry.files import BLOBS
from services.model_registry.models import Variant, Version


class FitApi(FitServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def GetFit(self, request: fit_service_pb2.GetFitRequest, _: Any) -> fit_pb2.Fit:
        tokens = request.context_tokens if request.context_tokens > 0 else fit.DEFAULT_CONTEXT_TOKENS
        async with self.context.db.transaction() as session:
            version = await service.ready_version(session, request.name.split("/variants/")[0])
            variant = await resources.get(session, Variant, request.name) if "/variants/" in request.name else None
        per_token = fit.cache_bytes_per_token(await self._shape(version))
        demand = fit.Demand(_weights(version, variant), per_token * tokens)
        flavors = fit.flavors_of(await self._nodes(variant))
        judgement = fit.judge(demand, flavors)
        return fit_pb2.Fit(
            name=request.name,
            verdict=fit_pb2.Fit.Verdict.Value(f"VERDICT_{judgement.verdict}"),
            weights_bytes=demand.weights,
            kv_cache_bytes=demand.cache,
            overhead_bytes=demand.overhead,
            needed_bytes=demand.needed,
            context_tokens=tokens,
            flavors=[_flavor(flavor, demand) for flavor in flavors],
            message=judgement.message,
        )

    async def _shape(self, version: Version) -> dict[str, Any]:
        """What a GGUF's header said, or config.json. Raises: FileDamaged."""
        manifest = await downloads.manifest_of(self.context.store, version.uri)
        if shape := manifest.get("shape"):
            return dict(shape)
        config = next((entry for entry in manifest["files"] if entry["path"] == "config.json"), None)
        if config is None:
            return {}
        found = json.loads(await self.context.store.get(f"{BLOBS}/{config['sha256']}"))
        return found if isinstance(found, dict) else {}

    async def _nodes(self, variant: Variant | None) -> list[node_pb2.Node]:
        """Those that are there, and can serve it."""
        found = [node for node in await machines.nodes(self.context) if node.state != node_pb2.Node.STATE_LOST]
        needs_card = variant is not None and variant.format == variants.COMPRESSED
        return [node for node in found if node.cards or not needs_card]


def _weights(version: Version, variant: Variant | None) -> int:
    """An adapter that was imported is loaded beside its base, whose version it is of."""
    if variant is None:
        return version.size_bytes
    return variant.size_bytes + (version.size_bytes if variant.source else 0)


def _flavor(flavor: fit.Flavor, demand: fit.Demand) -> fit_pb2.FlavorFit:
    missing = max(demand.needed - flavor.usable, 0)
    return fit_pb2.FlavorFit(
        flavor=flavor.name,
        memory_bytes=flavor.memory,
        usable_bytes=flavor.usable,
        fits=not missing,
        missing_bytes=missing,
    )
