"""`POST /v1/traces` at a worker."""

from __future__ import annotations

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from services.inference_gateway.proxy.tests.support import KEY, Running

HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/x-protobuf"}


async def post(running: Running, body: bytes = b"spans", **headers: str) -> tuple[int, bytes, str]:
    given = HEADERS | {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http:
        reply = await http.post(f"{running.url}/v1/traces", data=body, headers=given)
        return reply.status, await reply.read(), reply.headers["content-type"]


async def test_spans_reach_the_control_plane_with_the_project_of_the_key(start):
    running = await start()
    status, body, kind = await post(running, content_encoding="gzip")
    (call,) = running.spans
    assert (call.project, call.content_type, call.encoding, call.body) == (
        "demo", "application/x-protobuf", "gzip", b"spans",
    )  # fmt: skip
    answer = ExportTraceServiceResponse.FromString(body)
    assert (status, kind) == (200, "application/x-protobuf")
    assert (answer.partial_success.rejected_spans, answer.partial_success.error_message) == (1, "one too many")


async def test_json_is_answered_in_json(start):
    status, body, kind = await post(await start(), b"{}", content_type="application/json; charset=utf-8")
    assert (status, kind) == (200, "application/json")
    assert body == b'{"partialSuccess": {"rejectedSpans": "1", "errorMessage": "one too many"}}'


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"authorization": "Bearer nobody"}, 401, b"invalid_api_key"),
        ({"content_type": "text/plain"}, 415, b"unsupported_media_type"),
        ({"content_encoding": "br"}, 415, b"unsupported_media_type"),
        ({"openai_project": "other"}, 403, b"wrong_project"),
    ],
)
async def test_who_may_not_and_what_is_no_export_is_refused_at_the_door(start, headers, status, code):
    running = await start()
    got, body, _ = await post(running, **headers)
    assert got == status and code in body and running.spans == []


async def test_a_limit_of_requests_counts_spans_too(start):
    running = await start()
    statuses = [(await post(running, authorization="Bearer gyre-limited"))[0] for _ in range(3)]
    assert statuses == [200, 200, 429]
