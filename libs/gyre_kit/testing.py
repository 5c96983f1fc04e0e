"""Fixtures for every service's tests: a real PostgreSQL, a real broker, real gRPC, and a clock that is moved by hand.

`conftest.py` at the root imports `platform` and `clock`; a service's own conftest adds `session = session_of("feedback")`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.local import broker, keys, postgres
from deploy.local.settings import RuntimeSettings
from gyre_kit import addresses, migrate
from gyre_kit.app import App, Context, serve
from gyre_kit.auth import Identity, Role, Signer, acting_as
from gyre_kit.db import Database, Session, enter_project
from gyre_kit.rpc import Clients
from gyre_kit.settings import KitSettings

PROJECT = "acme"
ENGINEER = Identity(subject="keys/engineer", project=PROJECT, role=Role.ENGINEER)
REVIEWER = Identity(subject="keys/reviewer", project=PROJECT, role=Role.REVIEWER)
VIEWER = Identity(subject="keys/viewer", project=PROJECT, role=Role.VIEWER)
STRANGER = Identity(subject="keys/stranger", project="other", role=Role.ADMIN)


class ManualClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, **time_units: float) -> None:
        self._now += timedelta(**time_units)


async def eventually(check: Callable[[], Awaitable[Any]], seconds: float = 30.0, every: float = 0.05) -> Any:
    """The first truthy result of `check`. Raises: AssertionError when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (result := await check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{check.__qualname__} did not come true within {seconds} s")
        await asyncio.sleep(every)
    return result


@dataclass
class Platform:
    """A home, a PostgreSQL with the eight roles and schemas, and a broker, for one test session."""

    home: Path
    port_offset: int
    environment: dict[str, str]

    def settings(self, cls: type[KitSettings] = KitSettings, **overrides: Any) -> Any:
        return cls(**(self._values() | overrides))

    def _values(self) -> dict[str, Any]:
        return {
            "home": self.home,
            "port_offset": self.port_offset,
            "database_url": self.environment["GYRE_DATABASE_URL"],
        }

    @asynccontextmanager
    async def serving(self, *apps: App, clock: Any = None) -> AsyncIterator[list[Context]]:
        """The apps, up and ready, in this loop; stopped at the end."""
        async with AsyncExitStack() as stack:
            yield list(await asyncio.gather(*(serve(app, stack, clock) for app in apps)))

    def clients(self, component: str = "api_gateway") -> Clients:
        """Stubs that call as `component`; wrap calls in `acting_as(ENGINEER)`."""
        settings = self.settings()
        return Clients(settings, Signer(component, settings.keys_folder))

    async def empty(self, component: str) -> None:
        """Empties every table of one schema: for tests where commit, inbox or relay is the subject."""
        engine = create_async_engine(self.settings().database_url_of(component))
        query = "SELECT tablename FROM pg_tables WHERE schemaname = :s AND tablename <> 'alembic_version'"
        async with engine.begin() as connection:
            names = [row[0] for row in await connection.execute(text(query), {"s": component})]
            if names:
                await connection.execute(text("TRUNCATE " + ", ".join(f'"{component}"."{name}"' for name in names)))
        await engine.dispose()


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """Started once a session."""
    with new_platform() as started:
        yield started


@contextmanager
def new_platform() -> Iterator[Platform]:
    """In a folder of its own, on ports of its own; the environment names it as long as it is there."""
    home = Path(tempfile.mkdtemp(prefix="gyre-test-"))
    offset = free_port_offset()
    settings = RuntimeSettings(home=home, port_offset=offset)
    settings.prepare_home()
    keys.ensure_signing_keys(settings.keys_folder)
    passwords = {name: keys.ensure_password(settings.keys_folder, name) for name in addresses.COMPONENTS}
    database = postgres.EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder)
    database.prepare()
    processes = [
        _spawn(database.command(), home, **database.account.run_as()),
        _spawn(broker.command(settings.kafka_address), home),
    ]
    with ThreadPoolExecutor(1) as aside:  # here `asyncio.run` would take the tests' own loop away
        aside.submit(asyncio.run, _set_up(database, passwords)).result()
    environment = {
        "GYRE_HOME": str(home),
        "GYRE_PORT_OFFSET": str(offset),
        "GYRE_DATABASE_URL": database.url_template,
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield Platform(home, offset, environment)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        for process in processes:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)
        shutil.rmtree(home, ignore_errors=True)


def _spawn(command: list[str], home: Path, **options: Any) -> subprocess.Popen[bytes]:
    with (home / "logs" / "test.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True, **options)


async def _set_up(database: postgres.EmbeddedPostgres, passwords: dict[str, str]) -> None:
    await eventually(database.ready)
    await database.ensure_roles(passwords)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def session_of(component: str) -> Any:
    """A fixture: a session on the migrated schema of `component`, as ENGINEER of PROJECT, rolled back at the end."""

    @pytest.fixture
    async def session(platform: Platform, clock: ManualClock) -> AsyncIterator[Session]:
        url = platform.settings().database_url_of(component)
        await migrate.upgrade(url, component)
        db = Database(url, component, clock)
        async with db.engine.connect() as connection:
            outer = await connection.begin()
            async with Session(bind=connection, clock=clock, expire_on_commit=False) as opened:
                await enter_project(opened, PROJECT)
                with acting_as(ENGINEER):
                    yield opened
            await outer.rollback()
        await db.close()

    return session


async def outbox_of(session: Session) -> list[tuple[str, str]]:
    """(type, subject) of every event written so far, oldest first."""
    rows = await session.execute(text("SELECT type, subject FROM outbox ORDER BY id"))
    return [(row[0].rsplit(".", 1)[-1], row[1]) for row in rows]


@asynccontextmanager
async def expect_rpc_error(code: grpc.StatusCode) -> AsyncIterator[list[grpc.aio.AioRpcError]]:
    """The block must fail with `code`; the error is put into the list."""
    caught: list[grpc.aio.AioRpcError] = []
    try:
        yield caught
    except grpc.aio.AioRpcError as error:
        assert error.code() is code, f"{error.code()}: {error.details()}"
        caught.append(error)
        return
    raise AssertionError(f"the call succeeded; {code} was expected")


def free_port_offset() -> int:
    """A port offset at which every port of the table is free, and below those from which connections go out."""
    ports = [addresses.CONSOLE_PORT, addresses.OPENAI_PORT, addresses.KAFKA_PORT]
    ports += [*addresses.GRPC_PORTS.values(), *addresses.METRICS_PORTS.values()]
    start = 10_000 + (os.getpid() * 37) % 9_000
    for offset in range(start, start + 5_000, 250):
        if all(_is_free(port + offset) for port in ports):
            return offset
    raise RuntimeError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False
