"""Whose request it is: the key that was sent, and the project for which it asks."""

from __future__ import annotations

import time
from hashlib import sha256

from services.inference_gateway.proxy import errors
from services.inference_gateway.proxy.snapshot import ALL_PROJECTS, Key, Snapshot
from services.inference_gateway.proxy.wire import Request

NEWCOMER_BYTES = 1024 * 1024


def digest(request: Request) -> str:
    """SHA-256 of the key that was sent, in hex. Raises: ApiError 401 if none was."""
    secret = request.bearer()
    if not secret:
        raise errors.missing_key()
    return sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def valid(key: Key | None) -> Key:
    if key is None or key.revoked:
        raise errors.invalid_key()
    if key.expires and time.time() >= key.expires:
        raise errors.expired_key()
    return key


def known(request: Request) -> Key:
    if request.caller is None:
        raise errors.missing_key()
    return request.caller


def project(request: Request, snapshot: Snapshot) -> str:
    """The key's project, or the one that a key of all projects names. Raises: ApiError 400 or 403."""
    key, asked = known(request), request.headers.get("openai-project", "")
    if key.project != ALL_PROJECTS:
        if asked and asked != key.project:
            raise errors.wrong_project(asked)
        return key.project
    if not asked and len(snapshot.projects) == 1:
        return next(iter(snapshot.projects))
    if asked not in snapshot.projects:
        raise errors.wrong_project(asked) if asked else errors.project_needed()
    return asked


def is_small(request: Request) -> bool:
    """What may be read of somebody who is not known yet."""
    length = request.headers.get("content-length", "0")
    return "transfer-encoding" not in request.headers and length.isdecimal() and int(length) <= NEWCOMER_BYTES
