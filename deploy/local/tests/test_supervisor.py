"""The supervisor with small real processes."""

# ruff: noqa: ASYNC220 - starting a process takes a millisecond, and nothing else waits for this loop

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from deploy.local import children, processes, supervisor
from deploy.local.backoff import Backoff
from deploy.local.children import ChildSpec
from deploy.local.probes import until
from deploy.local.settings import RuntimeSettings
from deploy.local.state import Phase, RuntimeState
from deploy.local.supervisor import AlreadyRunning, Supervisor

PARENT_OF_A_SLEEPER = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '1000']);"
    "open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(1000)"
)
DEAF = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); open(sys.argv[1], 'w').close(); time.sleep(1000)"


def sleeper(name: str = "sleeper") -> ChildSpec:
    async def ready() -> bool:
        return True

    return ChildSpec(name, lambda: ["sleep", "1000"], ready)


def script(source: str, file: Path) -> ChildSpec:
    """A Python process that writes `file` when it is ready."""

    async def ready() -> bool:
        return file.exists() and (file.stat().st_size > 0 or source is DEAF)

    return ChildSpec("script", lambda: [sys.executable, "-c", source, str(file)], ready, lambda: file.unlink(True))


@asynccontextmanager
async def supervised(settings: RuntimeSettings, *specs: ChildSpec) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    said: list[str] = []
    boss = Supervisor(settings, said.append, Backoff(first=0.01, limit=0.05))
    stopped = asyncio.Event()
    running = asyncio.create_task(boss.run([[], list(specs)], stopped))
    try:
        await until(lambda: _is(boss, Phase.READY), 10)
        yield boss, said
    finally:
        stopped.set()
        await running
        boss.release()


async def _is(boss: Supervisor, phase: Phase) -> bool:
    return boss.state.phase is phase


def pid_of(boss: Supervisor, name: str) -> int:
    process = boss.state.children[name].process
    return process.pid if process else 0


def restarted(boss: Supervisor, name: str, before: int) -> Callable[[], asyncio.Future[bool]]:
    async def probe() -> bool:
        return boss.state.phase is Phase.READY and pid_of(boss, name) not in (0, before)

    return probe  # type: ignore[return-value]


async def test_a_killed_child_starts_again_and_the_supervisor_says_so(settings: RuntimeSettings) -> None:
    async with supervised(settings, sleeper()) as (boss, said):
        before = pid_of(boss, "sleeper")
        os.kill(before, signal.SIGKILL)
        await until(restarted(boss, "sleeper", before), 10)
        after = pid_of(boss, "sleeper")
    assert f"sleeper (pid {before}) was killed by SIGKILL" in said
    assert any(line.startswith(f"sleeper is back: pid {before} → {after}") for line in said)


async def test_only_the_child_that_died_is_started_again(settings: RuntimeSettings) -> None:
    async with supervised(settings, sleeper("one"), sleeper("two")) as (boss, _):
        one, two = pid_of(boss, "one"), pid_of(boss, "two")
        os.kill(one, signal.SIGKILL)
        await until(restarted(boss, "one", one), 10)
        assert pid_of(boss, "two") == two
        assert boss.state.children["one"].restarts == 1
        assert boss.state.children["two"].restarts == 0


async def test_grandchildren_do_not_outlive_their_parent(settings: RuntimeSettings, tmp_path: Path) -> None:
    async with supervised(settings, script(PARENT_OF_A_SLEEPER, tmp_path / "pid")) as (boss, _):
        grandchild, before = int((tmp_path / "pid").read_text()), pid_of(boss, "script")
        os.kill(before, signal.SIGKILL)
        await until(restarted(boss, "script", before), 10)
        assert processes.wait_gone([grandchild], grace=2)
        last = int((tmp_path / "pid").read_text())
    assert processes.wait_gone([last], grace=2)


async def test_a_child_that_does_not_hear_is_killed_after_the_grace(home: Path, tmp_path: Path) -> None:
    settings = RuntimeSettings(home=home, stop_grace_seconds=0.2)
    settings.prepare_home()
    async with supervised(settings, script(DEAF, tmp_path / "ready")) as (boss, said):
        pid = pid_of(boss, "script")
    assert f"script (pid {pid}) did not stop within 0.2 s: killed" in said
    assert processes.wait_gone([pid], grace=2)
    assert boss.state.phase is Phase.STOPPED


async def test_a_program_that_is_not_there_is_reported_with_its_reason(settings: RuntimeSettings) -> None:
    async def never() -> bool:
        return False

    boss = Supervisor(settings, lambda _: None, Backoff(first=0.01, limit=0.05))
    stopped = asyncio.Event()
    missing = ChildSpec("missing", lambda: ["/no/such/program"], never)
    running = asyncio.create_task(boss.run([[missing]], stopped))

    async def failed_thrice() -> bool:
        child = boss.state.children.get("missing")
        return child is not None and child.failed_starts >= 3

    await until(failed_thrice, 10)
    assert "/no/such/program" in boss.state.children["missing"].last_exit
    stopped.set()
    await running


async def test_a_bug_in_a_watcher_stops_everything_and_is_raised(settings: RuntimeSettings) -> None:
    async def buggy() -> bool:
        return True

    def prepare() -> None:
        raise ZeroDivisionError

    boss = Supervisor(settings, lambda _: None)
    specs = [sleeper(), ChildSpec("buggy", lambda: ["sleep", "1000"], buggy, prepare)]
    with pytest.raises(ZeroDivisionError):
        await boss.run([[], specs], asyncio.Event())
    assert processes.marked(settings.resolved_home) == []


async def test_what_a_child_prints_is_in_its_log(settings: RuntimeSettings, tmp_path: Path) -> None:
    source = "import sys, time; print('hello from', 'the child'); open(sys.argv[1], 'w').write('x'); time.sleep(99)"
    async with supervised(settings, script(source, tmp_path / "ready")):
        assert "hello from the child" in settings.log_file("script").read_text()


def test_a_second_supervisor_of_a_home_is_refused(settings: RuntimeSettings) -> None:
    first = Supervisor(settings, lambda _: None)
    with pytest.raises(AlreadyRunning):
        Supervisor(settings, lambda _: None)
    first.release()
    Supervisor(settings, lambda _: None).release()


async def test_children_of_a_killed_supervisor_are_ended_but_workloads_run_on(settings: RuntimeSettings) -> None:
    environment = children.environment(settings)
    left = subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True)
    attempt = settings.work_folder / "01J" / "1"
    attempt.mkdir(parents=True)
    unrecorded = subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True, cwd=attempt)
    recorded = subprocess.Popen(["sleep", "1000"], env=environment, start_new_session=True)
    (attempt / "pid").write_text(f"{recorded.pid} {psutil.Process(recorded.pid).create_time()}")

    boss = Supervisor(settings, lambda _: None)
    await boss.clear_left_over()
    assert left.wait(5) == -signal.SIGTERM
    assert unrecorded.poll() is None
    assert recorded.poll() is None

    assert supervisor.stop_work(settings) == 1
    assert recorded.wait(5) == -signal.SIGTERM
    await boss.run([], _already_set())
    assert unrecorded.wait(5) == -signal.SIGTERM
    boss.release()


async def test_the_state_file_outlives_the_supervisor(settings: RuntimeSettings) -> None:
    async with supervised(settings, sleeper()) as (boss, _):
        state = RuntimeState.read(settings.state_file)
        assert state is not None and state.phase is Phase.READY
        assert state.children["sleeper"].process == boss.state.children["sleeper"].process
    state = RuntimeState.read(settings.state_file)
    assert state is not None and state.phase is Phase.STOPPED


def _already_set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
