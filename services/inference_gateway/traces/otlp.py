"""Spans that applications send by OTLP/HTTP, protobuf or JSON, made into rows: pure.

What a step was given and gave is read from the attributes of OpenTelemetry's `gen_ai` conventions, and of OpenInference
and OpenLLMetry, by which LangChain and most agent frameworks are instrumented today.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from gyre_kit.errors import Invalid
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from services.inference_gateway.models.traces import Span
from services.inference_gateway.proxy.records import storable
from services.inference_gateway.proxy.redaction import redact, redact_all
from services.inference_gateway.proxy.tracing import session_hash

MOST_SPANS = 2000
MOST_BYTES = 16 * 1024 * 1024  # unpacked
MOST_ATTRIBUTES = 64
ATTRIBUTE_CHARACTERS = 1024
TEXT_CHARACTERS = 64 * 1024
TITLE_CHARACTERS = 200
GZIP = 31  # zlib's window bits for gzip's header
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 1, 1, tzinfo=UTC)

SESSIONS = ("gen_ai.conversation.id", "session.id")
INPUTS = (
    "gen_ai.input.messages", "gen_ai.tool.call.arguments", "gen_ai.retrieval.query.text", "input.value",
    "traceloop.entity.input",
)  # fmt: skip
OUTPUTS = (
    "gen_ai.output.messages", "gen_ai.tool.call.result", "gen_ai.retrieval.documents", "output.value",
    "traceloop.entity.output",
)  # fmt: skip
KINDS = {
    "gen_ai.operation.name": {
        "invoke_agent": "AGENT", "create_agent": "AGENT", "invoke_workflow": "AGENT", "execute_tool": "TOOL",
        "retrieval": "RETRIEVAL", "embeddings": "RETRIEVAL",
    },
    "openinference.span.kind": {
        "AGENT": "AGENT", "CHAIN": "AGENT", "TOOL": "TOOL", "RETRIEVER": "RETRIEVAL", "RERANKER": "RETRIEVAL",
        "EMBEDDING": "RETRIEVAL",
    },
    "traceloop.span.kind": {"agent": "AGENT", "workflow": "AGENT", "tool": "TOOL"},
}  # fmt: skip


class BadSpans(Invalid):
    """The body is no export of spans by OTLP."""


@dataclass(frozen=True)
class Export:
    """`rejected` spans were left out, because of `reason`."""

    spans: list[Span]
    rejected: int = 0
    reason: str = ""


def parse(body: bytes, content_type: str, encoding: str, project: str) -> Export:
    """Raises: BadSpans, with what is wrong."""
    plain = _unpacked(body) if encoding == "gzip" else body
    request = _from_json(plain) if content_type == "application/json" else _from_bytes(plain)
    spans: list[Span] = []
    rejected = 0
    for service, span in _all_spans(request):
        if len(span.trace_id) != 16 or len(span.span_id) != 8 or not any(span.trace_id) or len(spans) == MOST_SPANS:
            rejected += 1
        else:
            spans.append(_row(span, service, project))
    reason = f"A span needs a trace id and a span id, and one export takes {MOST_SPANS} spans." if rejected else ""
    return Export(spans, rejected, reason)


def redacted(span: Span) -> Span:
    """With marks in place of personal data."""
    texts = {name: redact(getattr(span, name)) for name in ("title", "input", "output", "error")}
    attributes = json.dumps(redact_all(json.loads(span.attributes_json)), ensure_ascii=False)
    return Span(**(span.model_dump() | texts | {"attributes_json": attributes}))


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(GZIP)
    try:
        plain = unpacker.decompress(body, MOST_BYTES)
    except zlib.error as error:
        raise BadSpans(f"The body is not gzip: {error}.") from error
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise BadSpans(f"The body is cut off, or larger than {MOST_BYTES:,} bytes when unpacked.")
    return plain


def _from_bytes(body: bytes) -> ExportTraceServiceRequest:
    try:
        return ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise BadSpans("The body is not an ExportTraceServiceRequest in protobuf.") from error


def _from_json(body: bytes) -> ExportTraceServiceRequest:
    """OTLP's JSON is protobuf's, but for ids, which are hexadecimal."""
    try:
        given = json.loads(body)
        for span in _spans_in_json(given):
            for field in ("traceId", "spanId", "parentSpanId"):
                if field in span:
                    span[field] = base64.b64encode(bytes.fromhex(span[field])).decode()
        return json_format.ParseDict(given, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (ValueError, TypeError, AttributeError, RecursionError, json_format.ParseError) as error:
        raise BadSpans(f"The body is not an ExportTraceServiceRequest in JSON: {str(error)[:200]}") from error


def _spans_in_json(given: Any) -> Iterator[dict[str, Any]]:
    for resource in given.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                span.pop("links", None)  # their ids would need the same, and nothing is done with them
                yield span


def _all_spans(request: ExportTraceServiceRequest) -> Iterator[tuple[str, trace_pb2.Span]]:
    """With the name of the service that each comes from."""
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield service, span


def _row(span: trace_pb2.Span, service: str, project: str) -> Span:
    attributes = _attributes(span.attributes)
    trace = f"projects/{project}/traces/{span.trace_id.hex()}"
    given = next((str(attributes[name]) for name in SESSIONS if attributes.get(name)), "")
    for name in SESSIONS:
        attributes.pop(name, None)  # only its hash is kept
    kind = next((found for name, kinds in KINDS.items() if (found := kinds.get(str(attributes.get(name))))), "OTHER")
    told, gave = _taken(attributes, INPUTS), _taken(attributes, OUTPUTS)
    if service:
        attributes.setdefault("service.name", service)
    return Span(
        name=f"{trace}/spans/{span.span_id.hex()}",
        project=project,
        trace=trace,
        session=session_hash(project, given) if given else "",
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        kind=kind,
        title=storable(span.name)[:TITLE_CHARACTERS],
        start_time=_time(span.start_time_unix_nano),
        duration_ms=max(0.0, (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6),
        error=_error(span, attributes),
        input=told,
        output=gave,
        attributes_json=_bounded(attributes),
    )


def _error(span: trace_pb2.Span, attributes: Mapping[str, Any]) -> str:
    """What kind of error, for programs; never its message, which may hold anything."""
    if span.status.code != trace_pb2.Status.STATUS_CODE_ERROR:
        return ""
    return storable(str(attributes.get("error.type") or "error"))[:TITLE_CHARACTERS]


def _taken(attributes: dict[str, Any], names: tuple[str, ...]) -> str:
    """The first of `names` that there is, as text; all of them leave `attributes`."""
    values = [attributes.pop(name, None) for name in names]
    return next((_text(value)[:TEXT_CHARACTERS] for value in values if value not in (None, "")), "")


def _bounded(attributes: Mapping[str, Any]) -> str:
    kept = list(attributes.items())[:MOST_ATTRIBUTES]
    told = {storable(name)[:TITLE_CHARACTERS]: _short(value) for name, value in kept}
    return json.dumps(told, ensure_ascii=False)


def _short(value: Any) -> Any:
    return value if isinstance(value, int | float | bool) else _text(value)[:ATTRIBUTE_CHARACTERS]


def _text(value: Any) -> str:
    return storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        pairs: list[KeyValue] = list(value.kvlist_value.values)
        return _attributes(pairs)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind) if kind else ""


def _time(nanoseconds: int) -> datetime:
    return min(EPOCH + timedelta(microseconds=min(nanoseconds // 1000, 2**57)), LAST)
