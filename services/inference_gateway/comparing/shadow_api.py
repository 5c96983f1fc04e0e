"""Parse, call, render: shadows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyre.inference_gateway.v1 import deployment_pb2, shadow_pb2, shadow_service_pb2
from gyre.inference_gateway.v1.shadow_service_pb2_grpc import ShadowServiceServicer
from gyre_kit.app import Context
from gyre_kit.render import render

from services.inference_gateway import lookups, service
from services.inference_gateway.api import shown
from services.inference_gateway.comparing import shadows
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.comparing import ShadowPair
from services.inference_gateway.models.traces import Completion


class ShadowApi(ShadowServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def SetShadow(self, request: shadow_service_pb2.SetShadowRequest, _: Any) -> deployment_pb2.Deployment:
        wanted = await lookups.look_up(self.context.clients, request.target, request.name)
        async with self.db.transaction() as session:
            deployment = await service.existing(session, request.name)
            await service.check_regions(session, deployment.project, [wanted])
            await shadows.begin(session, deployment, wanted, request.percent)
        self.context.wake()
        return await shown(self.context, deployment)

    async def StopShadows(self, request: shadow_service_pb2.StopShadowsRequest, _: Any) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.existing(session, request.name)
            await shadows.stop(session, deployment)
        self.context.wake()
        return await shown(self.context, deployment)

    async def GetShadow(self, request: shadow_service_pb2.GetShadowRequest, _: Any) -> shadow_pb2.Shadow:
        async with self.db.transaction() as session:
            return await shadows.report(session, request.name)

    async def ListShadows(
        self, request: shadow_service_pb2.ListShadowsRequest, _: Any
    ) -> shadow_service_pb2.ListShadowsResponse:
        async with self.db.transaction() as session:
            await shadows.deployment_of(session, request.parent)
            return shadow_service_pb2.ListShadowsResponse(shadows=await shadows.reports(session, request.parent))

    async def ListShadowPairs(
        self, request: shadow_service_pb2.ListShadowPairsRequest, _: Any
    ) -> shadow_service_pb2.ListShadowPairsResponse:
        async with self.db.transaction() as session:
            found = await traffic_store.pair_page(session, request)
            texts = await traffic_store.texts(session, found.rows)
        return shadow_service_pb2.ListShadowPairsResponse(
            pairs=[_pair(row, texts) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )


def _pair(row: ShadowPair, texts: Mapping[str, Completion]) -> shadow_pb2.ShadowPair:
    live, shadow = texts.get(row.completion), texts.get(row.shadow_completion)
    return render(
        row,
        shadow_pb2.ShadowPair,
        completion=live.name if live else "",
        shadow_completion=shadow.name if shadow else "",
        prompt=live.messages[-1]["content"] if live and live.messages else "",
        answer=live.answer if live else "",
        shadow_answer=shadow.answer if shadow else "",
    )
