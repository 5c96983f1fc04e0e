"""The supervisor of one home: starts the stages, keeps them alive, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

from deploy.local import logs, processes, workloads
from deploy.local.backoff import Backoff
from deploy.local.child import Child, Say
from deploy.local.children import ChildSpec, environment
from deploy.local.processes import ProcessRef
from deploy.local.settings import RuntimeSettings
from deploy.local.state import ChildState, Phase, RuntimeState

ROTATE_EVERY_SECONDS = 30.0
POSTGRES_GRACE_SECONDS = 30.0
INFRASTRUCTURE_STAGES = 1  # the first stage: database and broker, which the others need to stop cleanly


class AlreadyRunning(Exception):
    """Another supervisor holds this home."""


class Supervisor:
    """Owns the processes of `settings.home` for as long as it holds the home's lock (the kernel frees it at any end)."""

    def __init__(self, settings: RuntimeSettings, say: Say, backoff: Backoff | None = None) -> None:
        self._settings, self._say, self._backoff = settings, say, backoff
        self._running: list[dict[Child, asyncio.Task[None]]] = []
        self._stopped = asyncio.Event()
        self._bug: BaseException | None = None
        self._lock = _lock(settings.lock_file)
        me = ProcessRef.of(os.getpid())
        assert me is not None
        self.state = RuntimeState(
            me, version("gyre"), str(settings.resolved_home), processes=settings.processes, started_at=time.time()
        )
        self._write()

    async def run(self, stages: Sequence[Sequence[ChildSpec]], stopped: asyncio.Event) -> None:
        """Starts `stages` one after the other, then keeps all alive until `stopped`; stops them in reverse."""
        self._stopped = stopped
        starting = asyncio.create_task(self._start(stages))  # 1 start
        rotating = asyncio.create_task(self._rotate_logs())
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if starting.done():
                starting.result()
            await stopping  # 2 the children look after themselves
        finally:
            for task in (starting, rotating, stopping):
                task.cancel()
            await self._stop()  # 3 stop, in reverse
        if self._bug is not None:
            raise self._bug

    async def clear_left_over(self) -> None:
        """Ends the children of a supervisor that was killed. Their workloads run on, for gpu_scheduler to adopt."""
        left = await asyncio.to_thread(services_left, self._settings)
        if left:
            self._say(f"{len(left)} processes that an earlier supervisor left are ended")
            await asyncio.to_thread(processes.stop_all, left, self._settings.stop_grace_seconds)

    def fail(self, error: str) -> None:
        """Leaves a reason for `gyre up` to show."""
        self.state.error, self.state.phase = error, Phase.STOPPED
        self._write()

    def release(self) -> None:
        """Gives the home to whoever wants it next."""
        os.close(self._lock)

    async def _start(self, stages: Sequence[Sequence[ChildSpec]]) -> None:
        self.state.children = {spec.name: ChildState(spec.name) for stage in stages for spec in stage}
        for specs in stages:
            children = {child: self._watch(child) for child in map(self._child, specs)}
            self._running.append(children)
            await asyncio.gather(*(child.ready.wait() for child in children))
        took = time.time() - self.state.started_at
        self._say(f"all {len(self.state.children)} are ready after {took:.1f} s")

    def _child(self, spec: ChildSpec) -> Child:
        log_file = self._settings.log_file(spec.name)
        return Child(spec, log_file, environment(self._settings), self._changed, self._say, self._fresh_backoff())

    def _watch(self, child: Child) -> asyncio.Task[None]:
        task = asyncio.create_task(child.run(), name=child.spec.name)
        task.add_done_callback(self._notice)
        return task

    def _notice(self, task: asyncio.Task[None]) -> None:
        """A watcher never ends by itself: if one does, that is our bug, and all is stopped rather than left unwatched."""
        if not task.cancelled() and task.exception() is not None:
            self._bug = task.exception()
            self._stopped.set()

    def _fresh_backoff(self) -> Backoff:
        return Backoff(self._backoff.first, self._backoff.limit, self._backoff.healthy) if self._backoff else Backoff()

    def _changed(self, child: ChildState) -> None:
        self.state.children[child.name] = child
        if self.state.phase is not Phase.STOPPING:
            all_ready = all(child.phase is Phase.READY for child in self.state.children.values())
            if all_ready and not self.state.ready_at:
                self.state.ready_at = time.time()
            self.state.phase = Phase.READY if all_ready else Phase.RESTARTING if self.state.ready_at else Phase.STARTING
        self._write()

    async def _rotate_logs(self) -> None:
        settings = self._settings
        while True:
            for path in settings.logs_folder.glob("*.log"):
                await asyncio.to_thread(logs.rotate, path, settings.log_max_bytes, settings.log_keep)
            await asyncio.sleep(ROTATE_EVERY_SECONDS)

    async def _stop(self) -> None:
        """Services before their workloads (so that nobody starts these again), broker and database last."""
        self.state.phase = Phase.STOPPING
        self._write()
        grace = self._settings.stop_grace_seconds
        services, infrastructure = self._running[INFRASTRUCTURE_STAGES:], self._running[:INFRASTRUCTURE_STAGES]
        await _stop_stages(services, grace)
        await asyncio.to_thread(stop_work, self._settings)
        await _stop_stages(infrastructure, max(grace, POSTGRES_GRACE_SECONDS))
        await asyncio.to_thread(processes.stop_all, processes.marked(self._settings.resolved_home), grace)
        self.state.phase = Phase.STOPPED
        self._write()

    def _write(self) -> None:
        self.state.write(self._settings.state_file)


async def _stop_stages(stages: Sequence[dict[Child, asyncio.Task[None]]], grace: float) -> None:
    tasks = {task for stage in stages for task in stage.values()}
    for child in (child for stage in stages for child in stage):
        child.stop(grace)
    await asyncio.gather(*tasks, return_exceptions=True)  # what one of them raised is in `_bug`


def stop_work(settings: RuntimeSettings) -> int:
    """Ends all recorded workloads; returns how many ran."""
    return processes.stop_all(workloads.running(settings.work_folder), settings.stop_grace_seconds)


def services_left(settings: RuntimeSettings) -> list[ProcessRef]:
    """Marked processes of this home that are no workloads."""
    work = {member for ref in workloads.running(settings.work_folder) for member in processes.session_members(ref.pid)}
    marked = processes.marked(settings.resolved_home)
    return [ref for ref in marked if ref.pid not in work and not _works_in(ref.pid, settings.work_folder)]


def _works_in(pid: int, folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return any(str(folder) in word for word in (process.cwd(), *process.cmdline()))
    except psutil.Error:
        return False


def _lock(path: Path) -> int:
    """Raises: AlreadyRunning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AlreadyRunning(str(path)) from error
    return descriptor
