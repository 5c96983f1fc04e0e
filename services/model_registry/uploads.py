"""Use cases: files that come in parts. A part is an object named by its digest, so that it and its row always agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gyre.model_registry.v1 import upload_pb2
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import last, new_id
from gyre_kit.render import render
from gyre_kit.states import transition
from gyre_kit.storage import digest_of, uri_of

from services.model_registry import files, store
from services.model_registry.models import ModelUpload, ModelUploadState, UploadPart

PREFIX = "registry/uploads"
PART_BYTES = 8 * 1024 * 1024  # fits one message of gRPC
MOST_FILES = 500
CONFIG, MOST_CONFIG_BYTES = "adapter_config.json", 1024 * 1024


class UploadTooLarge(Invalid):
    """The files are larger than an upload may be; let an administrator raise GYRE_MAX_MODEL_UPLOAD_BYTES."""


class NoSuchPart(Invalid):
    """The upload has no such file, or the file no such part."""


class PartSizeWrong(Invalid):
    """Every part but the last has part_size_bytes, and the last has what remains."""


class DigestWrong(Invalid):
    """The part arrived damaged; send it again."""


class UploadUsed(Precondition):
    """An import reads this upload already."""


class UploadIncomplete(Precondition):
    """Parts are missing; send them first."""


class UploadIsAnother(Invalid):
    """An adapter becomes a variant of its base's version, everything else a version."""


@dataclass(frozen=True)
class Part:
    """As it comes in; `digest` may be empty."""

    path: str
    number: int
    content: bytes
    digest: str = ""


async def create(
    session: Session, project: str, given: Sequence[Any], *, display_name: str, request_id: str, limit: int
) -> ModelUpload:
    """`given` have path and size_bytes; `limit` in bytes is for all together.

    Raises: BadFileName; UnsafeFile; FilesIncomplete; UploadTooLarge.
    """
    if earlier := await resources.by_request(session, ModelUpload, project, request_id):
        return earlier
    names = [file.path for file in given]
    for name in names:
        files.check_name(name)
    if len(set(names)) != len(names) or len(names) > MOST_FILES or any(file.size_bytes < 1 for file in given):
        raise files.FilesIncomplete(
            f"Give at most {MOST_FILES} files, each once and none of them empty.", files=len(names)
        )
    size = sum(file.size_bytes for file in given)
    if size > limit:
        raise UploadTooLarge(size_bytes=size, limit_bytes=limit)
    upload = ModelUpload(
        name=f"projects/{project}/modelUploads/{new_id()}",
        project=project,
        display_name=display_name,
        kind=files.kind_of(names),
        files=[{"path": file.path, "size_bytes": file.size_bytes} for file in given],
        size_bytes=size,
        request_id=request_id or None,
    )
    session.add(upload)
    await session.flush()
    return upload


async def put_part(context: Context, name: str, part: Part) -> UploadPart:
    """1 may it come, 2 is it whole, 3 the object, 4 its row.

    Raises: NotFound; UploadUsed; NoSuchPart; PartSizeWrong; DigestWrong; NotSafetensors; NotGguf.
    """
    async with context.db.transaction() as session:
        upload = await resources.get(session, ModelUpload, name)
    size = _expected(upload, part.path, part.number)
    if len(part.content) != min(PART_BYTES, size - part.number * PART_BYTES):
        raise PartSizeWrong(path=part.path, number=part.number, received_bytes=len(part.content))
    digest = digest_of(part.content)
    if part.digest and part.digest != digest:
        raise DigestWrong(path=part.path, number=part.number, expected=part.digest, received=digest)
    if part.number == 0:
        files.check_beginning(part.path, part.content[:64], size)
    row = UploadPart(
        upload=name,
        path=part.path,
        number=part.number,
        project=upload.project,
        size_bytes=len(part.content),
        digest=digest,
    )
    await context.store.put(_key(upload, row), part.content)
    async with context.db.transaction() as session:
        held = await _open(session, name)
        await store.put_part(session, row)
        held.received_bytes = await store.received_bytes(session, name)
        held.update_time = session.clock.now()  # somebody is at it still, be it with a part that was there
    return row


async def listing_of(context: Context, uri: str, *, adapter: bool) -> str:
    """Writes down for the import what lies where, and returns the upload's name. Raises: NotFound; UploadIncomplete."""
    async with context.db.transaction() as session:
        upload = await store.upload_of(session, last(uri.removesuffix("/")))
        if upload is None:
            raise NotFound("There is no such upload any more; send the files again.", name=uri[:120])
        parts = await store.parts_of(session, upload.name)
    if (upload.kind == "ADAPTER") != adapter:
        raise UploadIsAnother(kind=upload.kind, upload=upload.name)
    if upload.received_bytes != upload.size_bytes:
        missing = upload.size_bytes - upload.received_bytes
        raise UploadIncomplete(upload=upload.name, missing_bytes=missing)
    listed = [
        {
            "path": file["path"],
            "parts": [[_key(upload, part), part.digest] for part in parts if part.path == file["path"]],
        }
        for file in upload.files
    ]
    await context.store.put(
        f"{PREFIX}/{last(upload.name)}/{files.LISTING}", json.dumps({"kind": upload.kind, "files": listed}).encode()
    )
    return upload.name


async def base_named_by(context: Context, name: str) -> str:
    """What an adapter's configuration calls its base; empty where it says nothing, or cannot be read: its import tells."""
    async with context.db.transaction() as session:
        upload = await resources.get(session, ModelUpload, name)
        parts = [part for part in await store.parts_of(session, name) if part.path == CONFIG]
    if sum(part.size_bytes for part in parts) > MOST_CONFIG_BYTES:
        return ""
    content = b"".join([await context.store.get(_key(upload, part)) for part in parts])
    try:
        return str(json.loads(content).get("base_model_name_or_path") or "")
    except (ValueError, AttributeError):
        return ""


async def use(session: Session, name: str, by: str) -> None:
    """Raises: NotFound; UploadUsed, where it is another's."""
    upload = await resources.get(session, ModelUpload, name, lock=True)
    if upload.used_by == by:
        return
    if upload.state != ModelUploadState.OPEN:
        raise UploadUsed(name=name, used_by=upload.used_by)
    upload.used_by = by
    await transition(session, upload, ModelUploadState.USED)


async def delete(session: Session, name: str) -> None:
    """The parts go with the next collection. Raises: NotFound; UploadUsed."""
    await _open(session, name)
    await store.drop_uploads(session, [name])


async def collect(context: Context) -> bool:
    """Forgets uploads that nobody went on with, or whose import has ended; and all parts that no upload has."""
    before = context.clock.now() - timedelta(hours=context.settings.model_upload_hours)
    async with context.db.transaction() as session:
        await store.drop_uploads(session, await store.ended_uploads(session, before))
    keys = await context.store.list(PREFIX)
    ids = {key.removeprefix(f"{PREFIX}/").split("/")[0] for key in keys}
    async with context.db.transaction() as session:
        known = await store.known_uploads(session, ids)
    if strays := [key for key in keys if key.removeprefix(f"{PREFIX}/").split("/")[0] not in known]:
        await context.store.delete(strays)
    return False


def to_proto(upload: ModelUpload, keep_hours: int, parts: Sequence[UploadPart] = ()) -> upload_pb2.ModelUpload:
    described = [
        {**file, "parts": [part.model_dump() for part in parts if part.path == file["path"]]} for file in upload.files
    ]
    return render(
        upload,
        upload_pb2.ModelUpload,
        files=described,
        part_size_bytes=PART_BYTES,
        uri=uri_of(f"{PREFIX}/{last(upload.name)}"),
        expire_time=upload.update_time + timedelta(hours=keep_hours),
    )


async def _open(session: Session, name: str) -> ModelUpload:
    """Locked. Raises: NotFound; UploadUsed."""
    upload = await resources.get(session, ModelUpload, name, lock=True)
    if upload.state != ModelUploadState.OPEN:
        raise UploadUsed(name=name, used_by=upload.used_by)
    return upload


def _expected(upload: ModelUpload, path: str, number: int) -> int:
    """The size of the file in bytes. Raises: NoSuchPart; UploadUsed."""
    if upload.state != ModelUploadState.OPEN:
        raise UploadUsed(name=upload.name, used_by=upload.used_by)
    size = next((int(file["size_bytes"]) for file in upload.files if file["path"] == path), 0)
    if not 0 <= number * PART_BYTES < size:
        raise NoSuchPart(path=path[:120], number=number)
    return size


def _key(upload: ModelUpload, part: UploadPart) -> str:
    return f"{PREFIX}/{last(upload.name)}/{part.path}/{part.number}-{part.digest.removeprefix('sha256:')}"
