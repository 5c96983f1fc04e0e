"""Queries of files and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.names import project_of

from services.inference_gateway.models.batches import BatchState, InferenceBatch, StoredFile

Row = TypeVar("Row", StoredFile, InferenceBatch)
OPEN = (BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING)


@dataclass(frozen=True)
class Slice(Generic[Row]):
    """A part of a list, as OpenAI pages: after a row, at most so many."""

    rows: Sequence[Row]
    has_more: bool


async def slice_of(
    session: Session, table: type[Row], where: Any, *, after: Row | None, limit: int, ascending: bool = False
) -> Slice[Row]:
    """Newest first, unless `ascending`."""
    place = sa.tuple_(table.create_time, table.name)
    query = sa.select(table).where(where)
    if after is not None:
        mark = sa.tuple_(sa.literal(after.create_time), sa.literal(after.name))
        query = query.where(place > mark if ascending else place < mark)
    columns: tuple[Any, ...] = (table.create_time, table.name)
    query = query.order_by(*(column.asc() if ascending else column.desc() for column in columns))
    rows = (await session.scalars(query.limit(limit + 1))).all()
    return Slice(rows[:limit], len(rows) > limit)


async def bytes_of(session: Session, project: str) -> int:
    """Of all files of a project."""
    query = sa.select(sa.func.coalesce(sa.func.sum(StoredFile.size_bytes), 0)).where(StoredFile.project == project)
    return int(await session.scalar(query) or 0)


async def reads(session: Session, project: str, file_id: str) -> bool:
    """Whether a batch that has not ended reads the file."""
    query = sa.select(InferenceBatch.name).where(
        InferenceBatch.project == project, InferenceBatch.input_file == file_id, InferenceBatch.state.in_(OPEN)
    )
    return (await session.scalar(query.limit(1))) is not None


async def batch_page(session: Session, request: Any) -> pages.Page[InferenceBatch]:
    query = sa.select(InferenceBatch).where(InferenceBatch.project == project_of(request.parent))
    allowed, text_in = ("state", "source_version", "model"), ("display_name", "model", "source_version", "number")
    return await resources.listed(session, query, InferenceBatch, request, allowed=allowed, text_in=text_in)


async def open_lines(session: Session) -> tuple[int, int, int]:
    """Lines of all batches that are not over: all of them, those answered, and those that failed."""
    counts = (InferenceBatch.total_count, InferenceBatch.completed_count, InferenceBatch.failed_count)
    query = sa.select(*(sa.func.coalesce(sa.func.sum(count), 0) for count in counts))
    total, answered, failed = (await session.execute(query.where(InferenceBatch.state.in_(OPEN)))).one()
    return int(total), int(answered), int(failed)


async def in_progress(session: Session) -> Sequence[InferenceBatch]:
    """Those that ask the gateway."""
    query = sa.select(InferenceBatch).where(InferenceBatch.state == BatchState.IN_PROGRESS)
    return (await session.scalars(query.order_by(InferenceBatch.name))).all()
