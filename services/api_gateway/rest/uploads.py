"""A file on its way in: streamed through, never held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from gyre.dataset.v1 import dataset_pb2, upload_pb2, upload_service_pb2
from gyre.dataset.v1.upload_service_pb2_grpc import UploadServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import Invalid
from gyre_kit.schemas import response_model

from services.api_gateway.rest.routing import UnknownValue

CHUNK = 1024 * 1024


class FileTooLarge(Invalid):
    """The file is larger than an upload may be. Split it, or raise GYRE_MAX_UPLOAD_BYTES."""


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["dataset"])

    @router.put("/projects/{project}/uploads", responses={200: {"model": response_model(upload_pb2.Upload)}})
    async def upload_file(
        request: Request,
        project: str,
        filename: str = Query(min_length=1, max_length=255),
        dataset_type: str = Query("", alias="type", description="What the file is for: TYPE_SFT, TYPE_PREFERENCE …"),
    ) -> Response:
        identity = await context().state["identities"].identify(request, project)
        limit: int = context().settings.upload_limit(filename)
        if int(request.headers.get("content-length", 0)) > limit:
            raise FileTooLarge(filename=filename, limit_bytes=limit)
        header = upload_service_pb2.UploadHeader(
            parent=f"projects/{project}", filename=filename, type=_type(dataset_type)
        )
        with acting_as(identity):
            upload = await Sending(request, header, limit).to(context().clients.stub(UploadServiceStub))
        return Response(events.to_json(upload), media_type="application/json")

    return router


def _type(name: str) -> dataset_pb2.Dataset.Type.ValueType:
    """Raises: UnknownValue."""
    known = dict(dataset_pb2.Dataset.Type.items())
    if name and name not in known:
        raise UnknownValue(field="type", given=name[:80], allowed="|".join(known))
    return known[name or "TYPE_UNSPECIFIED"]


class Sending:
    """A request's body on its way to the data set service, at most `limit` bytes of it."""

    def __init__(self, request: Request, header: upload_service_pb2.UploadHeader, limit: int) -> None:
        self._request, self._header, self._limit = request, header, limit
        self._seen = 0

    async def to(self, stub: Any) -> upload_pb2.Upload:
        """Raises: FileTooLarge where more came than is allowed and no length was named that could have said so."""
        try:
            upload: upload_pb2.Upload = await stub.UploadFile(self._parts())
            return upload
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            self._check_size()  # what `_parts` raises reaches nobody: gRPC cancels the call instead
            raise

    async def _parts(self) -> AsyncIterator[upload_service_pb2.UploadFileRequest]:
        """The first message says what it is, the others carry at most 1 MiB each."""
        yield upload_service_pb2.UploadFileRequest(header=self._header)
        async for received in self._request.stream():
            self._seen += len(received)
            self._check_size()
            for start in range(0, len(received), CHUNK):
                yield upload_service_pb2.UploadFileRequest(chunk=received[start : start + CHUNK])

    def _check_size(self) -> None:
        if self._seen > self._limit:
            raise FileTooLarge(filename=self._header.filename, limit_bytes=self._limit)
