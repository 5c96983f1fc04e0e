"""A file on its way in: received whole into a scratch folder, looked at, then stored; or nothing is kept of it."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from gyre.dataset.v1.upload_service_pb2 import UploadFileRequest, UploadHeader
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.errors import NotFound
from gyre_kit.names import new_id, project_of
from gyre_kit.render import enum_name
from gyre_kit.settings import is_model_archive

from services.dataset import service
from services.dataset.importer.detect import inspect
from services.dataset.importer.problems import FileRefused
from services.dataset.models import Upload

PREFIX = "dataset/uploads"


async def receive(context: Context, parts: AsyncIterator[UploadFileRequest]) -> Upload:
    """Takes one file in: 1 header, 2 bytes, 3 a look inside, 4 the object, 5 its row.

    Raises: HeaderRequired; NotFound; FileTooLarge; DigestMismatch; FileNotUsable, naming line, field and remedy.
    """
    header = await _header(parts)
    project = project_of(header.parent)
    if not caller().may_see(project):
        raise NotFound(name=header.parent)
    with tempfile.TemporaryDirectory(prefix="gyre-upload-") as scratch:
        arriving = Arriving(Path(scratch) / "upload", header.filename, context.settings.upload_limit(header.filename))
        with arriving:
            async for part in parts:
                if part.WhichOneof("part") != "chunk":
                    raise service.HeaderRequired(field="chunk")
                arriving.add(part.chunk)
        if header.digest and header.digest != arriving.digest:
            raise service.DigestMismatch(expected=header.digest, received=arriving.digest)
        found = await _looked_into(context, arriving.path, header)
        upload_id = new_id()
        key = f"{PREFIX}/{upload_id}"
        uri = await context.store.put_file(key, arriving.path)
    upload = Upload(
        name=f"projects/{project}/uploads/{upload_id}",
        project=project,
        display_name=header.filename,
        uri=uri,
        filename=header.filename,
        size_bytes=arriving.size,
        digest=arriving.digest,
        **found,
    )
    try:
        async with context.db.transaction() as session:
            return await service.keep_upload(session, upload)
    except BaseException:
        await context.store.delete([key])
        raise


class Arriving:
    """Bytes into a file, counted and digested."""

    def __init__(self, path: Path, filename: str, limit: int) -> None:
        self.path, self.size = path, 0
        self._filename, self._limit = filename, limit
        self._hash = hashlib.sha256()
        self._file = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def add(self, chunk: bytes) -> None:
        """Raises: FileTooLarge, naming the limit."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise service.FileTooLarge(
                f"The file is larger than {self._limit} bytes ({self._limit >> 20} MiB), the most that one upload may "
                "have: split it and import the parts as versions that are mixed, compress it as Parquet, or let an "
                "administrator raise GYRE_MAX_UPLOAD_BYTES.",
                filename=self._filename,
                limit_bytes=self._limit,
            )
        self._hash.update(chunk)
        self._file.write(chunk)


async def _header(parts: AsyncIterator[UploadFileRequest]) -> UploadHeader:
    async for part in parts:
        if part.WhichOneof("part") == "header" and part.header.filename:
            return part.header
        break
    raise service.HeaderRequired(field="header")


async def _looked_into(context: Context, path: Path, header: UploadHeader) -> dict[str, Any]:
    """File type, encoding and row format, found in a thread, because the file is read to its end.

    Weights come by the same door: an archive that calls itself one is not looked into here, but by the model registry.
    """
    if is_model_archive(header.filename):
        return {}
    try:
        found = await asyncio.to_thread(
            inspect,
            path,
            header.filename,
            enum_name(header, "type"),
            max_rows=context.settings.max_rows,
            max_characters=context.settings.max_row_characters,
        )
    except FileRefused as refused:
        raise service.FileNotUsable(refused.reason, refused.message) from refused
    return {
        "detected_file_type": found.file_type,
        "detected_encoding": found.encoding,
        "detected_row_format": found.row_format,
    }
