"""Parse, call, render: tries."""

from __future__ import annotations

from typing import Any

from gyre.training_scheduler.v1 import try_pb2, try_service_pb2
from gyre.training_scheduler.v1.try_service_pb2_grpc import TryServiceServicer
from gyre_kit.app import Context
from gyre_kit.names import project_of

from services.training_scheduler import tries


class TryApi(TryServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def CreateTry(self, request: try_service_pb2.CreateTryRequest, _: Any) -> try_pb2.Try:
        return await tries.create_try(
            self.context,
            project_of(request.parent),
            request.spec,
            display_name=request.display_name,
            request_id=request.request_id,
        )

    async def GetTry(self, request: try_service_pb2.GetTryRequest, _: Any) -> try_pb2.Try:
        return await tries.get_try(self.context, request.name)

    async def CancelTry(self, request: try_service_pb2.CancelTryRequest, _: Any) -> try_pb2.Try:
        return await tries.cancel_try(self.context, request.name)
