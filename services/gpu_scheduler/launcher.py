"""The `local` launcher: one process group an attempt, in a work folder that is kept.

`$GYRE_HOME/work/<workload>/<attempt>/` holds spec.json, credential (0600), stdout.log, stderr.log, and what the shim
leaves: pid and exit.json. Nothing here is remembered in memory: a service that starts anew finds its work by the
folder, the pid and the start time. All methods block; call them in a thread.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from gyre_kit.auth import write_private

from services.gpu_scheduler import processes, shim
from services.gpu_scheduler.processes import ProcessRef

CREDENTIAL = "credential"
STDOUT, STDERR = "stdout.log", "stderr.log"
RESULT = "result.json"
CLAIM_SECONDS = 30.0  # for an interpreter to start on a machine that is very busy
PROBE_SECONDS = 2.0
MAX_RESULT_BYTES = 4 * 1024 * 1024
NOBODY = ProcessRef(0, 0.0)


class LaunchFailed(Exception):
    """No process came of it: the attempt is over before it began."""


@dataclass(frozen=True)
class Order:
    """Everything that starting one attempt takes."""

    folder: Path
    module: str
    spec: Mapping[str, Any]
    token: str
    environment: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Ended:
    """How an attempt ended, and what it left.

    No `code`: its processes vanished without a word, or there never were any. `asked_to_stop`: by a signal to its
    group. `error`: why it could not be launched.
    `last_words` are for people alone. `result` is what a job left in result.json, `bad_result` why nobody can read it.
    """

    code: int | None = None
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    asked_to_stop: bool = False
    error: str = ""
    last_words: str = ""
    result: str = ""
    bad_result: str = ""


class Launcher:
    def __init__(self) -> None:
        self._children: set[subprocess.Popen[bytes]] = set()

    def start(self, order: Order) -> ProcessRef:
        """Starts the attempt, or finds the process that an earlier call started. Raises: LaunchFailed."""
        if _claimant(order.folder) is None:
            try:
                self._prepare(order)
                self._spawn(order)
            except OSError as error:
                raise LaunchFailed(f"{type(error).__name__}: {error}") from error
        shim.claim(order.folder, NOBODY.pid, NOBODY.started)  # a shim that comes up too late must not begin
        leader = _claimant(order.folder)
        if leader is None or leader == NOBODY:
            raise LaunchFailed("the process ended before it took up its work")
        return leader

    def look(self, folder: Path, leader: ProcessRef) -> Ended | None:
        """None while it runs. Ended only when nobody that it started is left: they are killed."""
        self._reap()
        alive = leader.alive()  # before the record is read: the shim first leaves word and then goes
        ended = _exit_record(folder)
        if alive and ended is None:
            return None
        if not processes.kill(processes.members(leader, str(folder))):
            return None
        with suppress(FileNotFoundError):
            (folder / CREDENTIAL).unlink()
        return ended or Ended()

    def stop(self, folder: Path, *, ask: bool, kill: bool) -> Ended | None:
        """One step of a stop: None while something still runs. An attempt that was not launched never will be."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shim.claim(folder, NOBODY.pid, NOBODY.started):
            return Ended()
        leader = _claimant(folder) or NOBODY
        if leader == NOBODY:
            return Ended()
        if kill:
            processes.kill(processes.members(leader, str(folder)))
        ended = self.look(folder, leader)
        if ended is None and ask:
            processes.ask_to_stop(leader)
        return ended

    def kill(self, folder: Path, leader: ProcessRef) -> None:
        """Ends at once what does not get ready; `look` then sees how it ended."""
        processes.kill(processes.members(leader, str(folder)))

    def sample(self, leader: ProcessRef) -> tuple[float, int]:
        """Seconds of CPU so far, and resident bytes now."""
        return processes.use_of(processes.members(leader))

    def _prepare(self, order: Order) -> None:
        order.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(order.folder / CREDENTIAL, order.token.encode())
        write_private(order.folder / shim.SPEC, json.dumps(order.spec, ensure_ascii=False, indent=1).encode())

    def _spawn(self, order: Order) -> None:
        """Returns when the shim has the claim, or is gone: either closes its end of the pipe."""
        ready, shims_end = os.pipe()
        try:
            with (order.folder / STDOUT).open("ab") as out, (order.folder / STDERR).open("ab") as err:
                child = subprocess.Popen(
                    [sys.executable, "-P", shim.__file__, str(shims_end), order.module],
                    cwd=order.folder,
                    env=order.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    pass_fds=(shims_end,),
                )
            self._children.add(child)
        finally:
            os.close(shims_end)
        try:
            select.select([ready], [], [], CLAIM_SECONDS)
        finally:
            os.close(ready)

    def _reap(self) -> None:
        self._children.difference_update([child for child in list(self._children) if child.poll() is not None])


def free_port(host: str) -> int:
    """A port that nobody listens on now. Whoever loses a race for it dies and gets another with its next attempt."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int) -> bool:
    """True when an engine there says that it serves: by /health, or by /v1/models where it has no such path."""
    for path in ("/health", "/v1/models"):
        connection = HTTPConnection(host, port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        if status != 404:
            return status == 200
    return False


def renew_credential(folder: Path, token: str) -> None:
    """Replaces the token in one rename; the worker reads it anew for each call."""
    path = folder / CREDENTIAL
    if not path.exists() or path.read_text() != token:
        write_private(path, token.encode())


def with_remains(folder: Path, ended: Ended, *, is_job: bool) -> Ended:
    """`ended` with what lies in its folder: the result of a job that went well, the last words of what did not."""
    if ended.code != 0:
        return replace(ended, last_words=last_words(folder))
    if not is_job:
        return ended
    try:
        return replace(ended, result=read_result(folder))
    except (ValueError, OSError) as error:
        return replace(ended, bad_result=str(error)[:500])


def read_result(folder: Path) -> str:
    """What a job left in result.json, as it is; empty if it left nothing. Raises: ValueError if it is no JSON object."""
    path = folder / RESULT
    if not path.exists():
        return ""
    if path.stat().st_size > MAX_RESULT_BYTES:
        raise ValueError(f"{RESULT} has over {MAX_RESULT_BYTES} bytes")
    text = path.read_text("utf-8")
    if not text.lstrip().startswith("{"):
        raise ValueError(f"{RESULT} holds no JSON object")
    json.loads(text)
    return text


def last_words(folder: Path, most: int = 500) -> str:
    """The last line on stderr: what a person wants to read first about a failure."""
    try:
        with (folder / STDERR).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            lines = file.read().decode(errors="replace").replace("\0", "").splitlines()
    except FileNotFoundError:
        return ""
    return next((line.strip()[:most] for line in reversed(lines) if line.strip()), "")


def delete_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _claimant(folder: Path) -> ProcessRef | None:
    """Who has the attempt; None if nobody. What cannot be read (a disk lost power) is nobody's, for good."""
    try:
        record = json.loads((folder / shim.CLAIM).read_text())
        return ProcessRef(int(record["pid"]), float(record["started"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return NOBODY


def _exit_record(folder: Path) -> Ended | None:
    try:
        record = json.loads((folder / shim.EXIT).read_text())
        return Ended(
            int(record["code"]),
            float(record["cpu_seconds"]),
            int(record["peak_memory_bytes"]),
            asked_to_stop=bool(record.get("asked_to_stop")),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
