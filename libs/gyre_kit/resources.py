"""What every table of a project's things has, and the manners of AIP: etags, request ids, short numbers, filters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import DateTime, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, SQLModel

from gyre_kit import pages
from gyre_kit.auth import caller
from gyre_kit.clock import SystemClock
from gyre_kit.errors import Conflict, Invalid, NotFound

Row = TypeVar("Row", bound="Resource")


class EtagMismatch(Conflict):
    """Somebody else changed it first: read it again, then repeat the change."""


class BadFilter(Invalid):
    """A filter is made of terms like state=READY, joined by AND."""


class Resource(SQLModel):
    """A row's `name` is its resource name; `revision` moves with every write and is the etag."""

    name: str = Field(primary_key=True)
    project: str = Field(index=True)
    display_name: str = ""
    created_by: str = Field(default_factory=lambda: caller().subject)
    create_time: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=DateTime(timezone=True))
    update_time: datetime = Field(default_factory=lambda: datetime.now(UTC), sa_type=DateTime(timezone=True))
    revision: int = 1
    request_id: str | None = Field(default=None, index=True)

    @property
    def etag(self) -> str:
        return str(self.revision)


class Numbered(SQLModel):
    """Things named by a ULID have a short number too, counted from 1 in each project, for people."""

    number: int = Field(default=0, index=True)


async def get(session: AsyncSession, table: type[Row], name: str, *, lock: bool = False) -> Row:
    """The row of that name, locked for update if asked. Raises: NotFound."""
    query = sa.select(table).where(table.name == name)
    if lock:
        query = query.with_for_update(key_share=True)
    row: Row | None = await session.scalar(query.execution_options(populate_existing=True))
    if row is None:
        raise NotFound(f"There is no {table.__name__.lower()} {name}.", name=name)
    return row


async def by_request(session: AsyncSession, table: type[Row], project: str, request_id: str) -> Row | None:
    """What an earlier call with the same request id made: Create is idempotent by it."""
    if not request_id:
        return None
    query = sa.select(table).where(table.project == project, table.request_id == request_id)
    found: Row | None = await session.scalar(query)
    return found


async def next_number(session: AsyncSession, table: type[Any], project: str) -> int:
    """The next short number of `table` in `project`. Holds an advisory lock until the transaction ends."""
    key = f"{table.__table__.fullname}/{project}"
    await session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key})
    newest = await session.scalar(sa.select(sa.func.max(table.number)).where(table.project == project))
    return (newest or 0) + 1


def check_etag(row: Resource, etag: str) -> None:
    """Raises: EtagMismatch, if one was given and the row has moved on."""
    if etag and etag != row.etag:
        raise EtagMismatch(name=row.name, given=etag, current=row.etag)


async def listed(
    session: AsyncSession,
    query: sa.Select[Any],
    table: type[Any],
    request: Any,
    *,
    allowed: tuple[str, ...] = (),
    text_in: tuple[str, ...] = (),
    order_by: str | None = None,
) -> pages.Page[Any]:
    """The page of `query` that a List request asks for: by its filter, where fields are `allowed` in one; by its search,
    where there are columns to look in; in its order, unless `order_by` says which.

    Raises: BadFilter; BadOrder; BadPageToken.
    """
    if allowed or text_in:
        text = request.query if text_in else ""
        query = filtered(query, table, filter=request.filter, text=text, allowed=allowed, text_in=text_in)
    return await pages.page(
        session,
        query,
        table=table,
        page_size=request.page_size,
        page_token=request.page_token,
        order_by=request.order_by if order_by is None else order_by,
    )


def filtered(
    query: sa.Select[Any],
    table: type[Any],
    *,
    filter: str,
    text: str,
    allowed: tuple[str, ...],
    text_in: tuple[str, ...],
) -> sa.Select[Any]:
    """Adds the terms of an AIP filter (`state=READY AND method=SFT`) and a search for `text` in some columns.

    Raises: BadFilter, naming the fields that may be used.
    """
    for field, value in parse_filter(filter).items():
        if field not in allowed:
            raise BadFilter(field=field, allowed="|".join(allowed))
        query = query.where(sa.cast(getattr(table, field), sa.Text) == value)
    if text:
        pattern = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = query.where(sa.or_(*(sa.cast(getattr(table, column), sa.Text).ilike(pattern) for column in text_in)))
    return query


def parse_filter(filter: str) -> Mapping[str, str]:
    """`{"state": "READY"}` of `state=READY`. Raises: BadFilter."""
    terms = {}
    for term in filter.split(" AND ") if filter.strip() else []:
        field, equals, value = (part.strip() for part in term.partition("="))
        if not (field and equals):
            raise BadFilter(given=term[:80])
        terms[field] = value.strip('"')
    return terms


@event.listens_for(AsyncSession.sync_session_class, "before_flush")
def _stamp(session: Any, *_: Any) -> None:
    """Every write of a resource moves its times and its revision."""
    now = (session.info.get("clock") or SystemClock()).now()
    for row in session.new:
        if isinstance(row, Resource):
            row.create_time = row.update_time = now
    for row in session.dirty:
        if isinstance(row, Resource) and session.is_modified(row):
            row.update_time = now
            row.revision += 1
