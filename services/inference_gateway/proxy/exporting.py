"""A `gen_ai` span for each completion, sent to the collector that `GYRE_OTLP_ENDPOINT` names: who, how long and how
many tokens, never what was said.

Whether a request has one is decided before anything is built: its caller's own trace says so, and for requests without
one the ratio does. Without a collector there is no exporter, and none of this is loaded.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.inference_gateway.proxy.tracing import parse_traceparent, place_of

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exchange import Exchange
    from services.inference_gateway.proxy.wire import Request

SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class SpanExporter:
    """`begin` and `end` are called once for each completion."""

    def __init__(self, processor: SpanProcessor, ratio: float, dice: Callable[[], float] = random.random) -> None:
        self._processor = processor
        self._ratio = ratio
        self._dice = dice
        self._resource = Resource.create({"service.name": "inference_gateway", "service.namespace": "gyre"})
        self._scope = InstrumentationScope("gyre.inference_gateway")

    def begin(self, exchange: Exchange, request: Request) -> None:
        """If it is to have a span, the engine hears of that as its parent."""
        parent = parse_traceparent(request.headers.get("traceparent", ""))
        if parent.sampled if parent else self._dice() < self._ratio:
            exchange.place = place_of(exchange.deployment.project, exchange.id, request.headers)
            exchange.trace = f"00-{exchange.place.trace_id}-{exchange.place.span_id}-01"

    def end(self, exchange: Exchange, request: Request, error_type: str, now: float) -> None:
        """`now` on the clock of `request.received`."""
        if exchange.place is None:
            return
        place, ended = exchange.place, time.time_ns()
        span = ReadableSpan(
            name=f"{exchange.asking.operation} {exchange.deployment.name}",
            context=_context(place.trace_id, place.span_id, is_remote=False),
            parent=_context(place.trace_id, place.parent_span_id, is_remote=True) if place.parent_span_id else None,
            resource=self._resource,
            attributes=_attributes(exchange, request, error_type),
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if error_type else StatusCode.UNSET),
            start_time=ended - int((now - request.received) * 1e9),
            end_time=ended,
            instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)

    def close(self) -> None:
        """Sends what waits, for some seconds at most."""
        self._processor.shutdown()


def to_collector(endpoint: str, ratio: float) -> SpanExporter:
    """Spans wait in a bounded queue and go in batches, on a thread of their own."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=5)
    return SpanExporter(BatchSpanProcessor(exporter), ratio)


def _context(trace_id: str, span_id: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, SAMPLED)


def _attributes(exchange: Exchange, request: Request, error_type: str) -> dict[str, Any]:
    """By OpenTelemetry's semantic conventions for generative AI."""
    answer, target = exchange.answer, exchange.target
    told: dict[str, Any] = {
        "gen_ai.operation.name": exchange.asking.operation,
        "gen_ai.provider.name": target.engine if target else "gyre",
        "gen_ai.request.model": exchange.asking.model,
        "gen_ai.response.id": exchange.id,
    }
    if target and target.version:
        told["gen_ai.response.model"] = f"{exchange.deployment.name}@{target.version}"
    if answer.finish_reason:
        told["gen_ai.response.finish_reasons"] = (answer.finish_reason,)
    if answer.total_tokens:
        told["gen_ai.usage.input_tokens"] = answer.prompt_tokens
        told["gen_ai.usage.output_tokens"] = answer.completion_tokens
    if answer.cached_tokens:
        told["gen_ai.usage.cache_read.input_tokens"] = answer.cached_tokens
    if answer.first_token:
        told["gen_ai.server.time_to_first_token"] = answer.first_token - request.received
    if exchange.place and exchange.place.session:
        told["gen_ai.conversation.id"] = exchange.place.session
    if error_type:
        told["error.type"] = error_type
    return told
