"""What the chaos tests share: who runs, a kill with its witness, and what PostgreSQL says afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import psutil
from gyre_kit import addresses
from gyre_sdk.errors import GyreError

from deploy.local import processes, status, workloads
from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import ProcessRef
from deploy.local.settings import RuntimeSettings
from deploy.local.state import ChildState, Phase, RuntimeState
from tests.conftest import Running

CONSUMERS = ("training_scheduler", "evaluation", "model_registry", "inference_gateway", "feedback")
OUT = Path(__file__).with_name("out")
POLL_SECONDS = 0.1
BACK_WITHIN = 120.0  # seconds; a busy machine with two cores starts Python slowly
T = TypeVar("T")


def until(check: Callable[[], T | None], what: str, seconds: float) -> T:
    """The first answer of `check` that is true; polled, for it is other processes that get there."""
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(POLL_SECONDS)
    return answer


def settings_of(running: Running) -> RuntimeSettings:
    return RuntimeSettings(home=running.home, port_offset=running.port_offset, database_url="", kafka_bootstrap="")


def report_of(running: Running) -> status.PlatformStatus:
    """What `gyre status` shows, asked for without a process of its own."""
    return status.platform(settings_of(running))


def pids(running: Running) -> dict[str, int]:
    """By name: the eight services, `postgres`, `broker` and `supervisor`; 0 for what is down."""
    report = report_of(running)
    return {part.name: part.pid for part in (*report.services, report.postgres, report.broker, report.supervisor)}


def is_ready(running: Running) -> bool:
    state = RuntimeState.read(settings_of(running).state_file)
    return state is not None and state.supervisor.alive() and state.phase is Phase.READY


def orphans(running: Running) -> list[str]:
    """Processes of this home that belong neither to its supervisor nor to work that runs."""
    settings = settings_of(running)
    state = RuntimeState.read(settings.state_file)
    ours = set(processes.tree(state.supervisor.pid)) if state and state.supervisor.alive() else set()
    for leader in workloads.running(settings.work_folder):
        ours.update(processes.session_members(leader.pid))
    return [text for pid, text in processes_of(running.home) if pid not in ours]


def processes_of(home: Path) -> list[tuple[int, str]]:
    """Everything whose environment names this home: a worker's does too, at any depth."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_gone = process.status() == psutil.STATUS_ZOMBIE
            if not is_gone and process.environ().get("GYRE_HOME") == str(home):
                found.append((process.pid, f"{process.pid} {' '.join(process.cmdline())}"))
    return found


@dataclass(frozen=True)
class Trainer:
    """The process that trains in the newest attempt of a run: the child of the shim whose pid stands in `pid`."""

    pid: int
    attempt: int
    results: Path

    @classmethod
    def find(cls, running: Running, run: Any) -> Trainer | None:
        """None while no attempt of `run` has a process."""
        settings = settings_of(running)
        folder = settings.work_folder / run.workload.rsplit("/", 1)[-1]
        attempt = max((int(path.parent.name) for path in folder.glob("*/pid")), default=0)
        with suppress(FileNotFoundError, psutil.Error):
            record = json.loads((folder / str(attempt) / "pid").read_text())
            leader = ProcessRef(int(record["pid"]), float(record["started"]))
            for child in psutil.Process(leader.pid).children() if leader.alive() else ():
                return cls(
                    int(child.pid), attempt, settings.resolved_home / "objects" / "runs" / run.name.split("/")[-1]
                )
        return None

    def checkpoint(self) -> int:
        """The step of its newest checkpoint, which it writes whoever else is dead; 0 if there is none."""
        steps = (int(path.parent.name.rsplit("-", 1)[1]) for path in self.results.glob("*/checkpoint-*/manifest.json"))
        return max(steps, default=0)

    @contextmanager
    def kept_back(self) -> Iterator[Callable[[], None]]:
        """What it yields is called again and again, and stops the trainer at its next checkpoint until the block ends:
        so a machine on which steps are quick, and processes slow to start, has steps left for the next kill."""
        before, is_held = self.checkpoint(), False

        def look() -> None:
            nonlocal is_held
            if not is_held and self.checkpoint() > before:
                is_held = True
                processes.send([self.pid], signal.SIGSTOP)

        try:
            yield look
        finally:
            processes.send([self.pid], signal.SIGCONT)


@dataclass
class Witness:
    """Kills with SIGKILL, waits until what died is back, and writes down pid before, pid after and step."""

    running: Running
    file: Path
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        print(line, flush=True)
        self.lines.append(line)
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text("\n".join(self.lines) + "\n", "utf-8")

    def kill(self, name: str, run: Any) -> None:
        """A part of the platform, by its name in `gyre status`, after the step that `run` has logged."""
        trainer = until(lambda: Trainer.find(self.running, run), "the trainer", BACK_WITHIN)
        before, started = self._pid(name), time.monotonic()
        assert before, f"{name} does not run"
        os.kill(before, signal.SIGKILL)
        with trainer.kept_back() as keep_back:
            until(lambda: keep_back() or self._is_back(name, before), f"{name} is back", BACK_WITHIN)
        took = time.monotonic() - started
        self.say(f"step {run.step:4}: {name} killed, pid {before} → {self._pid(name)}, back after {took:.1f} s")

    def kill_trainer(self, run: Any) -> None:
        before = until(lambda: Trainer.find(self.running, run), "the trainer", BACK_WITHIN)
        started = time.monotonic()
        os.kill(before.pid, signal.SIGKILL)
        after = until(lambda: self._successor(run, before), "the next attempt", BACK_WITHIN)
        took = time.monotonic() - started
        self.say(
            f"step {run.step:4}: trainer killed, pid {before.pid} → {after.pid}, attempt {after.attempt} after {took:.1f} s"
        )

    def _successor(self, run: Any, before: Trainer) -> Trainer | None:
        trainer = Trainer.find(self.running, run)
        return trainer if trainer is not None and trainer.attempt > before.attempt else None

    def _child(self, name: str) -> ChildState | None:
        state = RuntimeState.read(settings_of(self.running).state_file)
        return state.children[name] if state else None

    def _pid(self, name: str) -> int:
        child = self._child(name)
        return child.process.pid if child and child.process else 0

    def _is_back(self, name: str, before: int) -> bool:
        child = self._child(name)
        return child is not None and child.phase is Phase.READY and self._pid(name) not in (0, before)


def available(ask: Callable[[], T]) -> T | None:
    """The answer, or None while the platform is away."""
    try:
        return ask()
    except GyreError as error:
        if not error.unavailable:
            raise
        return None


@dataclass(frozen=True)
class Ledger:
    """Outboxes and inboxes of all components, read as PostgreSQL's superuser."""

    sent: dict[str, list[dict[str, Any]]]
    inbox: dict[str, list[str]]

    @classmethod
    def read(cls, running: Running) -> Ledger:
        return asyncio.run(cls._read(settings_of(running)))

    @classmethod
    async def _read(cls, settings: RuntimeSettings) -> Ledger:
        connection = await EmbeddedPostgres(settings.postgres_folder, settings.postgres_socket_folder).connect()
        try:
            sent, inbox = {}, {}
            for name in addresses.COMPONENTS:
                query = f"SELECT event_id, topic, type, subject, sent_at FROM {name}.outbox ORDER BY id"
                sent[name] = [dict(row) for row in await connection.fetch(query)]
                rows = await connection.fetch(f"SELECT event_id FROM {name}.inbox WHERE consumer = $1", name)
                inbox[name] = [row["event_id"] for row in rows]
            return cls(sent, inbox)
        finally:
            await connection.close()

    def events(self, type_name: str, subject: str = "") -> list[dict[str, Any]]:
        """All events of that type (`gyre.….RunSucceeded`), of one subject if it is given."""
        rows = (row for rows in self.sent.values() for row in rows)
        return [row for row in rows if row["type"] == type_name and subject in ("", row["subject"])]

    def unsent(self) -> list[dict[str, Any]]:
        return [row for rows in self.sent.values() for row in rows if row["sent_at"] is None]

    def dead(self) -> list[dict[str, Any]]:
        return [row for rows in self.sent.values() for row in rows if row["topic"].endswith(".dead")]

    def not_applied_once(self) -> list[str]:
        """Events that a consumer should have applied, and has not exactly once."""
        wrong = []
        for consumer in CONSUMERS:
            for type_name in _handled_by(consumer):
                for event in self.events(type_name):
                    times = self.inbox[consumer].count(event["event_id"])
                    if times != 1:
                        wrong.append(f"{consumer} applied {type_name} {event['event_id']} {times} times")
        return wrong


def _handled_by(component: str) -> Iterable[str]:
    handlers = import_module(f"services.{component}.events").HANDLERS
    return [cls.DESCRIPTOR.full_name for cls in handlers]
