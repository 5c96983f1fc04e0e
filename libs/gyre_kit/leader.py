"""Of several processes of one service, one does a job: the one that holds the job's advisory lock in PostgreSQL.

The lock lives as long as the connection that took it, so a leader that is killed is followed at once, and one that
lost its connection must stop: `confirm` says so by raising.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gyre_kit.db import Database

ASK_SECONDS = 1.0


class Leadership:
    """What a leader holds."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def confirm(self) -> None:
        """Raises: sqlalchemy.exc.SQLAlchemyError, OSError if the lock may be another's by now."""
        await self._connection.execute(sa.text("SELECT 1"))


@asynccontextmanager
async def leadership(db: Database, job: str, waiting: asyncio.Event) -> AsyncIterator[Leadership]:
    """Waits until this process leads `job` of its service; `waiting` is set where another one does."""
    async with db.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            while not await _try_lock(connection, f"{job}/{db.component}"):
                waiting.set()
                await asyncio.sleep(ASK_SECONDS)
            yield Leadership(connection)
        finally:
            await connection.invalidate()  # back in the pool it would keep the lock from the next leader: ourselves


async def _try_lock(connection: AsyncConnection, key: str) -> bool:
    query = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
    return bool((await connection.execute(query, {"key": key})).scalar())
