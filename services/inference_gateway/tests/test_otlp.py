"""Spans of applications, as the public exporters and frameworks write them."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from services.inference_gateway.models.traces import Span
from services.inference_gateway.proxy.tracing import session_hash
from services.inference_gateway.traces import otlp

TRACE, SPAN, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"
START = 1_544_712_660_000_000_000  # 2018-12-13T14:51:00Z
JSON, PROTOBUF = "application/json", "application/x-protobuf"


def exported(**attributes: str) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value="helpdesk")))
    span = resource.scope_spans.add().spans.add(
        trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN), parent_span_id=bytes.fromhex(PARENT),
        name="execute_tool find_order", start_time_unix_nano=START, end_time_unix_nano=START + 1_500_000_000,
    )  # fmt: skip
    span.attributes.extend(KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in attributes.items())
    return request


def parse(request: ExportTraceServiceRequest) -> Span:
    (span,) = otlp.parse(request.SerializeToString(), PROTOBUF, "", "acme").spans
    return span


def in_json(**changes: object) -> bytes:
    span = {"traceId": TRACE, "spanId": SPAN, "name": "plan", "startTimeUnixNano": str(START), "unknown": 1} | changes
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def test_a_tools_run_by_the_gen_ai_conventions_has_its_place_its_texts_and_its_kind() -> None:
    attributes = {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find_order", "gen_ai.conversation.id": "mrs-smith",
        "gen_ai.tool.call.arguments": '{"id": 7}', "gen_ai.tool.call.result": "已发货",
    }  # fmt: skip
    span = parse(exported(**attributes))
    assert span.name == f"projects/acme/traces/{TRACE}/spans/{SPAN}" and span.parent_span_id == PARENT
    assert (span.kind, span.input, span.output) == ("TOOL", '{"id": 7}', "已发货")
    assert (span.start_time, span.duration_ms) == (datetime(2018, 12, 13, 14, 51, tzinfo=UTC), 1500.0)
    assert span.session == session_hash("acme", "mrs-smith")
    kept = json.loads(span.attributes_json)
    assert kept == {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "find_order", "service.name": "helpdesk",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "invoke_agent"}, "AGENT"),
        ({"openinference.span.kind": "RETRIEVER", "input.value": "where"}, "RETRIEVAL"),
        ({"traceloop.span.kind": "workflow", "traceloop.entity.input": "where"}, "AGENT"),
        ({"http.method": "GET"}, "OTHER"),
    ],
)
def test_frameworks_say_the_kind_of_a_step_in_their_own_ways(attributes: dict[str, str], kind: str) -> None:
    span = parse(exported(**attributes))
    assert span.kind == kind and span.input == ("where" if len(attributes) == 2 else "")


def test_json_with_ids_in_hexadecimal_says_the_same_as_protobuf_and_so_does_gzip() -> None:
    (plain,) = otlp.parse(in_json(), JSON, "", "acme").spans
    (packed,) = otlp.parse(gzip.compress(in_json()), JSON, "gzip", "acme").spans
    assert plain.trace == f"projects/acme/traces/{TRACE}" and plain.span_id == SPAN
    assert plain.model_dump() == packed.model_dump()


def test_an_error_is_kept_by_its_kind_and_not_by_its_message() -> None:
    status = {"code": 2, "message": "card 4111 1111 1111 1111 was declined"}
    kind = [{"key": "error.type", "value": {"stringValue": "Declined"}}]
    (span,) = otlp.parse(in_json(status=status, attributes=kind), JSON, "", "acme").spans
    assert span.error == "Declined" and "4111" not in span.model_dump_json()


def test_what_is_too_long_is_cut_and_what_cannot_be_stored_is_replaced() -> None:
    attributes = {"input.value": "x" * 100_000, "other": "y" * 5000, "half": "a\0b"}
    span = parse(exported(**attributes))
    kept = json.loads(span.attributes_json)
    assert len(span.input) == otlp.TEXT_CHARACTERS and len(kept["other"]) == otlp.ATTRIBUTE_CHARACTERS
    assert kept["half"] == "a\ufffdb"


def test_spans_without_ids_and_spans_over_the_bound_are_rejected_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MOST_SPANS", 1)
    request = exported()
    spans = request.resource_spans[0].scope_spans[0].spans
    spans.extend([spans[0], spans[0]])
    spans[2].trace_id = bytes(16)
    export = otlp.parse(request.SerializeToString(), PROTOBUF, "", "acme")
    assert len(export.spans) == 1 and export.rejected == 2 and "trace id" in export.reason


@pytest.mark.parametrize(
    ("body", "kind", "encoding"),
    [
        (b"{", JSON, ""), (b"[1]", JSON, ""), (b'{"resourceSpans": 5}', JSON, ""), (in_json(traceId="xyz"), JSON, ""),
        (in_json(spanId=5), JSON, ""), (b"\xff\xff", PROTOBUF, ""), (b"not gzip", JSON, "gzip"),
        (gzip.compress(in_json())[:-9], JSON, "gzip"), (gzip.compress(bytes(20 * 1024 * 1024)), JSON, "gzip"),
        (b"[" * 100_000, JSON, ""),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused_with_a_sentence(body: bytes, kind: str, encoding: str) -> None:
    with pytest.raises(otlp.BadSpans, match="body"):
        otlp.parse(body, kind, encoding, "acme")


@pytest.mark.parametrize("start", [0, 2**64 - 1])
def test_times_at_the_edge_are_storable(start: int) -> None:
    (span,) = otlp.parse(in_json(startTimeUnixNano=str(start)), JSON, "", "acme").spans
    assert 1970 <= span.start_time.year <= 9999
