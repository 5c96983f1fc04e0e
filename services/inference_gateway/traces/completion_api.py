"""Parse, call, render: completions."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from google.protobuf import empty_pb2
from gyre.inference_gateway.v1 import (
    completion_pb2,
    completion_service_pb2,
    tool_call_pb2,
)
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import ALL_PROJECTS, caller
from gyre_kit.errors import Denied, Invalid
from gyre_kit.names import last, project_of
from gyre_kit.render import render

from services.inference_gateway import store
from services.inference_gateway.models.traces import Completion
from services.inference_gateway.proxy import tracing
from services.inference_gateway.traces import completions
from services.inference_gateway.traces import service as traces

LARGEST_BATCH = 500


class BatchTooLarge(Invalid):
    """At most 500 completions are recorded at a time."""


class ProxyOnly(Denied):
    """Completions are recorded by the gateway's data plane."""


class CompletionApi(CompletionServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def RecordCompletions(
        self, request: completion_service_pb2.RecordCompletionsRequest, _: Any
    ) -> completion_service_pb2.RecordCompletionsResponse:
        if caller().project != ALL_PROJECTS or not caller().subject.startswith("services/"):
            raise ProxyOnly()
        if len(request.completions) > LARGEST_BATCH:
            raise BatchTooLarge(count=len(request.completions))
        async with self.db.transaction() as session:
            rows = [_from_proto(each) for each in request.completions]
            stored, known, refused = await completions.keep(session, rows)
        return completion_service_pb2.RecordCompletionsResponse(
            stored_count=stored, duplicate_count=known, refused_count=refused
        )

    async def GetCompletion(
        self, request: completion_service_pb2.GetCompletionRequest, _: Any
    ) -> completion_pb2.Completion:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Completion, request.name), completion_pb2.Completion)

    async def ListCompletions(
        self, request: completion_service_pb2.ListCompletionsRequest, _: Any
    ) -> completion_service_pb2.ListCompletionsResponse:
        async with self.db.transaction() as session:
            found = await store.completion_page(session, request)
        return completion_service_pb2.ListCompletionsResponse(
            completions=[render(row, completion_pb2.Completion) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def DeleteCompletion(
        self, request: completion_service_pb2.DeleteCompletionRequest, _: Any
    ) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await traces.delete_completion(session, request.name)
        return empty_pb2.Empty()


def _from_proto(given: completion_pb2.Completion) -> Completion:
    ended = given.create_time.ToDatetime(tzinfo=UTC)
    return Completion(
        name=given.name,
        project=project_of(given.name),
        created_by=given.api_key,
        create_time=ended,
        update_time=ended,
        deployment=given.deployment,
        target=given.target,
        model_version=given.model_version,
        variant=given.variant,
        messages=[_turn(each) for each in given.messages],
        parameters_json=given.parameters_json,
        answer=given.answer,
        finish_reason=given.finish_reason,
        usage={
            "prompt_tokens": given.usage.prompt_tokens,
            "completion_tokens": given.usage.completion_tokens,
            "total_tokens": given.usage.total_tokens,
        },
        time_to_first_token_ms=given.time_to_first_token_ms,
        duration_ms=given.duration_ms,
        api_key=given.api_key,
        streamed=given.streamed,
        session=given.session,
        trace=given.trace or f"projects/{project_of(given.name)}/traces/{tracing.own_trace_id(last(given.name))}",
        span_id=given.span_id or tracing.span_id_of(last(given.name)),
        parent_span_id=given.parent_span_id,
        tool_calls=[_call(each) for each in given.tool_calls],
        error=given.error,
        cached_tokens=given.cached_tokens,
        cost_microusd=given.cost_microusd,
        prompt=given.prompt,
        guardrails=list(given.guardrails),
        cached=given.cached,
    )


def _turn(given: completion_pb2.ChatMessage) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": given.role, "content": given.content}
    if given.tool_calls:
        turn["tool_calls"] = [_call(each) for each in given.tool_calls]
    return turn | ({"tool_call_id": given.tool_call_id} if given.tool_call_id else {})


def _call(given: tool_call_pb2.ToolCall) -> dict[str, str]:
    return {"id": given.id, "name": given.name, "arguments": given.arguments}
