"""PostgreSQL: one role and one schema a service, and the only place that commits.

Row-level security: a transaction says for which project it runs (`gyre.project`), and the policies of the first
migration hide every row of another. `*` is for reconcilers and event handlers, which serve all projects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import FromClause, MetaData, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from gyre_kit.addresses import POOL_OVERFLOW, POOL_SIZE
from gyre_kit.auth import caller
from gyre_kit.clock import Clock, SystemClock


class Session(AsyncSession):
    """A session that knows the time, and tells the relay when an event was written."""

    clock: Clock

    def __init__(self, *args: Any, clock: Clock, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clock = clock
        self.info["clock"] = clock


class DatabaseAway(ConnectionError):
    """PostgreSQL is there but lets nobody in: it starts, recovers from a crash, stops, or has too many connections."""


class Database:
    """A pool of connections to the schema of one service."""

    def __init__(self, url: str, component: str, clock: Clock | None = None, pool_size: int = POOL_SIZE) -> None:
        self.component = component
        self.url = url
        self.clock: Clock = clock or SystemClock()
        self.outbox_written = asyncio.Event()
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=10,
            pool_pre_ping=True,
            pool_recycle=1800,
            json_serializer=_json,
            connect_args={"server_settings": {"search_path": component, "application_name": f"gyre.{component}"}},
        )
        event.listen(self.engine.sync_engine, "do_connect", _connect)
        self._sessions = async_sessionmaker(self.engine, class_=Session, expire_on_commit=False, clock=self.clock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Commits at the end of the block, or rolls back if it raises. No network call belongs inside."""
        async with self._sessions() as session:
            async with session.begin():
                await enter_project(session, caller().project)
                yield session
            if session.info.pop("outbox", False):
                self.outbox_written.set()

    async def close(self) -> None:
        await self.engine.dispose()


def _json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Letters stay letters, so that a column can be searched for them; half of a surrogate pair cannot."""
    text = json.dumps(value, ensure_ascii=False, default=default)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, default=default)
    return text


def _time(value: Any) -> str:
    """Raises: TypeError for what is no time."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not written as JSON")


def _connect(dialect: Any, record: Any, arguments: Any, options: Any) -> Any:
    """SQLAlchemy passes on asyncpg's own errors here, which are of no family that a caller waits for.

    Raises: DatabaseAway; OSError.
    """
    try:
        return dialect.connect(*arguments, **options)
    except asyncpg.PostgresError as error:
        raise DatabaseAway(str(error)) from error


async def enter_project(session: AsyncSession, project: str) -> None:
    """Row-level security follows this setting until the transaction ends."""
    await session.execute(text("SELECT set_config('gyre.project', :project, true)"), {"project": project})


async def insert_rows(session: AsyncSession, table: FromClause, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes many rows of the same columns by one statement of one parameter."""
    columns = ", ".join(f'"{column}"' for column in rows[0])
    written = f"INSERT INTO {_name(table)} ({columns}) SELECT {columns} FROM {_recordset(table)}"
    await session.execute(text(written), {"rows": _json(rows, _time)})


async def insert_new(session: AsyncSession, table: type[SQLModel], rows: Sequence[SQLModel]) -> set[str]:
    """Writes many rows likewise; the names of those that were new. None is in the session.

    A row that a unique constraint refuses is left out.
    """
    of: FromClause = table.__table__  # type: ignore[attr-defined]
    written = f"INSERT INTO {_name(of)} SELECT * FROM {_recordset(of)} ON CONFLICT DO NOTHING RETURNING name"
    given = _json([row.model_dump(mode="json") for row in rows])
    return set((await session.scalars(text(written), {"rows": given})).all())


def _name(table: FromClause) -> str:
    return str(getattr(table, "fullname"))  # noqa: B009 - of any table, declared or not


def _recordset(table: FromClause) -> str:
    return f"json_populate_recordset(NULL::{_name(table)}, CAST(:rows AS json))"


def tables(component: str) -> registry:
    """The registry of one service's tables: two services may both have a `Version`."""
    return registry(metadata=MetaData(schema=component))
