"""Long work as a leased state machine: claim a row, work with no session open, apply if the lease still holds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
import sqlalchemy as sa
from opentelemetry import trace
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

from gyre_kit.db import Database, Session
from gyre_kit.errors import DomainError, Retriable
from gyre_kit.names import new_id

if TYPE_CHECKING:
    from gyre_kit.app import Context

log = logging.getLogger(__name__)
LEASE = timedelta(seconds=30)
LONGEST_PAUSE = 3.0  # seconds
LONGEST_REST = timedelta(seconds=60)  # of a row; one that is due later than that was so by a clock that was put back
Row = TypeVar("Row", bound="Any")


class Leased(SQLModel):
    """A row that one worker at a time may process. `due` says when it wants to be looked at next."""

    lease_token: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    due: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class LeaseLost(Exception):
    """Another worker took the row over; what was computed is dropped."""


@dataclass
class Claim(Generic[Row]):
    """A row under lease. `row` is a detached copy, good for reading; `again_in` may be changed while it is held."""

    row: Row
    token: str
    again_in: float

    async def reload(self, session: Session) -> Row:
        """The row, locked, if the lease still holds. Raises: LeaseLost."""
        table = type(self.row)
        query = sa.select(table).where(table.name == self.row.name).with_for_update(key_share=True)
        row: Row | None = await session.scalar(query)
        if row is None or row.lease_token != self.token:
            raise LeaseLost(self.row.name)
        return row

    async def extend(self, db: Database, seconds: float) -> None:
        """Holds the row for `seconds` from now, before a step that may outlast the lease. Raises: LeaseLost."""
        columns = type(self.row).__table__.c
        mine = (columns.name == self.row.name) & (columns.lease_token == self.token)
        until = db.clock.now() + timedelta(seconds=seconds)
        async with db.transaction() as session:
            held: Any = await session.execute(sa.update(type(self.row).__table__).where(mine).values(lease_until=until))
        if not held.rowcount:
            raise LeaseLost(self.row.name)


@asynccontextmanager
async def lease(
    db: Database, table: type[Row], where: Any, *, seconds: float = LEASE.total_seconds(), again_in: float = 1.0
) -> AsyncIterator[Claim[Row] | None]:
    """Claims one row of `table` for which `where` holds, that is due and that nobody holds; None if there is none.

    At the end the lease is given back and the row is due again in `again_in` seconds, at most LONGEST_REST: at once if
    it changed its state.
    """
    claim = await _claim(db, table, where, seconds, again_in)
    if claim is None:
        yield None
        return
    try:
        yield claim
    finally:
        await _give_back(db, table, claim)


async def _claim(db: Database, table: type[Any], where: Any, seconds: float, again_in: float) -> Claim[Any] | None:
    now = db.clock.now()
    free = sa.or_(table.lease_until.is_(None), table.lease_until < now)
    is_due = sa.or_(table.due.is_(None), table.due <= now, table.due > now + LONGEST_REST)
    query = (
        sa.select(table)
        .where(where, free, is_due)
        .order_by(table.due.asc().nulls_first(), table.create_time)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True)
    )
    async with db.transaction() as session:
        row = await session.scalar(query)
        if row is None:
            return None
        token, until = new_id(), now + timedelta(seconds=seconds)
        values = {"lease_token": token, "lease_until": until}
        await session.execute(sa.update(table.__table__).where(table.name == row.name).values(**values))
        session.expunge(row)
        row.lease_token, row.lease_until = token, until
    return Claim(row, token, again_in)


async def _give_back(db: Database, table: type[Any], claim: Claim[Any]) -> None:
    columns = table.__table__.c
    later = db.clock.now() + min(timedelta(seconds=claim.again_in), LONGEST_REST)
    unchanged = columns.state == claim.row.state if "state" in columns else sa.true()
    async with db.transaction() as session:
        await session.execute(
            sa.update(table.__table__)
            .where(columns.name == claim.row.name, columns.lease_token == claim.token)
            .values(lease_token=None, lease_until=None, due=sa.case((unchanged, later), else_=None))
        )


@dataclass(frozen=True)
class Reconciler:
    """Runs `step(context)` until it finds nothing to do (returns False or None), then waits `every` seconds or a wake.

    While there is nothing to do the pause grows to `LONGEST_PAUSE`: calls and events wake a reconciler, the clock only
    catches what they missed.
    """

    step: Callable[[Context], Awaitable[bool | None]]
    every: float = 1.0

    async def run(self, context: Context) -> None:
        name = self.step.__name__
        tracer = trace.get_tracer(context.component)
        wake = context.wake_event(name)
        pause = self.every
        while True:
            started, again = time.perf_counter(), False
            try:
                with tracer.start_as_current_span(f"reconcile {name}"):
                    again = bool(await self.step(context))
            except (Retriable, LeaseLost, DomainError, grpc.aio.AioRpcError, OSError, sa.exc.SQLAlchemyError) as error:
                context.metrics.reconcile_errors.labels(reconciler=name).inc()
                log.warning("reconciler will try again", extra={"reconciler": name, "error": _short(error)})
            except Exception:
                context.metrics.reconcile_errors.labels(reconciler=name).inc()
                log.exception("reconciler failed; it will try again", extra={"reconciler": name})
            context.metrics.reconcile_seconds.labels(reconciler=name).observe(time.perf_counter() - started)
            if again:
                pause = self.every
                continue
            woken = await _wait(wake, pause)
            pause = self.every if woken else min(pause * 1.5, max(self.every, LONGEST_PAUSE))


async def _wait(wake: asyncio.Event, seconds: float) -> bool:
    """True if it was woken before `seconds` were over."""
    try:
        await asyncio.wait_for(wake.wait(), timeout=seconds)
    except TimeoutError:
        return False
    finally:
        wake.clear()
    return True


def _short(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"{type(error).__name__}: {error}"[:300]
