"""Use cases: batches, from their creation to their end. What is asked on the way is in answering.py."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gyre.inference_gateway.v1 import events_pb2
from gyre_kit import resources
from gyre_kit.auth import caller
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.render import render
from gyre_kit.states import transition

from services.inference_gateway.batches import files
from services.inference_gateway.batches.lines import ENDPOINTS
from services.inference_gateway.models.batches import BatchState, InferenceBatch

WINDOW = re.compile(r"([1-9]\d{0,2})(h|d)")
DEFAULT_WINDOW = "24h"
LONGEST_WINDOW = timedelta(days=30)
MOST_DETAILS, LONGEST_DETAIL_NAME, LONGEST_DETAIL = 16, 64, 512


class BatchNotFound(NotFound):
    """There is no such batch in this project."""


class BadWindow(Invalid):
    """completion_window is a time from 1h to 30d, for example 24h."""


class BadEndpoint(Invalid):
    """A batch asks /v1/chat/completions, /v1/completions, /v1/embeddings or /v1/responses."""


class BadMetadata(Invalid):
    """metadata has at most 16 texts of at most 512 characters, with names of at most 64."""


class WrongPurpose(Invalid):
    """The input of a batch is a file with the purpose `batch`."""


class AlreadyEnded(Precondition):
    """It has ended, or is writing its results."""


@dataclass(frozen=True)
class Question:
    """How each row of a data set version is asked. `model` is a deployment."""

    model: str
    system: str = ""
    max_tokens: int = 0
    temperature: float | None = None


async def create_from_file(
    session: Session, project: str, file_id: str, endpoint: str, window: str, details: Mapping[str, str], api_key: str
) -> InferenceBatch:
    """Raises: FileNotFound; WrongPurpose; BadEndpoint; BadWindow; BadMetadata."""
    if endpoint not in ENDPOINTS:
        raise BadEndpoint(field="endpoint")
    _check_details(details)
    source = await files.existing(session, project, file_id, lock=True)  # it is not deleted in the meantime
    if source.purpose != files.INPUT:
        raise WrongPurpose(field="input_file_id", purpose=source.purpose)
    row = await _new(session, project, window)
    row.endpoint, row.input_file, row.details, row.api_key = endpoint, file_id, dict(details), api_key
    session.add(row)
    return row


async def create_from_version(
    session: Session,
    project: str,
    version: str,
    question: Question,
    result_dataset: str,
    *,
    window: str,
    display_name: str = "",
    request_id: str = "",
) -> InferenceBatch:
    """Raises: BadWindow."""
    if earlier := await resources.by_request(session, InferenceBatch, project, request_id):
        return earlier
    row = await _new(session, project, window)
    row.endpoint, row.source_version, row.result_dataset = ENDPOINTS[0], version, result_dataset
    row.model, row.system = question.model, question.system
    row.max_tokens, row.temperature = question.max_tokens, question.temperature
    row.display_name, row.request_id = display_name, request_id or None
    row.api_key = caller().subject if caller().subject.startswith("projects/") else ""
    session.add(row)
    return row


async def existing(session: Session, name: str, *, lock: bool = False) -> InferenceBatch:
    """Raises: BatchNotFound."""
    row: InferenceBatch | None = await session.get(
        InferenceBatch, name, with_for_update={"key_share": True} if lock else None
    )
    if row is None:
        raise BatchNotFound(f"There is no batch {name.rsplit('/', 1)[-1][:80]} in this project.", name=name)
    return row


async def cancel(session: Session, name: str, etag: str = "") -> InferenceBatch:
    """Asks for the end; twice is the same. Raises: BatchNotFound; AlreadyEnded; NotYours; EtagMismatch."""
    row = await existing(session, name, lock=True)
    files.check_may_change(row.created_by)
    resources.check_etag(row, etag)
    if row.state == BatchState.CANCELLING:
        return row
    if row.state not in (BatchState.VALIDATING, BatchState.IN_PROGRESS):
        raise AlreadyEnded(name=name, state=row.state)
    row.cancel_time, row.due = session.clock.now(), None
    await transition(session, row, BatchState.CANCELLING)
    return row


# -- what the reconciler does ----------------------------------------------------------------------------------------


async def begin(session: Session, row: InferenceBatch, total: int) -> None:
    row.total_count, row.start_time = total, session.clock.now()
    await transition(session, row, BatchState.IN_PROGRESS)


async def refuse(session: Session, row: InferenceBatch, errors: Sequence[Mapping[str, Any]]) -> None:
    """Its lines are not in order: nothing is asked."""
    row.errors = [dict(error) for error in errors]
    first = errors[0]
    where = f"line {first['line']}: " if first["line"] else ""
    more = f" ({len(errors)} errors)" if len(errors) > 1 else ""
    await fail(session, row, "INVALID_LINES", f"{where}{first['message']}{more}")


async def fail(session: Session, row: InferenceBatch, reason: str, message: str) -> None:
    row.failure_reason, row.failure_message = reason, message[:1000]
    await _end(session, row, BatchState.FAILED)


async def wind_up(session: Session, row: InferenceBatch) -> None:
    """Nothing more is asked."""
    row.finalize_time = session.clock.now()
    await transition(session, row, BatchState.FINALIZING)


async def finish(session: Session, row: InferenceBatch) -> None:
    """The results are written."""
    if row.state == BatchState.CANCELLING:
        await _end(session, row, BatchState.CANCELLED)
    else:
        in_time = row.finalize_time is not None and row.finalize_time < row.expire_time
        await _end(session, row, BatchState.COMPLETED if in_time else BatchState.EXPIRED)


def window_of(text: str) -> timedelta:
    """Raises: BadWindow."""
    found = WINDOW.fullmatch(text)
    if found is None:
        raise BadWindow(field="completion_window", given=text[:40])
    window = timedelta(**{"hours" if found[2] == "h" else "days": int(found[1])})
    if window > LONGEST_WINDOW:
        raise BadWindow(field="completion_window", given=text[:40])
    return window


async def _new(session: Session, project: str, window: str) -> InferenceBatch:
    return InferenceBatch(
        name=f"projects/{project}/inferenceBatches/batch_{secrets.token_hex(16)}",
        project=project,
        number=await resources.next_number(session, InferenceBatch, project),
        endpoint="",
        window=window,
        expire_time=session.clock.now() + window_of(window),
    )


async def _end(session: Session, row: InferenceBatch, state: BatchState) -> None:
    row.end_time = session.clock.now()
    event = render(row, events_pb2.InferenceBatchFinished, state=state)
    await transition(session, row, state, event)


def _check_details(details: Mapping[str, Any]) -> None:
    fits = all(
        isinstance(value, str) and len(value) <= LONGEST_DETAIL and len(name) <= LONGEST_DETAIL_NAME
        for name, value in details.items()
    )
    if len(details) > MOST_DETAILS or not fits:
        raise BadMetadata(field="metadata")
