"""The `local` launcher: one process group an attempt, in a work folder that is kept.

`$GYRE_HOME/work/<workload>/<attempt>/` holds spec.json, credential (0600), stdout.log, stderr.log, and what the shim
leaves: pid and exit.json. Nothing here is remembered in memory: a service that starts anew finds its work by the
folder, the pid and the start time. All methods block; call them in a thread.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from gyre_kit.auth import write_private

from services.gpu_scheduler.launchers import cgroups, environment, processes, shim
from services.gpu_scheduler.launchers.base import (
    CREDENTIAL,
    STDERR,
    STDOUT,
    Ended,
    Endpoint,
    Handle,
    LaunchFailed,
    Order,
    Ref,
)
from services.gpu_scheduler.launchers.processes import ProcessRef
from services.gpu_scheduler.launchers.remains import ended_by, renew_credential, word_of

log = logging.getLogger(__name__)
CLAIM_SECONDS = 30.0  # for an interpreter to start on a machine that is very busy
PROBE_SECONDS = 2.0
RENEW_SECONDS = 30.0  # a token has at least 60 s left when its successor is signed
NOBODY = ProcessRef(0, 0.0)


class Local:
    """`bind`: where replicas listen; `address`: the host by which others reach them. `limits`: none, memory or all."""

    look_again = 0.5

    def __init__(
        self, bind: str = "127.0.0.1", address: str = "", *, limits: str = "none", own: Mapping[str, str] = os.environ
    ) -> None:
        self._bind = bind
        self._address = address or bind
        self._own = own
        self._limits = limits
        self._groups = _delegation(limits)
        self._children: set[subprocess.Popen[bytes]] = set()

    def start(self, order: Order) -> Handle:
        """Starts the attempt, or finds the process that an earlier call started. Raises: LaunchFailed."""
        ref = order.ref
        if len(ref.members) != 1:
            raise LaunchFailed(f"this machine alone cannot run a gang of {len(ref.members)} members")
        if _claimant(ref.folder) is None:
            try:
                self._prepare(order)
                self._spawn(order)
            except OSError as error:
                raise LaunchFailed(f"{type(error).__name__}: {error}") from error
        shim.claim(ref.folder, NOBODY.pid, NOBODY.started)  # a shim that comes up too late must not begin
        leader = _claimant(ref.folder)
        if leader is None or leader == NOBODY:
            raise LaunchFailed("the process ended before it took up its work")
        return {"pid": leader.pid, "started": leader.started}

    def look(self, ref: Ref) -> Ended | None:
        """None while it runs. Ended only when nobody that it started is left: they are killed."""
        self._reap()
        leader = self.leader(ref)
        alive = leader.alive()  # before the record is read: the shim first leaves word and then goes
        ended = ended_by(word_of(ref.folder))
        if alive and ended is None:
            return None
        if not processes.kill(processes.members(leader, str(ref.folder))):
            return None
        with suppress(FileNotFoundError):
            (ref.folder / CREDENTIAL).unlink()
        if self._groups:
            cgroups.remove(self._groups, ref.name)
        return ended or Ended()

    def stop(self, ref: Ref, *, ask: bool, kill: bool) -> Ended | None:
        """One step of a stop: None while something still runs. An attempt that was not launched never will be."""
        ref.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shim.claim(ref.folder, NOBODY.pid, NOBODY.started):
            return Ended()
        leader = self.leader(ref)
        if leader == NOBODY:
            return Ended()
        if kill:
            self.kill(ref)
        ended = self.look(ref)
        if ended is None and ask:
            processes.ask_to_stop(leader)
        return ended

    def kill(self, ref: Ref) -> None:
        """Ends at once what does not get ready; `look` then sees how it ended."""
        processes.kill(processes.members(self.leader(ref), str(ref.folder)))

    def sample(self, ref: Ref) -> tuple[float, int]:
        """Seconds of CPU so far, and resident bytes now."""
        return processes.use_of(processes.members(self.leader(ref)))

    def renew(self, ref: Ref, sign: Callable[[], str]) -> None:
        path = ref.folder / CREDENTIAL
        if not path.exists() or time.time() - path.stat().st_mtime >= RENEW_SECONDS:
            renew_credential(ref.folder, sign())

    def reserve(self, ref: Ref) -> int:
        return free_port(self._bind)

    def endpoint(self, ref: Ref, port: int) -> Endpoint:
        return Endpoint(self._bind, self._bind, f"{self._address}:{port}")

    def leader(self, ref: Ref) -> ProcessRef:
        """By what `start` answered; where that was lost, by the claim in the folder."""
        if "pid" in ref.handle:
            return ProcessRef(int(ref.handle["pid"]), float(ref.handle["started"]))
        return _claimant(ref.folder) or NOBODY

    def _prepare(self, order: Order) -> None:
        folder = order.ref.folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        spec = {**order.spec, "credential_file": str(folder / CREDENTIAL)}
        write_private(folder / CREDENTIAL, order.token.encode())
        write_private(folder / shim.SPEC, json.dumps(spec, ensure_ascii=False, indent=1).encode())

    def _spawn(self, order: Order) -> None:
        """Returns when the shim has the claim, or is gone: either closes its end of the pipe."""
        folder = order.ref.folder
        ready, shims_end = os.pipe()
        try:
            with (folder / STDOUT).open("ab") as out, (folder / STDERR).open("ab") as err:
                child = subprocess.Popen(
                    [sys.executable, "-P", shim.__file__, str(shims_end), order.module],
                    cwd=folder,
                    env=self._environment(order),
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

    def _environment(self, order: Order) -> dict[str, str]:
        ref, (member,) = order.ref, order.ref.members
        found = environment.of_machine(self._own) | dict(order.environment)
        found |= environment.visible(member) | {shim.MARK: str(ref.folder)}
        if self._groups:
            group = cgroups.make(self._groups, ref.name, member, limit_cpu=self._limits == "all")
            found[shim.CGROUP] = str(group)
        return found

    def _reap(self) -> None:
        self._children.difference_update([child for child in list(self._children) if child.poll() is not None])


def _delegation(limits: str) -> Path | None:
    """Where the kernel lets us limit work; said once in the log where it does not."""
    if limits == "none":
        return None
    found = cgroups.take()
    if found.folder is None:
        log.info("the memory of work is not limited by the kernel", extra={"why": found.why})
    return found.folder


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


def _claimant(folder: Path) -> ProcessRef | None:
    """Who has the attempt; None if nobody. What cannot be read (a disk lost power) is nobody's, for good."""
    try:
        record = json.loads((folder / shim.CLAIM).read_text())
        return ProcessRef(int(record["pid"]), float(record["started"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        return NOBODY
