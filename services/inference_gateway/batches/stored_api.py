"""The edge of `/v1/files` and `/v1/batches`: parse what a worker handed on, call, render as OpenAI does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import grpc
from gyre_kit.app import Context
from gyre_kit.auth import Identity, Role, acting_as
from gyre_kit.errors import DomainError
from gyre_kit.names import last
from gyre_kit.storage import key_of, uri_of
from sqlalchemy.exc import SQLAlchemyError

from services.inference_gateway.batches import files, multipart
from services.inference_gateway.batches import service as batches
from services.inference_gateway.batches import store as batch_store
from services.inference_gateway.models.batches import BatchState, InferenceBatch, StoredFile
from services.inference_gateway.proxy import asking, errors, stored
from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.stored import StoredCall

log = logging.getLogger(__name__)
DEFAULT_SLICE, MOST_FILES, MOST_BATCHES = 20, 10_000, 100
LONGEST_FIELD = 1024
BATCH_FIELDS = ("input_file_id", "endpoint", "completion_window", "metadata")
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,
}
ENDED = {
    BatchState.COMPLETED: "completed_at",
    BatchState.FAILED: "failed_at",
    BatchState.EXPIRED: "expired_at",
    BatchState.CANCELLED: "cancelled_at",
}


async def answer(context: Context, call: StoredCall, reply: Reply) -> None:
    """1 who is it, 2 what is asked, 3 do it, 4 say what came of it. Raises: ApiError."""
    identity = Identity(subject=call.api_key, project=call.project, role=Role[call.role])
    template = stored.template_of(call.path)
    if call.method not in stored.METHODS.get(template, ()):
        raise errors.unknown_path(call.path)
    with acting_as(identity):
        try:
            await ANSWERS[call.method, template](context, call, reply)
        except DomainError as error:
            status = HTTP_STATUS.get(error.code)
            if status is None:
                raise
            raise ApiError(status, error.reason.lower(), error.message, param=error.metadata.get("field")) from error
        except FileNotFoundError as error:
            raise ApiError(404, "file_not_found", "The bytes of this file are gone from the object store.") from error
        except (OSError, SQLAlchemyError) as error:
            log.warning("files and batches cannot be reached", extra={"reason": repr(error)[:300]})
            raise errors.overloaded("Files and batches cannot be reached now.") from error


# -- files -----------------------------------------------------------------------------------------------------------


async def create_file(context: Context, call: StoredCall, reply: Reply) -> None:
    """1 find the parts, 2 is there room, 3 the bytes, 4 the row."""
    path = call.upload
    if path is None:
        raise errors.bad_request("invalid_form", "Send the file as multipart/form-data.", "file")
    part, purpose = await asyncio.to_thread(_form, path, call.content_type)
    size = part.end - part.start
    async with context.db.transaction() as session:
        await files.check_room(session, call.project, size, context.settings.files_max_bytes)
    file_id = files.new_id()
    key = files.key_of(call.project, file_id)
    _, digest = await context.store.put_stream(key, _pieces(path, part))
    kept = files.Stored(size, uri_of(key), digest)
    async with context.db.transaction() as session:
        row = files.add(session, call.project, file_id, part.filename, purpose, call.api_key, kept)
    _send(reply, file_object(row))


async def list_files(context: Context, call: StoredCall, reply: Reply) -> None:
    query = _query(call, "after", "limit", "order", "purpose")
    where = StoredFile.project == call.project
    if purpose := query.get("purpose"):
        where &= StoredFile.purpose == purpose
    ascending = _order(query) == "asc"
    async with context.db.transaction() as session:
        after = await files.existing(session, call.project, query["after"]) if query.get("after") else None
        found = await batch_store.slice_of(
            session, StoredFile, where, after=after, limit=_limit(query, MOST_FILES), ascending=ascending
        )
    _send(reply, _listed([file_object(row) for row in found.rows], found.has_more))


async def get_file(context: Context, call: StoredCall, reply: Reply) -> None:
    async with context.db.transaction() as session:
        row = await files.existing(session, call.project, _id(call))
    _send(reply, file_object(row))


async def delete_file(context: Context, call: StoredCall, reply: Reply) -> None:
    async with context.db.transaction() as session:
        row = await files.remove(session, call.project, _id(call))
    await context.store.delete([key_of(row.uri)])
    _send(reply, {"id": last(row.name), "object": "file", "deleted": True})


async def get_content(context: Context, call: StoredCall, reply: Reply) -> None:
    """As fast as the client reads."""
    async with context.db.transaction() as session:
        row = await files.existing(session, call.project, _id(call))
    name = quote(row.display_name, safe="")
    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
    }
    chunks = context.store.chunks(key_of(row.uri))
    first = await anext(chunks, b"")  # a file that is missing is an error, not a reply that breaks off
    reply.start(200, headers)
    reply.write(first)
    async for chunk in chunks:
        await stored.until_it_reads(reply)
        reply.write(chunk)
    reply.end()


# -- batches ---------------------------------------------------------------------------------------------------------


async def create_batch(context: Context, call: StoredCall, reply: Reply) -> None:
    body = asking.load(call.body)
    if unknown := sorted(set(body) - set(BATCH_FIELDS)):
        known = ", ".join(BATCH_FIELDS)
        raise errors.bad_request("unknown_field", f"Unknown field {unknown[0][:80]}; known are {known}.", unknown[0])
    texts = {name: _text(body, name) for name in BATCH_FIELDS[:3]}
    details = body.get("metadata") or {}
    if not isinstance(details, dict):
        raise errors.bad_request("invalid_type", "metadata must be an object.", "metadata")
    async with context.db.transaction() as session:
        row = await batches.create_from_file(
            session,
            call.project,
            texts["input_file_id"],
            texts["endpoint"],
            texts["completion_window"],
            details,
            call.api_key,
        )
    context.wake()
    _send(reply, batch_object(row))


async def list_batches(context: Context, call: StoredCall, reply: Reply) -> None:
    query = _query(call, "after", "limit")
    where = InferenceBatch.project == call.project
    async with context.db.transaction() as session:
        after = await batches.existing(session, _batch_name(call, query["after"])) if query.get("after") else None
        found = await batch_store.slice_of(
            session, InferenceBatch, where, after=after, limit=_limit(query, MOST_BATCHES)
        )
    _send(reply, _listed([batch_object(row) for row in found.rows], found.has_more))


async def get_batch(context: Context, call: StoredCall, reply: Reply) -> None:
    async with context.db.transaction() as session:
        row = await batches.existing(session, _batch_name(call, _id(call)))
    _send(reply, batch_object(row))


async def cancel_batch(context: Context, call: StoredCall, reply: Reply) -> None:
    async with context.db.transaction() as session:
        row = await batches.cancel(session, _batch_name(call, _id(call)))
    context.wake()
    _send(reply, batch_object(row))


ANSWERS: dict[tuple[str, str], Callable[[Context, StoredCall, Reply], Awaitable[None]]] = {
    ("POST", "/v1/files"): create_file,
    ("GET", "/v1/files"): list_files,
    ("GET", "/v1/files/{file}"): get_file,
    ("DELETE", "/v1/files/{file}"): delete_file,
    ("GET", "/v1/files/{file}/content"): get_content,
    ("POST", "/v1/batches"): create_batch,
    ("GET", "/v1/batches"): list_batches,
    ("GET", "/v1/batches/{batch}"): get_batch,
    ("POST", "/v1/batches/{batch}/cancel"): cancel_batch,
}


# -- as OpenAI shows them --------------------------------------------------------------------------------------------


def file_object(row: StoredFile) -> dict[str, Any]:
    return {
        "id": last(row.name),
        "object": "file",
        "bytes": row.size_bytes,
        "created_at": _seconds(row.create_time),
        "filename": row.display_name,
        "purpose": row.purpose,
        "status": "processed",
        "expires_at": None,
        "status_details": None,
    }


def batch_object(row: InferenceBatch) -> dict[str, Any]:
    ends = dict.fromkeys(ENDED.values()) | (
        {ENDED[BatchState(row.state)]: _seconds(row.end_time)} if row.state in ENDED else {}
    )
    wrong = row.errors or (
        [{"code": row.failure_reason.lower(), "message": row.failure_message}] if row.failure_reason else []
    )
    shown = [
        {
            "code": error["code"],
            "message": error["message"],
            "param": error.get("param") or None,
            "line": error.get("line") or None,
        }
        for error in wrong
    ]
    return {
        "id": last(row.name),
        "object": "batch",
        "endpoint": row.endpoint,
        "model": row.model or None,
        "errors": {"object": "list", "data": shown} if shown else None,
        "input_file_id": row.input_file,
        "completion_window": row.window,
        "status": row.state.lower(),
        "output_file_id": row.output_file or None,
        "error_file_id": row.error_file or None,
        "created_at": _seconds(row.create_time),
        "in_progress_at": _seconds(row.start_time),
        "expires_at": _seconds(row.expire_time),
        "finalizing_at": _seconds(row.finalize_time),
        "cancelling_at": _seconds(row.cancel_time),
        **ends,
        "request_counts": {
            "total": row.total_count,
            "completed": row.completed_count,
            "failed": row.failed_count,
        },
        "metadata": row.details or None,
    }


# -- small things ----------------------------------------------------------------------------------------------------


def _form(path: Path, content_type: str) -> tuple[multipart.FormPart, str]:
    """The file and its purpose. Raises: ApiError 400."""
    try:
        fields = {part.name: part for part in multipart.parts_of(path, content_type)}
    except multipart.BadForm as error:
        raise errors.bad_request("invalid_form", f"This is no form with a file: {error}.", "file") from error
    if unknown := sorted(set(fields) - {"file", "purpose"}):
        raise errors.bad_request("unknown_field", f"Unknown field {unknown[0][:80]}.", unknown[0][:80])
    for name in ("file", "purpose"):
        if name not in fields:
            raise errors.bad_request("missing_required_parameter", f"The form has no field {name}.", name)
    purpose = multipart.read(path, fields["purpose"], LONGEST_FIELD).decode("utf-8", "replace")
    if purpose != files.INPUT:
        raise errors.bad_request("invalid_value", "purpose must be batch: other files have no use here.", "purpose")
    if not fields["file"].filename:
        raise errors.bad_request("invalid_value", "The field file must be a file with a name.", "file")
    return fields["file"], purpose


async def _pieces(path: Path, part: multipart.FormPart) -> AsyncIterator[bytes]:
    """Read in threads, for the disk may be slow."""
    pieces = multipart.pieces(path, part)
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece


def _send(reply: Reply, body: dict[str, Any]) -> None:
    reply.send(200, json.dumps(body).encode())


def _listed(shown: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return {"object": "list", "data": shown, **ends, "has_more": has_more}


def _id(call: StoredCall) -> str:
    return _storable(unquote(call.path.split("/")[3]))


def _batch_name(call: StoredCall, batch_id: str) -> str:
    return f"projects/{call.project}/inferenceBatches/{batch_id}"


def _query(call: StoredCall, *known: str) -> dict[str, str]:
    """Other parameters are for others: OpenAI's clients let people add their own."""
    given = parse_qs(call.query, keep_blank_values=False)
    return {name: _storable(given[name][-1]) for name in known if name in given}


def _limit(query: dict[str, str], most: int) -> int:
    """Raises: ApiError 400."""
    text = query.get("limit", str(DEFAULT_SLICE))
    if not (text.isascii() and text.isdecimal() and len(text) < 7 and 1 <= int(text) <= most):
        raise errors.bad_request("invalid_value", f"limit is a number from 1 to {most:,}.", "limit")
    return int(text)


def _order(query: dict[str, str]) -> str:
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise errors.bad_request("invalid_value", "order is asc or desc.", "order")
    return order


def _text(body: dict[str, Any], name: str) -> str:
    """Raises: ApiError 400."""
    value = body.get(name)
    if value is None:
        raise errors.bad_request("missing_required_parameter", f"{name} is missing.", name)
    if not isinstance(value, str):
        raise errors.bad_request("invalid_type", f"{name} must be a string.", name)
    return _storable(value)


def _storable(text: str) -> str:
    """What PostgreSQL cannot take names nothing that is there."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _seconds(time: datetime | None) -> int | None:
    return int(time.timestamp()) if time else None
