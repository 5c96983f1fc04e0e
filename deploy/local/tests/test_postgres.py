"""The real PostgreSQL out of the wheel."""

# ruff: noqa: ASYNC220 - starting a process takes a millisecond, and nothing else waits for this loop

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from deploy.local import database, roles
from deploy.local.postgres import STOP_SIGNAL, EmbeddedPostgres
from deploy.local.probes import until
from deploy.local.processes import wait_gone
from deploy.local.settings import RuntimeSettings

PASSWORDS = {"dataset": "word-of-dataset", "feedback": "word-of-feedback"}


class Running:
    """A server that a test may kill and start again."""

    def __init__(self, server: EmbeddedPostgres, log: Path) -> None:
        self.server, self._log = server, log
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self.server.prepare()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.server.command(), stdout=log, stderr=log, start_new_session=True, cwd="/",
                **self.server.account.run_as(),
            )  # fmt: skip
        await until(self.server.ready, 30)

    def end(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)


@pytest.fixture(scope="module")
async def postgres() -> AsyncIterator[Running]:
    """One server for all tests of this file; whoever kills it starts it again."""
    folder = Path(tempfile.mkdtemp(prefix="gyre-t-")).resolve()
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres", folder / "postgres" / "socket")
    running = Running(server, folder / "postgres.log")
    await running.start()
    await running.server.ensure_roles(PASSWORDS)
    yield running
    running.end(STOP_SIGNAL)
    shutil.rmtree(folder)


@asynccontextmanager
async def login(running: Running, role: str, password: str) -> AsyncIterator[Any]:
    host = str(running.server.socket_folder)
    connection = await roles.connect(host=host, user=role, password=password, database="gyre")
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_role_owns_its_schema_and_can_look_into_no_other(postgres: Running) -> None:
    await postgres.server.ensure_roles(PASSWORDS)  # a second time changes nothing
    async with login(postgres, "dataset", PASSWORDS["dataset"]) as connection:
        await connection.execute("CREATE TABLE versions (n int)")
        assert await connection.fetchval("SELECT current_schema()") == "dataset"
        for forbidden in ("CREATE TABLE feedback.mine (n int)", "CREATE TABLE public.mine (n int)", "CREATE ROLE mine"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(forbidden)
    async with login(postgres, "feedback", PASSWORDS["feedback"]) as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM dataset.versions")


async def test_a_role_is_bound_by_row_level_security_even_on_its_own_tables(postgres: Running) -> None:
    async with login(postgres, "dataset", PASSWORDS["dataset"]) as connection:
        rights = await connection.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        )
    assert not any(rights.values())


async def test_nobody_gets_in_with_anothers_password(postgres: Running) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        async with login(postgres, "feedback", PASSWORDS["dataset"]):
            pass


async def test_it_listens_on_no_network_and_its_socket_is_closed_to_others(postgres: Running) -> None:
    assert postgres.process is not None
    listening = [c for c in psutil.Process(postgres.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert listening == []
    assert postgres.server.socket_folder.stat().st_mode & 0o077 == 0
    assert postgres.server.folder.stat().st_mode & 0o077 == 0


async def test_what_was_committed_survives_a_kill(postgres: Running) -> None:
    async with login(postgres, "dataset", PASSWORDS["dataset"]) as connection:
        await connection.execute("CREATE TABLE kept (n int)")
        await connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    postgres.end(signal.SIGKILL)
    assert (postgres.server.data / "postmaster.pid").exists()
    await postgres.start()
    async with login(postgres, "dataset", PASSWORDS["dataset"]) as connection:
        assert await connection.fetchval("SELECT count(*) FROM kept") == 1000


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


async def test_a_stale_pid_file_that_names_a_stranger_is_removed(
    postgres: Running, stranger: subprocess.Popen[bytes]
) -> None:
    pid_file = postgres.server.data / "postmaster.pid"
    content = pid_file.read_text()
    postgres.end(signal.SIGKILL)
    pid_file.write_text(content.replace(content.split("\n")[0], str(stranger.pid), 1))
    await postgres.start()
    assert stranger.poll() is None


async def test_a_server_that_was_left_behind_is_stopped_before_the_next_starts(postgres: Running) -> None:
    left = postgres.process
    assert left is not None
    starting = asyncio.create_task(asyncio.to_thread(postgres.server.prepare))
    await asyncio.to_thread(left.wait, 30)
    await starting
    assert wait_gone([left.pid], 1)
    await postgres.start()


async def test_a_first_start_that_was_killed_is_begun_anew(settings: RuntimeSettings) -> None:
    server = EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder)
    settings.postgres_folder.mkdir(mode=0o700)
    (settings.postgres_folder / "data.partial").mkdir()
    (settings.postgres_folder / "data.partial" / "half").touch()
    server.prepare()
    assert (server.data / "PG_VERSION").exists()
    assert not (settings.postgres_folder / "data.partial").exists()


async def test_a_folder_of_somebody_else_is_refused(settings: RuntimeSettings) -> None:
    server = EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder)
    settings.postgres_folder.mkdir()
    target = settings.resolved_home / "elsewhere"
    target.mkdir()
    settings.postgres_socket_folder.symlink_to(target)
    with pytest.raises(PermissionError, match="GYRE_HOME"):
        server.prepare()


async def test_a_database_that_is_not_there_is_named_with_the_remedy(home: Path) -> None:
    settings = RuntimeSettings(home=home, database_url="postgresql://root:secret@127.0.0.1:1/gyre")
    settings.prepare_home()
    with pytest.raises(RuntimeError, match=r"127\.0\.0\.1:1 cannot be used.*GYRE_DATABASE_URL") as caught:
        await database.prepare_external(settings)
    assert "secret" not in str(caught.value)


async def test_an_administrators_url_makes_roles_in_its_database(postgres: Running, home: Path) -> None:
    admin = f"postgresql://postgres@/gyre?host={postgres.server.socket_folder}"
    settings = RuntimeSettings(home=home, database_url=admin)
    settings.prepare_home()
    await database.prepare_external(settings)
    template = settings.database_url_file.read_text()
    password = (settings.keys_folder / "evaluation.password").read_text()
    connection = await asyncpg.connect(template.format(component="evaluation", password=password))
    assert await connection.fetchval("SELECT current_schema()") == "evaluation"
    await connection.close()
    assert os.stat(settings.database_url_file).st_mode & 0o077 == 0
