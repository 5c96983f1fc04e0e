"""Parse, call, render: budgets, and what was used of them."""

from __future__ import annotations

from typing import Any

from gyre.inference_gateway.v1 import (
    spending_pb2,
    spending_service_pb2,
    usage_pb2,
    usage_service_pb2,
)
from gyre.inference_gateway.v1.spending_service_pb2_grpc import SpendingServiceServicer
from gyre.inference_gateway.v1.usage_service_pb2_grpc import UsageServiceServicer
from gyre_kit.app import Context
from gyre_kit.names import project_of
from gyre_kit.periods import period_of

from services.inference_gateway import routes, store
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.usage import service as usage
from services.inference_gateway.usage import spending


class SpendingApi(SpendingServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def GetSpending(
        self, request: spending_service_pb2.GetSpendingRequest, _: Any
    ) -> spending_pb2.ProjectSpending:
        project = project_of(request.name)
        async with self.db.transaction() as session:
            keys = await store.keys_of(session, project)
            known = await store.project(session, project)
            sent_out = await traffic_store.sent_out(session, project)
        limits = routes.limits_of(known) if known else Limits()
        by_key = {key.name: routes.limits_of(key) for key in keys}
        return spending.of_project(self.context.state["ledger"], project, limits, by_key, sent_out)


class UsageApi(UsageServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def GetUsage(self, request: usage_service_pb2.GetUsageRequest, _: Any) -> usage_pb2.UsageReport:
        async with self.db.transaction() as session:
            period = period_of(request, session.clock.now())
            return await usage.report(session, request.name, period, request.group_by)
