"""Parse, call, render: traces."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.protobuf import empty_pb2
from gyre.inference_gateway.v1 import completion_pb2, trace_pb2, trace_service_pb2
from gyre.inference_gateway.v1.trace_service_pb2_grpc import TraceServiceServicer
from gyre_kit.app import Context
from gyre_kit.names import last, project_of
from gyre_kit.render import render

from services.inference_gateway.models.traces import Completion, Span
from services.inference_gateway.proxy.tracing import session_hash
from services.inference_gateway.traces import service as traces
from services.inference_gateway.traces import store as trace_store


class TraceApi(TraceServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def GetTrace(self, request: trace_service_pb2.GetTraceRequest, _: Any) -> trace_pb2.Trace:
        async with self.db.transaction() as session:
            whole = await traces.get(session, request.name)
        shown = [_step_of_completion(row) for row in whole.completions] + [_step_of_span(row) for row in whole.spans]
        shown.sort(key=lambda step: (step.start_time.seconds, step.start_time.nanos))
        return render(whole.trace, trace_pb2.Trace, steps=shown[: trace_store.STEPS_SHOWN])

    async def ListTraces(
        self, request: trace_service_pb2.ListTracesRequest, _: Any
    ) -> trace_service_pb2.ListTracesResponse:
        async with self.db.transaction() as session:
            found, stopped_at = await trace_store.trace_page(session, request)
        reply = trace_service_pb2.ListTracesResponse(
            traces=[render(row, trace_pb2.Trace) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )
        if stopped_at is not None:
            reply.searched_back_to.FromDatetime(stopped_at)
        return reply

    async def DeleteTrace(self, request: trace_service_pb2.DeleteTraceRequest, _: Any) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await traces.delete(session, request.name)
        return empty_pb2.Empty()

    async def DeleteSession(
        self, request: trace_service_pb2.DeleteSessionRequest, _: Any
    ) -> trace_service_pb2.DeleteSessionResponse:
        project = project_of(request.parent)
        async with self.db.transaction() as session:
            completions, spans = await traces.delete_session(session, project, request.session)
        return trace_service_pb2.DeleteSessionResponse(
            completion_count=completions,
            span_count=spans,
            name=f"{request.parent}/sessions/{session_hash(project, request.session)}",
        )


def _step_of_completion(row: Completion) -> trace_pb2.Step:
    return render(
        row,
        trace_pb2.Step,
        kind="COMPLETION",
        title=last(row.deployment),
        start_time=row.create_time - timedelta(milliseconds=row.duration_ms),
        completion=render(row, completion_pb2.Completion),
    )


def _step_of_span(row: Span) -> trace_pb2.Step:
    return render(row, trace_pb2.Step)
