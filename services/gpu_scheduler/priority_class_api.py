"""Priority classes: parse, call, render."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from gyre.gpu_scheduler.v1 import priority_class_pb2
from gyre.gpu_scheduler.v1 import priority_class_service_pb2 as rpc
from gyre.gpu_scheduler.v1.priority_class_service_pb2_grpc import PriorityClassServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.render import render

from services.gpu_scheduler import priority_classes, store_bounds
from services.gpu_scheduler.accounting import store
from services.gpu_scheduler.cluster_queues import check_operator
from services.gpu_scheduler.models import PriorityClass


class PriorityClassApi(PriorityClassServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def CreatePriorityClass(
        self, request: rpc.CreatePriorityClassRequest, _: Any
    ) -> priority_class_pb2.PriorityClass:
        check_operator()
        given = request.priority_class
        async with self.db.transaction() as session:
            row = await priority_classes.create(session, request.priority_class_id, given.value, given.description)
        return await self._one(row)

    async def GetPriorityClass(self, request: rpc.GetPriorityClassRequest, _: Any) -> priority_class_pb2.PriorityClass:
        async with self.db.transaction() as session:
            row = await priority_classes.get(session, request.name)
        return await self._one(row)

    async def ListPriorityClasses(
        self, request: rpc.ListPriorityClassesRequest, _: Any
    ) -> rpc.ListPriorityClassesResponse:
        async with self.db.transaction() as session:
            found = await store_bounds.priority_class_page(session, request)
        return rpc.ListPriorityClassesResponse(
            priority_classes=await self._rendered(found.rows),
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdatePriorityClass(
        self, request: rpc.UpdatePriorityClassRequest, _: Any
    ) -> priority_class_pb2.PriorityClass:
        check_operator()
        given = request.priority_class
        async with self.db.transaction() as session:
            row = await priority_classes.update(
                session,
                given.name,
                request.update_mask.paths,
                etag=given.etag,
                value=given.value,
                description=given.description,
            )
        return await self._one(row)

    async def DeletePriorityClass(self, request: rpc.DeletePriorityClassRequest, _: Any) -> Empty:
        check_operator()
        async with self.db.transaction() as session:
            await priority_classes.delete(session, request.name, request.etag)
        return Empty()

    async def _one(self, row: PriorityClass) -> priority_class_pb2.PriorityClass:
        return (await self._rendered([row]))[0]

    async def _rendered(self, rows: Sequence[PriorityClass]) -> list[priority_class_pb2.PriorityClass]:
        """Who uses it is counted over all projects, and so as the system; sums alone are told."""
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                counts = await store.class_counts(session, [row.name for row in rows])
        return [_rendered(row, *counts.get(row.name, (0, 0))) for row in rows]


def _rendered(row: PriorityClass, waiting: int, holding: int) -> priority_class_pb2.PriorityClass:
    return render(
        row, priority_class_pb2.PriorityClass, etag=str(row.revision), pending_count=waiting, admitted_count=holding
    )
