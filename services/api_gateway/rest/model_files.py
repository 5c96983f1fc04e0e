"""Weights on their way in, part by part, and on their way out, from any byte on (RFC 9110, section 14)."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse
from gyre.model_registry.v1 import file_pb2, file_service_pb2, upload_pb2, upload_service_pb2
from gyre.model_registry.v1.file_service_pb2_grpc import FileServiceStub
from gyre.model_registry.v1.upload_service_pb2_grpc import ModelUploadServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from gyre_kit.errors import Invalid, NotFound
from gyre_kit.schemas import response_model

PART_BYTES = 8 * 1024 * 1024  # the registry's part_size_bytes: one message of gRPC
UNUSABLE = (0, 0)


class PartTooLarge(Invalid):
    """A part has at most 8 MiB; see part_size_bytes of the upload."""


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["model_registry"])

    @router.put(
        "/projects/{project}/model-uploads/{upload}/parts",
        responses={200: {"model": response_model(upload_pb2.ModelUploadPart)}},
    )
    async def upload_part(
        request: Request,
        project: str,
        upload: str,
        path: str = Query(min_length=1, max_length=255),
        number: int = Query(ge=0, le=2**31 - 1),
        digest: str = Query("", max_length=80, description="sha256:<hex> of the part, checked."),
    ) -> Response:
        identity = await context().state["identities"].identify(request, project)
        part = upload_service_pb2.UploadPartRequest(
            name=f"projects/{project}/modelUploads/{upload}",
            path=path,
            number=number,
            digest=digest,
            content=await _body(request),
        )
        with acting_as(identity):
            stored = await context().clients.stub(ModelUploadServiceStub).UploadPart(part)
        return Response(events.to_json(stored), media_type="application/json")

    @router.get(
        "/projects/{project}/models/{model}/versions/{version}/variants/{variant}/files/{path:path}",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/octet-stream": {}}}, 206: {}, 416: {}},
    )
    async def download_file(
        request: Request, project: str, model: str, version: str, variant: str, path: str
    ) -> Response:
        identity = await context().state["identities"].identify(request, project)
        name = f"projects/{project}/models/{model}/versions/{version}/variants/{variant}"
        return await _file(context(), identity, request, name, path)

    return router


async def _file(context: Context, identity: Identity, request: Request, name: str, path: str) -> Response:
    """1 what is there, 2 which bytes are wanted, 3 send them as they come. Raises: NotFound."""
    stub = context.clients.stub(FileServiceStub)
    with acting_as(identity):
        listed = await stub.ListModelFiles(file_service_pb2.ListModelFilesRequest(parent=name))
        file = next((each for each in listed.files if each.path == path), None)
        if file is None:
            raise NotFound(f"{name} has no file {path[:120]}.", name=name)
        headers = _headers(file)
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        changed = request.headers.get("if-range", headers["etag"]) != headers["etag"]
        asked = None if changed else wanted_range(request.headers.get("range", ""), file.size_bytes)
        if asked == UNUSABLE:
            return Response(status_code=416, headers=headers | {"content-range": f"bytes */{file.size_bytes}"})
        begin, end = asked or (0, file.size_bytes)
        question = file_service_pb2.DownloadFileRequest(
            name=name, path=path, offset=begin, length=end - begin if asked else 0
        )
        parts = aiter(stub.DownloadFile(question))
        await anext(parts)  # the file's head, so that what is refused is a problem and not a broken stream
    headers |= {"content-length": str(end - begin)}
    if asked:
        headers |= {"content-range": f"bytes {begin}-{end - 1}/{file.size_bytes}"}
    return StreamingResponse(
        _chunks(parts), 206 if asked else 200, headers=headers, media_type="application/octet-stream"
    )


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """[begin, end) in bytes; None where no single range is asked for; UNUSABLE where it lies outside of the file."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        begin, end = max(size - int(last), 0), size
    else:
        begin, end = int(first), min(int(last) + 1 if last else size, size)
    return (begin, end) if begin < end else UNUSABLE


def _headers(file: file_pb2.ModelFile) -> dict[str, str]:
    sha256 = bytes.fromhex(file.digest.removeprefix("sha256:"))
    return {
        "accept-ranges": "bytes",
        "etag": f'"{file.digest}"',
        "repr-digest": f"sha-256=:{base64.b64encode(sha256).decode()}:",
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.path.rsplit('/', 1)[-1])}",
    }


async def _chunks(parts: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for part in parts:
        yield part.chunk


async def _body(request: Request) -> bytes:
    """Raises: PartTooLarge, before more than that is held."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > PART_BYTES:
            raise PartTooLarge(limit_bytes=PART_BYTES)
    return bytes(received)
