"""What a platform holds: every row of every table, counted as PostgreSQL's superuser, and every stored object."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from deploy.local.postgres import EmbeddedPostgres
from tests.chaos.harness import Ledger, settings_of, until
from tests.conftest import Running

STILL_SECONDS = 3.0
TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""


@contextmanager
def nothing_left_behind(running: Running) -> Iterator[None]:
    """The block must leave all row counts and the listing of the object store as they were."""
    before = held(running)
    yield
    after = held(running)
    changed = {name: (before.get(name), after.get(name)) for name in before | after}
    left = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
    assert not left, f"before and after: {left}"


def held(running: Running) -> dict[str, Any]:
    """Rows by `schema.table`, and under `objects` the path and size of each object."""
    return _aside(_rows(running)) | {"objects": _objects(running)}


def settled(running: Running) -> None:
    """Waits until what was done before has reached every consumer, and nothing was written for a while after: counts then
    change only by what comes next."""

    def is_quiet() -> bool:
        ledger = _aside(Ledger._read(settings_of(running)))
        return not ledger.unsent() and not ledger.not_applied_once()

    def is_still() -> bool:
        before = held(running)
        time.sleep(STILL_SECONDS)
        return is_quiet() and held(running) == before

    until(is_quiet, "every event sent, and applied by its consumers", seconds=120)
    until(is_still, "nothing written for a while", seconds=120)


async def _rows(running: Running) -> dict[str, int]:
    settings = settings_of(running)
    connection = await EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder).connect()
    try:
        tables = [row[0] for row in await connection.fetch(TABLES)]
        counts = " UNION ALL ".join(f"SELECT '{table}', count(*) FROM {table}" for table in tables)
        return {row[0]: row[1] for row in await connection.fetch(counts)}
    finally:
        await connection.close()


def _objects(running: Running) -> list[tuple[str, int]]:
    folder = running.home / "objects"
    return sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*") if path.is_file())


def _aside(work: Any) -> Any:
    """The result of a coroutine, run in another thread: in this one `asyncio.run` would take the tests' loop away."""
    with ThreadPoolExecutor(1) as aside:
        return aside.submit(asyncio.run, work).result()
