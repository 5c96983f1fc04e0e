"""A file on its way in: streamed through, never held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from gyre.dataset.v1 import upload_pb2, upload_service_pb2
from gyre.dataset.v1.upload_service_pb2_grpc import UploadServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import Invalid
from gyre_kit.schemas import response_model

CHUNK = 1024 * 1024


class FileTooLarge(Invalid):
    """The file is larger than an upload may be. Split it, or raise GYRE_MAX_UPLOAD_BYTES."""


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["dataset"])

    @router.put("/projects/{project}/uploads", responses={200: {"model": response_model(upload_pb2.Upload)}})
    async def upload_file(
        request: Request, project: str, filename: str = Query(min_length=1, max_length=255)
    ) -> Response:
        identity = await context().state["identities"].identify(request, project)
        limit: int = context().settings.upload_limit(filename)
        if int(request.headers.get("content-length", 0)) > limit:
            raise FileTooLarge(filename=filename, limit_bytes=limit)
        with acting_as(identity):
            stub = context().clients.stub(UploadServiceStub)
            upload = await stub.UploadFile(_parts(request, project, filename, limit))
        return Response(events.to_json(upload), media_type="application/json")

    return router


async def _parts(
    request: Request, project: str, filename: str, limit: int
) -> AsyncIterator[upload_service_pb2.UploadFileRequest]:
    """The first message says what it is, the others carry at most 1 MiB each."""
    header = upload_service_pb2.UploadHeader(parent=f"projects/{project}", filename=filename)
    yield upload_service_pb2.UploadFileRequest(header=header)
    seen = 0
    async for received in request.stream():
        seen += len(received)
        if seen > limit:
            raise FileTooLarge(filename=filename, limit_bytes=limit)
        for start in range(0, len(received), CHUNK):
            yield upload_service_pb2.UploadFileRequest(chunk=received[start : start + CHUNK])
