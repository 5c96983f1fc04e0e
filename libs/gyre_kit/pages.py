"""Lists in pages: an opaque token that carries where the next page begins, bound to the question it answers."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from gyre_kit.errors import Invalid

Row = TypeVar("Row")
DEFAULT_SIZE, MAX_SIZE = 50, 500


class BadPageToken(Invalid):
    """The page token does not belong to this question; ask for the first page again."""


class BadOrder(Invalid):
    """The list cannot be sorted like that."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: Sequence[Row]
    next_page_token: str
    total: int


async def page(
    session: AsyncSession,
    query: sa.Select[tuple[Row]],
    *,
    table: type[Any],
    page_size: int,
    page_token: str,
    order_by: str = "",
) -> Page[Row]:
    """One page of `query`, newest first unless `order_by` ("size_bytes desc") says otherwise.

    Raises: BadPageToken; BadOrder, naming the columns that can be sorted by.
    """
    column, descending = _order(table, order_by)
    asked = f"{query.compile(compile_kwargs={'literal_binds': True})}{order_by}"
    offset = decode_offset(page_token, asked)
    size = min(page_size or DEFAULT_SIZE, MAX_SIZE)
    total = await session.scalar(sa.select(sa.func.count()).select_from(query.order_by(None).subquery())) or 0
    ordered = query.order_by(column.desc() if descending else column.asc(), table.name.desc())
    rows = list(await session.scalars(ordered.offset(offset).limit(size)))
    more = offset + len(rows) < total
    return Page(rows, encode_offset(offset + len(rows), asked) if more else "", total)


def _order(table: type[Any], order_by: str) -> tuple[Any, bool]:
    words = order_by.split() or ["create_time", "desc"]
    columns = table.__table__.columns
    if words[0] not in columns or words[1:] not in ([], ["asc"], ["desc"]):
        raise BadOrder(given=order_by[:80], columns="|".join(sorted(columns.keys())))
    return getattr(table, words[0]), words[1:] == ["desc"]


def encode_offset(offset: int, asked: str) -> str:
    """A token for the page that begins at `offset` of the list that `asked` describes."""
    return base64.urlsafe_b64encode(json.dumps([offset, _fingerprint(asked)]).encode()).decode()


def decode_offset(token: str, asked: str) -> int:
    """Raises: BadPageToken, also for a token of another question."""
    if not token:
        return 0
    try:
        offset, belongs_to = json.loads(base64.urlsafe_b64decode(token))
        if belongs_to == _fingerprint(asked) and isinstance(offset, int) and offset >= 0:
            return offset
    except (ValueError, TypeError):
        pass
    raise BadPageToken()


def _fingerprint(asked: str) -> str:
    return hashlib.sha256(asked.encode()).hexdigest()[:16]
