"""Use cases: completions and the steps of applications around them, as traces; and what is deleted of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from gyre.inference_gateway.v1 import events_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.outbox import emit_all

from services.inference_gateway.models.traces import Completion, Span, Trace
from services.inference_gateway.traces import store as trace_store
from services.inference_gateway.traces.store import Part

OPENING_CHARACTERS = 160
BATCH = 500
Cause: TypeAlias = events_pb2.CompletionDeleted.Cause.ValueType
REQUEST = events_pb2.CompletionDeleted.CAUSE_REQUEST
RETENTION = events_pb2.CompletionDeleted.CAUSE_RETENTION


class TraceNotFound(NotFound):
    """There is no such trace in this project."""


class SessionNotFound(NotFound):
    """Nothing is kept of such a session in this project."""


@dataclass(frozen=True)
class Whole:
    """A trace with what is in it."""

    trace: Trace
    completions: Sequence[Completion]
    spans: Sequence[Span]


async def add(session: Session, completions: Sequence[Completion] = (), spans: Sequence[Span] = ()) -> set[str]:
    """Stores what is new, and counts it in its traces. Returns the names of what was new."""
    new_completions = await trace_store.add_completions(session, list({row.name: row for row in completions}.values()))
    new_spans = await trace_store.add_spans(session, list({row.name: row for row in spans}.values()))
    parts = [_part_of_completion(row) for row in _first(completions, new_completions)]
    parts += [_part_of_span(row) for row in _first(spans, new_spans)]
    await trace_store.add_to_traces(session, _together(parts))
    return new_completions | new_spans


async def get(session: Session, name: str) -> Whole:
    """By name, or by a completion's id in place of the trace's. Raises: TraceNotFound."""
    found = await trace_store.trace(session, name)
    if found is None:
        raise TraceNotFound(name=name)
    completions, spans = await trace_store.steps(session, found.name)
    return Whole(found, completions, spans)


async def delete(session: Session, name: str) -> None:
    """With all that is in it. Raises: TraceNotFound."""
    found = await trace_store.trace(session, name)
    if found is None:
        raise TraceNotFound(name=name)
    while any(its := await trace_store.of_trace(session, found, BATCH)):
        await _delete(session, *its, REQUEST)


async def delete_completion(session: Session, name: str) -> None:
    """Raises: NotFound."""
    row = await resources.get(session, Completion, name)
    await _delete(session, {row.name: row.trace}, {}, REQUEST)


async def delete_session(session: Session, project: str, given: str) -> tuple[int, int]:
    """All that is kept of it; how many completions and spans that were. Raises: SessionNotFound."""
    completions = spans = 0
    its_traces = await trace_store.traces_of_session(session, project, given)
    while True:
        found = await trace_store.of_session(session, project, given, its_traces, BATCH)
        if not any(found):
            break
        await _delete(session, *found, REQUEST)
        completions, spans = completions + len(found[0]), spans + len(found[1])
    if not completions + spans:
        raise SessionNotFound(session=given)
    return completions, spans


async def delete_older(session: Session, project: str, time: datetime) -> bool:
    """One batch of what is older. True if there may be more."""
    found = await trace_store.older_than(session, project, time, BATCH)
    await _delete(session, *found, RETENTION)
    pairs = await trace_store.delete_old_pairs(session, project, time, BATCH)
    return any(count == BATCH for count in (*map(len, found), pairs))


async def _delete(session: Session, completions: dict[str, str], spans: dict[str, str], cause: Cause) -> None:
    """Things by name, each with its trace; and what shadows were asked and answered in the place of those completions."""
    completions = completions | await trace_store.copies_of(session, list(completions))
    touched = sorted({*completions.values(), *spans.values()})
    if not touched:
        return
    await trace_store.lock_traces(session, touched)
    gone = await trace_store.delete_completions(session, list(completions))
    await emit_all(session, {name: _deleted(session, name, cause) for name in gone})
    await trace_store.delete_spans(session, list(spans))
    await trace_store.recount(session, touched)
    for name, messages in (await trace_store.openings(session, touched)).items():
        await trace_store.set_opening(session, name, opening_of(messages))


def _deleted(session: Session, name: str, cause: Cause) -> events_pb2.CompletionDeleted:
    event = events_pb2.CompletionDeleted(name=name, cause=cause)
    event.delete_time.FromDatetime(session.clock.now())
    return event


def opening_of(messages: Sequence[dict[str, Any]]) -> str:
    """Beginning of the newest question in a conversation."""
    asked = [str(each.get("content", "")) for each in messages if each.get("role") == "user"]
    return asked[-1][:OPENING_CHARACTERS] if asked else ""


def _first(rows: Sequence[Any], new: set[str]) -> list[Any]:
    return [row for row in {row.name: row for row in rows}.values() if row.name in new]


def _part_of_completion(row: Completion) -> Part:
    return Part(
        name=row.trace,
        project=row.project,
        session=row.session,
        start_time=row.create_time - timedelta(milliseconds=row.duration_ms),
        end_time=row.create_time,
        opening=opening_of(row.messages),
        deployment=row.deployment,
        model_version=row.model_version,
        completion_count=1,
        error_count=1 if row.error else 0,
        cost_microusd=row.cost_microusd,
        **row.usage,
    )


def _part_of_span(row: Span) -> Part:
    return Part(
        name=row.trace,
        project=row.project,
        session=row.session,
        start_time=row.start_time,
        end_time=row.start_time + timedelta(milliseconds=row.duration_ms),
        span_count=1,
        error_count=1 if row.error else 0,
    )


def _together(parts: Iterable[Part]) -> list[Part]:
    """One part for each trace: PostgreSQL changes a row once a statement."""
    sums: dict[str, Part] = {}
    for part in sorted(parts, key=lambda part: part.start_time):
        known = sums.setdefault(part.name, part)
        if known is not part:
            known.add(part)
    return list(sums.values())
