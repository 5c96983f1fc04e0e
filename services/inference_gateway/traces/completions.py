"""Use cases: what was asked and answered, kept where the project consented."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from gyre.inference_gateway.v1 import completion_pb2, events_pb2
from gyre_kit.db import Session
from gyre_kit.outbox import emit_all

from services.inference_gateway import store
from services.inference_gateway.models.traces import Completion
from services.inference_gateway.proxy import tracing
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.traces import service as traces

PICOUSD_PER_MICROUSD = 1_000_000


async def keep(session: Session, rows: Sequence[Completion]) -> tuple[int, int, int]:
    """Stores what is new and allowed. Returns how many were stored, known before, and without consent."""
    consents = await store.consents(session)
    allowed = [row for row in rows if consents.get(row.project, False)]
    stored = await traces.add(session, allowed)
    # Nobody got a shadow's answer: nobody can say anything of it.
    told = [row for row in allowed if row.name in stored and not row.shadow_of]
    await emit_all(session, {row.name: _recorded(row) for row in told})
    return len(stored), len(allowed) - len(stored), len(rows) - len(allowed)


def from_record(record: CompletionRecord) -> Completion:
    """What the proxy spooled, as a row."""
    ended = datetime.fromtimestamp(record.time, UTC)
    return Completion(
        name=f"projects/{record.project}/completions/{record.id}",
        project=record.project,
        created_by=record.api_key,
        create_time=ended,
        update_time=ended,
        deployment=record.deployment,
        target=record.target,
        model_version=record.model_version,
        variant=record.variant,
        messages=record.messages,
        parameters_json=json.dumps(record.parameters, ensure_ascii=False),
        answer=record.answer,
        finish_reason=record.finish_reason,
        usage={
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "total_tokens": record.total_tokens,
        },
        time_to_first_token_ms=record.ttft_ms,
        duration_ms=record.duration_ms,
        api_key=record.api_key,
        streamed=record.streamed,
        shadow_of=f"projects/{record.project}/completions/{record.shadow_of}" if record.shadow_of else "",
        session=record.session,
        trace=f"projects/{record.project}/traces/{record.trace_id or tracing.own_trace_id(record.id)}",
        span_id=record.span_id,
        parent_span_id=record.parent_span_id,
        tool_calls=record.tool_calls,
        error=record.error,
        cached_tokens=record.cached_tokens,
        cost_microusd=record.cost_picousd / PICOUSD_PER_MICROUSD,
        prompt=record.prompt,
        guardrails=record.guardrails,
        cached=record.cached,
    )


def _recorded(row: Completion) -> events_pb2.CompletionRecorded:
    event = events_pb2.CompletionRecorded(
        name=row.name,
        deployment=row.deployment,
        model_version=row.model_version,
        variant=row.variant,
        finish_reason=row.finish_reason,
        usage=completion_pb2.Usage(**row.usage),
        time_to_first_token_ms=row.time_to_first_token_ms,
        duration_ms=row.duration_ms,
    )
    event.complete_time.FromDatetime(row.create_time)
    return event
