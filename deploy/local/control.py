"""Starting and stopping the runtime from another process: what `gyre up` and `gyre down` call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.local import logs, processes, workloads
from deploy.local.settings import RuntimeSettings
from deploy.local.state import Phase, RuntimeState
from deploy.local.supervisor import services_left, stop_work

POLL_SECONDS = 0.1
HOPELESS_AFTER = 3  # starts that failed in a row; the supervisor goes on trying, `gyre up` stops waiting
LOG_LINES = 12


class StartFailed(Exception):
    """The runtime did not get ready. The message says which part, what its log says, and what to do."""


@dataclass(frozen=True)
class Stopped:
    """What `down` found running."""

    supervisor: bool
    workloads: int
    left_over: int

    @property
    def anything(self) -> bool:
        return self.supervisor or bool(self.workloads or self.left_over)


def running(settings: RuntimeSettings) -> RuntimeState | None:
    """The state of the supervisor of this home, if one is alive."""
    state = RuntimeState.read(settings.state_file)
    return state if state is not None and state.supervisor.alive() else None


def up(settings: RuntimeSettings, watch: Callable[[RuntimeState], None]) -> RuntimeState:
    """Starts the runtime unless it runs, and returns when all of it is ready. `watch` sees the state meanwhile.

    Raises: StartFailed.
    """
    settings.prepare_home()
    supervisor = None if running(settings) else _spawn(settings)
    deadline = time.monotonic() + settings.start_timeout_seconds
    state: RuntimeState | None = None
    while time.monotonic() < deadline:
        if supervisor is not None and supervisor.poll() is not None and running(settings) is None:
            raise StartFailed(_why_it_ended(settings))
        if state := running(settings):
            watch(state)
            if state.phase is Phase.READY:
                return state
            _give_up_if_hopeless(settings, state)
        time.sleep(POLL_SECONDS)
    raise StartFailed(_who_is_late(settings, state))


def down(settings: RuntimeSettings) -> Stopped:
    """Stops supervisor, services, workloads, broker and database, whatever state they are in. Idempotent."""
    work = len(workloads.running(settings.work_folder))
    state = running(settings)
    if state is not None:
        processes.send([state.supervisor.pid], signal.SIGTERM)
        patience = 2 * settings.stop_grace_seconds + 60  # services, then workloads, then the database's checkpoint
        if not processes.wait_gone([state.supervisor.pid], patience):
            processes.kill_session(state.supervisor.pid)
    left = services_left(settings)
    processes.stop_all(left, settings.stop_grace_seconds)
    stop_work(settings)
    rest = processes.marked(settings.resolved_home)
    processes.stop_all(rest, settings.stop_grace_seconds)
    return Stopped(state is not None, work, len(left) + len(rest))


def _spawn(settings: RuntimeSettings) -> subprocess.Popen[bytes]:
    """The supervisor in a session of its own, so that closing the terminal does not reach it."""
    log_file = settings.log_file("supervisor")
    logs.rotate(log_file, settings.log_max_bytes, settings.log_keep)
    with logs.open_for_child(log_file) as log:
        return subprocess.Popen(
            [sys.executable, "-m", "deploy.local.main"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | settings.as_environment(),
            cwd=settings.resolved_home,
            start_new_session=True,
        )


def _give_up_if_hopeless(settings: RuntimeSettings, state: RuntimeState) -> None:
    for child in state.children.values():
        if child.failed_starts >= HOPELESS_AFTER:
            raise StartFailed(
                f"{child.name} failed to start {child.failed_starts} times; it {child.last_exit}. The end of its log "
                f"({settings.log_file(child.name)}):\n{_end_of_log(settings, child.name)}\n"
                "It is tried again in the background; `gyre down` stops everything."
            )


def _why_it_ended(settings: RuntimeSettings) -> str:
    state = RuntimeState.read(settings.state_file)
    if state is not None and state.error:
        return state.error
    return f"The supervisor ended at once. The end of its log:\n{_end_of_log(settings, 'supervisor')}"


def _who_is_late(settings: RuntimeSettings, state: RuntimeState | None) -> str:
    seconds = f"{settings.start_timeout_seconds:g} s"
    late = [child.name for child in state.children.values() if child.phase is not Phase.READY] if state else []
    if not late:
        return f"The supervisor did not report within {seconds}; see {settings.log_file('supervisor')}."
    return (
        f"Not ready after {seconds}: {', '.join(late)}. `gyre logs {late[0]}` says why; it is still tried in the "
        f"background. The end of its log:\n{_end_of_log(settings, late[0])}"
    )


def _end_of_log(settings: RuntimeSettings, name: str) -> str:
    return "\n".join(f"  {line}" for line in logs.tail(settings.log_file(name), LOG_LINES)) or "  (empty)"


def run_in_foreground(settings: RuntimeSettings) -> None:
    """Becomes the supervisor; returns after Ctrl-C or SIGTERM."""
    os.environ.update(settings.as_environment())
    from deploy.local.main import main

    main()
