"""Parse, call, render: adapters."""

from __future__ import annotations

from typing import Any

from gyre.inference_gateway.v1 import adapter_service_pb2, deployment_pb2
from gyre.inference_gateway.v1.adapter_service_pb2_grpc import AdapterServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.names import project_of

from services.inference_gateway import publishing
from services.inference_gateway.adapters import lookups as adapter_lookups
from services.inference_gateway.adapters import service as adapters
from services.inference_gateway.api import shown
from services.inference_gateway.projects import refresh_keys


class AdapterApi(AdapterServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def SetAdapters(self, request: adapter_service_pb2.SetAdaptersRequest, _: Any) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            base = await adapters.base_of(session, request.name)
            bound = [key for each in request.adapters for key in each.keys]
            is_new = await adapters.has_unknown(session, project_of(request.name), bound)
        if is_new:  # made a moment ago, and no event told of it yet
            with acting_as(SYSTEM):  # hashes of keys are for services
                await refresh_keys(self.context)
        clients = self.context.clients
        found = [await adapter_lookups.look_up(clients, each, base, request.name) for each in request.adapters]
        async with self.db.transaction() as session:
            deployment = await adapters.set_all(session, request.name, base, found, etag=request.etag)
        self.context.wake()
        await publishing.workers_know(self.context)  # who may use which is in force when this returns
        return await shown(self.context, deployment)
