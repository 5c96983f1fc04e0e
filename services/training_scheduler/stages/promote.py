"""promote: the alias moves, with the verdict in hand; the registry obeys or says why not."""

from __future__ import annotations

from gyre.model_registry.v1 import alias_service_pb2
from gyre.model_registry.v1.alias_service_pb2_grpc import AliasServiceStub
from gyre_kit.app import Context

from services.training_scheduler.lap import Lap, StageResult, done, skipped


async def promote(context: Context, lap: Lap) -> StageResult:
    if not lap.spec.alias:
        return skipped("Not asked for.")
    alias = await context.clients.stub(AliasServiceStub).MoveAlias(
        alias_service_pb2.MoveAliasRequest(
            name=f"{lap.spec.register_as}/aliases/{lap.spec.alias}",
            version=lap.made_by("register"),
            variant=lap.served_variant,
            verdict=lap.made_by("gate"),
            request_id=lap.request_id("promote"),
        )
    )
    return done(f"{lap.spec.alias} points to the new version.", resource=alias.name)
