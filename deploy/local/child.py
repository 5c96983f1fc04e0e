"""One supervised process: started in a session of its own, watched, buried with all it left, started again."""

from __future__ import annotations

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local import logs, processes
from deploy.local.backoff import Backoff
from deploy.local.children import ChildSpec
from deploy.local.processes import ProcessRef
from deploy.local.state import ChildState, Phase

PROBE_EVERY_SECONDS = 0.1
Say = Callable[[str], None]


class Child:
    """Runs `spec` until `stop`. `report` gets every change of its state, `say` the sentences for people."""

    def __init__(
        self,
        spec: ChildSpec,
        log_file: Path,
        environment: Mapping[str, str],
        report: Callable[[ChildState], None],
        say: Say,
        backoff: Backoff | None = None,
    ) -> None:
        self.spec = spec
        self.state = ChildState(spec.name)
        self.ready = asyncio.Event()
        self._log_file, self._environment = log_file, environment
        self._report, self._say, self._backoff = report, say, backoff or Backoff()
        self._stopping = asyncio.Event()
        self._grace = 10.0

    async def run(self) -> None:
        """Keeps the process alive; returns after `stop`."""
        while not self._stopping.is_set():
            healthy_seconds = await self._live_once()
            if not self._stopping.is_set():
                await self._wait_before_next(self._backoff.after(healthy_seconds))
        self._change(phase=Phase.STOPPED, process=None)

    def stop(self, grace: float) -> None:
        """Lets `run` end the process: asked first, killed after `grace` seconds, nobody of its session left behind."""
        self._grace = grace
        self._stopping.set()

    async def _live_once(self) -> float:
        """One life, from start to burial; returns for how many seconds it was ready (0: never)."""
        try:
            process = await self._start()
        except (OSError, RuntimeError) as error:
            return self._stillborn(error)
        exited = asyncio.create_task(process.wait())
        getting_ready = asyncio.create_task(self._get_ready())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({exited, getting_ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        problem = getting_ready.exception() if getting_ready.done() else None
        if problem is not None:
            processes.kill_session(process.pid)
        elif getting_ready.done():
            self._celebrate(process.pid)
        await asyncio.wait({exited, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not exited.done():
            await self._end(process)
        getting_ready.cancel()
        stopping.cancel()
        return self._bury(process, problem)

    async def _end(self, process: Process) -> None:
        processes.send([process.pid], self.spec.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), self._grace)
        except TimeoutError:
            self._say(f"{self.spec.name} (pid {process.pid}) did not stop within {self._grace:g} s: killed")
            processes.kill_session(process.pid)
            await process.wait()

    def _stillborn(self, error: Exception) -> float:
        self._say(f"{self.spec.name} could not be started: {error}")
        failed = self.state.failed_starts + 1
        self._change(phase=Phase.RESTARTING, failed_starts=failed, last_exit=f"could not be started: {error}")
        return 0.0

    async def _start(self) -> Process:
        await asyncio.to_thread(self.spec.prepare)
        with logs.open_for_child(self._log_file) as log:
            process = await asyncio.create_subprocess_exec(
                *self.spec.command(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd="/",
                start_new_session=True,
                **self.spec.run_as,
            )
        self._change(phase=Phase.STARTING, process=ProcessRef.of(process.pid), ready_at=0.0)
        return process

    async def _get_ready(self) -> None:
        while not await self.spec.ready():  # noqa: ASYNC110 - it is another process that gets ready
            await asyncio.sleep(PROBE_EVERY_SECONDS)
        await self.spec.on_ready()

    def _celebrate(self, pid: int) -> None:
        before, started = self.state.previous_pid, self.state.process.started if self.state.process else time.time()
        took = time.time() - started
        self._say(
            f"{self.spec.name} is back: pid {before} → {pid}, ready after {took:.1f} s"
            if before
            else f"{self.spec.name} is ready: pid {pid}, after {took:.1f} s"
        )
        self._change(phase=Phase.READY, ready_at=time.time(), failed_starts=0)
        self.ready.set()

    def _bury(self, process: Process, problem: BaseException | None) -> float:
        orphans = processes.kill_session(process.pid)
        code = process.returncode or 0
        reason = f"did not get ready: {problem}" if problem else _exit_reason(code)
        healthy = time.time() - self.state.ready_at if self.state.ready_at else 0.0
        if not self._stopping.is_set():
            left = f", and {len(orphans)} processes of its were ended" if orphans else ""
            self._say(f"{self.spec.name} (pid {process.pid}) {reason}{left}")
        self.ready.clear()
        self._change(
            phase=Phase.RESTARTING,
            process=None,
            ready_at=0.0,
            last_exit=reason,
            previous_pid=process.pid,
            failed_starts=self.state.failed_starts if healthy else self.state.failed_starts + 1,
        )
        return healthy

    async def _wait_before_next(self, delay: float) -> None:
        self._change(restarts=self.state.restarts + 1)
        self._say(f"{self.spec.name} starts again in {delay:g} s")
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return

    def _change(self, **values: object) -> None:
        self.state = self.state.changed(**values)
        self._report(self.state)


def _exit_reason(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"
