"""Server-sent events: one run as it trains, or everything that happens in a project."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import grpc
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from gyre.training_scheduler.v1 import pipeline_service_pb2, run_service_pb2
from gyre.training_scheduler.v1.pipeline_service_pb2_grpc import PipelineServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from gyre_kit.errors import from_rpc

KEEP_ALIVE_SECONDS = 15.0
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["updates"])

    @router.get("/projects/{project}/runs/{run}/events")
    async def watch_run(request: Request, project: str, run: str) -> StreamingResponse:
        """`RunUpdate` messages as server-sent events, until the run ends."""
        identity = await context().state["identities"].identify(request, project)
        question = run_service_pb2.WatchRunRequest(name=f"projects/{project}/runs/{run}")
        return _stream(_watch(context(), identity, RunServiceStub, "WatchRun", question))

    @router.get("/projects/{project}/pipelines/{pipeline}/events")
    async def watch_pipeline(request: Request, project: str, pipeline: str) -> StreamingResponse:
        """`Pipeline` messages as server-sent events, until the pipeline ends."""
        identity = await context().state["identities"].identify(request, project)
        question = pipeline_service_pb2.WatchPipelineRequest(name=f"projects/{project}/pipelines/{pipeline}")
        return _stream(_watch(context(), identity, PipelineServiceStub, "WatchPipeline", question))

    @router.get("/events")
    async def watch_platform(request: Request) -> StreamingResponse:
        """The platform's facts as they happen: type, subject, time and body, of the projects that the caller sees."""
        identity = await context().state["identities"].identify(request)
        return _stream(_platform_events(context(), identity))

    return router


def _stream(lines: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(lines, media_type="text/event-stream", headers=HEADERS)


async def _watch(context: Context, identity: Identity, stub: type, rpc: str, question: object) -> AsyncIterator[str]:
    with acting_as(identity):
        replies = getattr(context.clients.stub(stub), rpc)(question)
    try:
        async for reply in replies:
            yield f"data: {events.to_json(reply)}\n\n"
        yield "event: end\ndata: {}\n\n"
    except grpc.aio.AioRpcError as error:
        known = from_rpc(error)
        yield f"event: problem\ndata: {json.dumps({'reason': known.reason, 'detail': known.message})}\n\n"
    finally:
        replies.cancel()


async def _platform_events(context: Context, identity: Identity) -> AsyncIterator[str]:
    with context.state["tail"].subscription() as queue:
        yield ": connected\n\n"
        while True:
            try:
                fact = await asyncio.wait_for(queue.get(), KEEP_ALIVE_SECONDS)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if identity.may_see(fact.project):
                yield f"event: fact\ndata: {fact.json}\n\n"
