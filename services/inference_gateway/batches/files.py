"""Use cases: files of `/v1/files`. Their bytes lie in the object store, written before the row and deleted after it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from gyre_kit.auth import Role, caller
from gyre_kit.db import Session
from gyre_kit.errors import Denied, Exhausted, NotFound, Precondition
from gyre_kit.names import last

from services.inference_gateway.batches import store as batch_store
from services.inference_gateway.models.batches import StoredFile

INPUT, OUTPUT = "batch", "batch_output"


class FileNotFound(NotFound):
    """There is no such file in this project."""


class FileInUse(Precondition):
    """A batch reads it; cancel the batch or wait for its end."""


class NotYours(Denied):
    """Who did not make it needs the role ENGINEER to change it."""


class FilesFull(Exhausted):
    """The files of this project take all the room they may; delete some, or raise GYRE_FILES_MAX_BYTES."""


@dataclass(frozen=True)
class Stored:
    """Bytes that lie in the object store."""

    size: int
    uri: str
    digest: str


def new_id() -> str:
    """Nobody guesses 128 bits."""
    return f"file-{secrets.token_hex(16)}"


def key_of(project: str, file_id: str) -> str:
    """Where its bytes lie in the object store."""
    return f"inference_gateway/files/{project}/{file_id}"


async def check_room(session: Session, project: str, size: int, most: int) -> None:
    """Raises: FilesFull."""
    held = await batch_store.bytes_of(session, project)
    if held + size > most:
        raise FilesFull(bytes=held, limit=most)


def add(
    session: Session, project: str, file_id: str, filename: str, purpose: str, created_by: str, stored: Stored
) -> StoredFile:
    row = StoredFile(
        name=f"projects/{project}/files/{file_id}",
        project=project,
        display_name=filename,
        created_by=created_by,
        purpose=purpose,
        size_bytes=stored.size,
        uri=stored.uri,
        digest=stored.digest,
    )
    session.add(row)
    return row


async def existing(session: Session, project: str, file_id: str, *, lock: bool = False) -> StoredFile:
    """Raises: FileNotFound."""
    name = f"projects/{project}/files/{file_id}"
    row: StoredFile | None = await session.get(StoredFile, name, with_for_update=lock or None)
    if row is None or row.project != project:
        raise FileNotFound(f"There is no file {file_id[:80]} in this project.", name=name)
    return row


async def remove(session: Session, project: str, file_id: str) -> StoredFile:
    """Raises: FileNotFound; FileInUse; NotYours."""
    row = await existing(session, project, file_id, lock=True)
    check_may_change(row.created_by)
    if await batch_store.reads(session, project, last(row.name)):
        raise FileInUse(name=row.name)
    await session.delete(row)
    return row


def check_may_change(created_by: str) -> None:
    """Raises: NotYours."""
    if caller().role < Role.ENGINEER and caller().subject != created_by:
        raise NotYours(needs=Role.ENGINEER.name)
