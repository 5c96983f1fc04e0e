"""Weights on their way in, part by part."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from gyre.model_registry.v1 import upload_pb2, upload_service_pb2
from gyre.model_registry.v1.upload_service_pb2_grpc import ModelUploadServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import Invalid
from gyre_kit.schemas import response_model

PART_BYTES = 8 * 1024 * 1024  # the registry's part_size_bytes: one message of gRPC


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

    return router


async def _body(request: Request) -> bytes:
    """Raises: PartTooLarge, before more than that is held."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > PART_BYTES:
            raise PartTooLarge(limit_bytes=PART_BYTES)
    return bytes(received)
