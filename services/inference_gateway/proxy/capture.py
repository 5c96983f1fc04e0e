"""What is kept of one request and its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.inference_gateway.proxy import adapters, answering, exact_cache, tools, tracing
from services.inference_gateway.proxy.answering import Answer
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.proxy.snapshot import Key, Target
from services.inference_gateway.proxy.wire import Request

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exchange import Exchange


def record_of(exchange: Exchange, request: Request, key: Key, now: float, error: str) -> CompletionRecord | None:
    """None for what is no text. `now` on the clock of `request.received`; `error`: why there is no whole answer."""
    answer, target, ask = exchange.answer, exchange.target, exchange.asking
    messages = ask.messages()
    if messages is None or target is None:
        return None
    answer.settle()
    if answer.finish_reason == answering.UPSTREAM_ERROR:
        error = answering.UPSTREAM_ERROR
    project, first = exchange.deployment.project, answer.first_token
    weights = adapters.on(target, exchange.wish.adapter) or target  # what was learnt last made the answer
    place = tracing.place_of(project, exchange.id, request.headers)
    return CompletionRecord(
        id=exchange.id,
        project=project,
        deployment=exchange.deployment.resource,
        target=target.target,
        model_version=weights.model_version,
        variant=weights.variant,
        api_key=key.name,
        messages=messages,
        parameters=ask.parameters(),
        answer=answer.text,
        finish_reason=answer.finish_reason,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        total_tokens=answer.total_tokens,
        ttft_ms=round((first - request.received) * 1000, 3) if first else 0.0,
        duration_ms=round((now - request.received) * 1000, 3),
        time=time.time(),
        streamed=ask.stream,
        session=place.session,
        trace_id=place.trace_id,
        span_id=place.span_id,
        parent_span_id=place.parent_span_id,
        tool_calls=tools.merged(answer.calls) if answer.calls else [],
        error=error,
        cached_tokens=answer.cached_tokens,
        cost_picousd=0 if exchange.is_free else _cost(target, answer),
        prompt=ask.prompt,
        guardrails=list(exchange.care.findings) if exchange.care is not None else [],
        cached=exchange.headers.get(exact_cache.HEADER) == "hit",
    )


def _cost(target: Target, answer: Answer) -> int:
    return target.input_price * answer.prompt_tokens + target.output_price * answer.completion_tokens
