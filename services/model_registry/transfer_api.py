"""Parse, call, render: weights in and out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import empty_pb2
from gyre.model_registry.v1 import file_pb2, file_service_pb2, upload_pb2, upload_service_pb2
from gyre.model_registry.v1.file_service_pb2_grpc import FileServiceServicer
from gyre.model_registry.v1.upload_service_pb2_grpc import ModelUploadServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.names import project_of
from gyre_kit.render import render

from services.model_registry import downloads, store, uploads
from services.model_registry.models import ModelUpload


class ModelUploadApi(ModelUploadServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db
        self.keep_hours: int = context.settings.model_upload_hours

    async def CreateModelUpload(
        self, request: upload_service_pb2.CreateModelUploadRequest, _: Any
    ) -> upload_pb2.ModelUpload:
        async with self.db.transaction() as session:
            upload = await uploads.create(
                session,
                project_of(request.parent),
                request.files,
                display_name=request.display_name,
                request_id=request.request_id,
                limit=self.context.settings.max_model_upload_bytes,
            )
        return uploads.to_proto(upload, self.keep_hours)

    async def GetModelUpload(self, request: upload_service_pb2.GetModelUploadRequest, _: Any) -> upload_pb2.ModelUpload:
        async with self.db.transaction() as session:
            upload = await resources.get(session, ModelUpload, request.name)
            parts = await store.parts_of(session, request.name)
        return uploads.to_proto(upload, self.keep_hours, parts)

    async def ListModelUploads(
        self, request: upload_service_pb2.ListModelUploadsRequest, _: Any
    ) -> upload_service_pb2.ListModelUploadsResponse:
        async with self.db.transaction() as session:
            found = await store.upload_page(session, project_of(request.parent), request)
        return upload_service_pb2.ListModelUploadsResponse(
            model_uploads=[uploads.to_proto(row, self.keep_hours) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UploadPart(self, request: upload_service_pb2.UploadPartRequest, _: Any) -> upload_pb2.ModelUploadPart:
        part = uploads.Part(request.path, request.number, request.content, request.digest)
        return render(await uploads.put_part(self.context, request.name, part), upload_pb2.ModelUploadPart)

    async def DeleteModelUpload(self, request: upload_service_pb2.DeleteModelUploadRequest, _: Any) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await uploads.delete(session, request.name)
        return empty_pb2.Empty()


class FileApi(FileServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context

    async def ListModelFiles(
        self, request: file_service_pb2.ListModelFilesRequest, _: Any
    ) -> file_service_pb2.ListModelFilesResponse:
        found = await downloads.files_of(self.context, request.parent)
        return file_service_pb2.ListModelFilesResponse(files=[render(file, file_pb2.ModelFile) for file in found])

    async def DownloadFile(
        self, request: file_service_pb2.DownloadFileRequest, _: Any
    ) -> AsyncIterator[file_service_pb2.DownloadFileResponse]:
        file = await downloads.file_of(self.context, request.name, request.path)
        yield file_service_pb2.DownloadFileResponse(file=render(file, file_pb2.ModelFile))
        wanted = downloads.Range(request.offset, request.length)
        async for chunk in downloads.content(self.context.store, file, wanted):
            yield file_service_pb2.DownloadFileResponse(chunk=chunk)
