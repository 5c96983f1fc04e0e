"""What a workload printed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from gyre.gpu_scheduler.v1 import workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre.inference_gateway.v1 import replica_service_pb2
from gyre.inference_gateway.v1.replica_service_pb2_grpc import ReplicaServiceStub
from gyre.training_scheduler.v1 import run_service_pb2
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from gyre_kit.errors import NotFound

Logs = workload_service_pb2.GetWorkloadLogsRequest
LogStream = Literal["stdout", "stderr"]


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["gpu_scheduler"])

    @router.get("/projects/{project}/workloads/{workload}/logs")
    async def workload_logs(
        request: Request,
        project: str,
        workload: str,
        stream: LogStream = "stderr",
        tail_lines: int = 0,
        follow: bool = False,
        rank: Annotated[int, Query(ge=0, description="Of a gang, whose log.")] = 0,
    ) -> StreamingResponse:
        identity = await context().state["identities"].identify(request, project)
        name = f"projects/{project}/workloads/{workload}"
        return await _logs(context(), identity, name, stream, tail_lines, follow, rank)

    @router.get("/projects/{project}/runs/{run}/logs")
    async def run_logs(
        request: Request,
        project: str,
        run: str,
        stream: LogStream = "stderr",
        tail_lines: int = 0,
        follow: bool = False,
    ) -> StreamingResponse:
        identity = await context().state["identities"].identify(request, project)
        with acting_as(identity):
            question = run_service_pb2.GetRunRequest(name=f"projects/{project}/runs/{run}")
            found = await context().clients.stub(RunServiceStub).GetRun(question)
        if not found.workload:
            raise NotFound("The run has not started; it has no log yet.", name=found.name)
        return await _logs(context(), identity, found.workload, stream, tail_lines, follow)

    @router.get("/projects/{project}/deployments/{deployment}/replicas/{replica}/logs")
    async def replica_logs(
        request: Request,
        project: str,
        deployment: str,
        replica: str,
        stream: LogStream = "stderr",
        tail_lines: int = 0,
        follow: bool = False,
    ) -> StreamingResponse:
        identity = await context().state["identities"].identify(request, project)
        name = f"projects/{project}/deployments/{deployment}/replicas/{replica}"
        with acting_as(identity):
            question = replica_service_pb2.GetReplicaRequest(name=name)
            found = await context().clients.stub(ReplicaServiceStub).GetReplica(question)
        return await _logs(context(), identity, found.workload, stream, tail_lines, follow)

    return router


async def _logs(
    context: Context, identity: Identity, workload: str, stream: LogStream, tail_lines: int, follow: bool, rank: int = 0
) -> StreamingResponse:
    """The first chunk is awaited, so that an unknown workload is a 404 and not a broken stream."""
    which = Logs.STREAM_STDOUT if stream == "stdout" else Logs.STREAM_STDERR
    question = Logs(name=workload, stream=which, tail_lines=tail_lines, follow=follow, rank=rank)
    with acting_as(identity):
        chunks = aiter(context.clients.stub(WorkloadServiceStub).GetWorkloadLogs(question))
    first = await anext(chunks, None)
    return StreamingResponse(_bytes(first, chunks), media_type="text/plain; charset=utf-8")


async def _bytes(
    first: workload_service_pb2.LogChunk | None, chunks: AsyncIterator[workload_service_pb2.LogChunk]
) -> AsyncIterator[bytes]:
    if first is not None:
        yield first.data
        async for chunk in chunks:
            yield chunk.data
