"""Parse, call, render: replicas, and how many there should be."""

from __future__ import annotations

from typing import Any

from gyre.inference_gateway.v1 import (
    deployment_pb2,
    replica_pb2,
    replica_service_pb2,
)
from gyre.inference_gateway.v1.replica_service_pb2_grpc import ReplicaServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.render import render

from services.inference_gateway import service, store
from services.inference_gateway.api import bounds_of, schedule_of, shown
from services.inference_gateway.models.deployments import Replica


class ReplicaApi(ReplicaServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def ScaleDeployment(
        self, request: replica_service_pb2.ScaleDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.scale(
                session, request.name, bounds_of(request.scale), schedule_of(request.scale), etag=request.etag
            )
        self.context.wake()
        return await shown(self.context, deployment)

    async def GetReplica(self, request: replica_service_pb2.GetReplicaRequest, _: Any) -> replica_pb2.Replica:
        async with self.db.transaction() as session:
            replica = await resources.get(session, Replica, request.name)
        return self._rendered(replica)

    async def ListReplicas(
        self, request: replica_service_pb2.ListReplicasRequest, _: Any
    ) -> replica_service_pb2.ListReplicasResponse:
        async with self.db.transaction() as session:
            found = await store.replica_page(session, request)
        return replica_service_pb2.ListReplicasResponse(
            replicas=[self._rendered(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    def _rendered(self, replica: Replica) -> replica_pb2.Replica:
        requests = self.context.state["pool"].in_flight(replica.id)
        return render(replica, replica_pb2.Replica, requests=requests)
