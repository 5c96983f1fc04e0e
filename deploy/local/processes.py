"""Processes named so that a recycled pid is never mistaken for them, and ways to end them without orphans."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MARK = "GYRE_RUNTIME_HOME"  # in the environment of every process that the runtime starts, inherited by theirs
SAME_START_SECONDS = 2.0  # the kernel counts start times from boot; the wall clock under them may be corrected
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class ProcessRef:
    """A process: its pid, and when it started (Unix seconds)."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> ProcessRef | None:
        """None if there is no such process any more."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    def alive(self) -> bool:
        """True while this very process runs; a zombie counts as gone."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < SAME_START_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.Error:
            return False


def session_members(leader: int) -> list[int]:
    """Pids in the session that `leader` began: its children and theirs, also after it died."""
    members = []
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) == leader and not _is_zombie(pid):
                members.append(pid)
    return members


def kill_session(leader: int) -> list[int]:
    """SIGKILLs what is left of a session; returns the pids that it found."""
    members = session_members(leader)
    send(members, signal.SIGKILL)
    return members


def stop_all(refs: Iterable[ProcessRef], grace: float, number: int = signal.SIGTERM) -> int:
    """Asks process groups to stop, kills their sessions after `grace` seconds; returns how many leaders were alive."""
    leaders = [ref.pid for ref in refs if ref.alive()]
    for leader in leaders:
        with suppress(ProcessLookupError):
            os.killpg(leader, number) if os.getpgid(leader) == leader else os.kill(leader, number)
    wait_gone(leaders, grace)
    for leader in leaders:
        send({leader, *session_members(leader)}, signal.SIGKILL)
    wait_gone(leaders, grace=5.0)
    return len(leaders)


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_gone(pids: Iterable[int], grace: float) -> bool:
    """Waits until none of `pids` runs; False if one still does after `grace` seconds."""
    waiting, deadline = list(pids), time.monotonic() + grace
    while waiting := [pid for pid in waiting if psutil.pid_exists(pid) and not _is_zombie(pid)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def marked(home: Path) -> list[ProcessRef]:
    """Every process, at any depth, that the runtime of `home` started: found by the mark in its environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == str(home):
                found.append(ProcessRef(process.pid, process.create_time()))
    return found


def tree(pid: int) -> list[int]:
    """`pid` and its descendants; empty if it is gone."""
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return []


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of `pids`, shared pages divided among those that share them (Linux); resident size elsewhere."""
    total = 0
    for pid in pids:
        with suppress(OSError, psutil.Error):
            total += _pss(pid)
    return total


def _pss(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return int(psutil.Process(pid).memory_info().rss)
    match = re.search(r"^Pss:\s+(\d+) kB", rollup.read_text(), re.MULTILINE)
    return int(match.group(1)) * 1024 if match else 0


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True
