"""Where a completion stands among the steps of an application: its trace, its place there, and its session.

All of it follows from what the client sent and from the completion's id, so that nothing has to be remembered between
the request and its record. What a client calls its session may be a person's name: only a hash of it is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.inference_gateway.proxy.routing import SESSION_HEADER

TRACE_BYTES, SPAN_BYTES = 16, 8
SESSION_PREFIX = "s-"
# W3C Trace Context, version 00 and what later ones put behind it.
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True, slots=True)
class Parent:
    """The caller's span, as its `traceparent` says."""

    trace_id: str
    span_id: str
    sampled: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Ids in hexadecimal; `parent_span_id` and `session` are empty where the client said nothing."""

    trace_id: str
    span_id: str
    parent_span_id: str
    session: str


def place_of(project: str, completion_id: str, headers: Mapping[str, str]) -> Place:
    """The trace is the client's own; else its session's, so that a session reads as one; else the completion's."""
    parent = parse_traceparent(headers.get("traceparent", ""))
    given = headers.get(SESSION_HEADER, "")
    session = session_hash(project, given) if given else ""
    of_session = _digest(f"{project}\0{session}", TRACE_BYTES) if session else own_trace_id(completion_id)
    trace_id = parent.trace_id if parent else of_session
    return Place(trace_id, span_id_of(completion_id), parent.span_id if parent else "", session)


def parse_traceparent(value: str) -> Parent | None:
    """None for what is missing, broken, or all zeros, which the standard calls invalid."""
    found = TRACEPARENT.fullmatch(value.strip()) if value else None
    if found is None or found[1] == NO_TRACE or found[2] == NO_SPAN:
        return None
    return Parent(found[1], found[2], bool(int(found[3], 16) & 1))


def own_trace_id(completion_id: str) -> str:
    """Of a completion that belongs to nothing."""
    return _digest(completion_id, TRACE_BYTES)


def span_id_of(completion_id: str) -> str:
    return _digest(completion_id, SPAN_BYTES)


def session_hash(project: str, given: str) -> str:
    """`s-` and 32 hexadecimal digits. What is such a hash already stays as it is, so that either can be searched by."""
    digits = given.removeprefix(SESSION_PREFIX)
    if given.startswith(SESSION_PREFIX) and re.fullmatch(r"[0-9a-f]{32}", digits):
        return given
    return SESSION_PREFIX + _digest(f"{project}\0{given}", TRACE_BYTES)


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()
