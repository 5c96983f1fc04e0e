"""Processes named so that a recycled pid is never mistaken for them, with all that they started."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from services.gpu_scheduler.launchers.shim import MARK

SAME_START_SECONDS = 2.0  # the kernel counts start times from boot; the wall clock under them may be corrected
GONE_WITHIN_SECONDS = 2.0


@dataclass(frozen=True)
class ProcessRef:
    """The leader of a session: its pid, and when it started (Unix seconds)."""

    pid: int
    started: float

    def alive(self) -> bool:
        """True while this very process runs; a zombie counts as gone."""
        try:
            return self._is_same() and psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def _is_same(self) -> bool:
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < SAME_START_SECONDS)
        except (psutil.Error, ValueError):
            return False

    def is_recycled(self) -> bool:
        """Another process has the pid now. The kernel gives it out again only when the session has no member left."""
        return psutil.pid_exists(self.pid) and not self._is_same()


def members(leader: ProcessRef, folder: str = "") -> list[psutil.Process]:
    """Who runs in the session of `leader`, and who carries the mark of its work folder though it left the session."""
    found = []
    session_is_ours = leader.pid > 0 and not leader.is_recycled()
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            in_session = session_is_ours and os.getsid(pid) == leader.pid
            is_marked = bool(folder) and not in_session and process.environ().get(MARK) == folder
            if (in_session or is_marked) and _runs(process):
                found.append(process)
    return found


def ask_to_stop(leader: ProcessRef) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)


def kill(processes: Sequence[psutil.Process]) -> bool:
    """SIGKILL to each; True if all were gone soon after."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while any(_runs(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _runs(process: psutil.Process) -> bool:
    """False for a zombie: where nobody reaps (a container's first process may not), it stays for ever."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def use_of(processes: Sequence[psutil.Process]) -> tuple[float, int]:
    """Seconds of CPU and resident bytes of `processes`, and the seconds of their children that ended."""
    seconds, resident = 0.0, 0
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system + getattr(times, "children_user", 0.0)
            seconds += getattr(times, "children_system", 0.0)
            resident += process.memory_info().rss
    return seconds, resident
