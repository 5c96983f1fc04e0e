"""`POST /v1/traces`: an application's spans by OTLP/HTTP, handed to the control plane as they came."""

from __future__ import annotations

import json
from typing import Any

from services.inference_gateway.proxy import errors, wire
from services.inference_gateway.proxy.control import ControlClient, ControlFailed
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.wire import Request

JSON, PROTOBUF = "application/json", "application/x-protobuf"
ENCODINGS = ("", "identity", "gzip")


async def take(control: ControlClient, project: str, request: Request, reply: Reply) -> None:
    """Raises: ApiError 415 for another form, 503 while the control plane is away: exporters try again then."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if kind not in (JSON, PROTOBUF) or encoding not in ENCODINGS:
        raise errors.unsupported_media(kind, encoding)
    envelope = {"project": project, "content_type": kind, "encoding": encoding}
    try:
        status, body = await control.call("/spans", request.body, envelope)
    except ControlFailed as error:
        raise errors.overloaded(f"Spans cannot be taken now ({error}).") from error
    if status != 200:
        reply.send(status, body, wire.request_id())
        return
    told = json.loads(body)
    reply.send(200, _answer(kind, told["rejected"], told["reason"]), wire.request_id() | {"content-type": kind})


def _answer(kind: str, rejected: int, reason: str) -> bytes:
    """An ExportTraceServiceResponse in the form of the request; `partial_success` only where something was left out."""
    if not rejected:
        return b"{}" if kind == JSON else b""
    if kind == JSON:
        partial: dict[str, Any] = {"rejectedSpans": str(rejected), "errorMessage": reason}
        return json.dumps({"partialSuccess": partial}).encode()
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # a worker that takes no spans goes without

    response = trace_service_pb2.ExportTraceServiceResponse()
    response.partial_success.rejected_spans, response.partial_success.error_message = rejected, reason
    return response.SerializeToString()
