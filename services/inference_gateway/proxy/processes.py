"""What the control plane holds: the worker processes, kept running, and their end of the control socket.

    pool = ProxyPool(settings, paths, host, port, record=store_batch, store_usage=book, on_feedback=submit,
                     on_spans=keep, knows_key=ask, on_stored=store)
    await pool.start()          # returns when every worker listens
    write_snapshot(paths.snapshot, snapshot)
    ...
    await pool.stop()           # drains

The listening sockets (one a worker, SO_REUSEPORT) are the parent's: while a worker is started anew, its new
connections wait in the backlog and are not refused. Workers outlive a parent that is killed. Its successor
gets their sockets from them, starts its own workers on these, and then has the others drain.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from services.inference_gateway.proxy import compiling, home
from services.inference_gateway.proxy.control import (
    AdapterCall,
    ControlServer,
    FeedbackSink,
    KeyQuestion,
    SpansSink,
    WakeCall,
    WorkerStatus,
    no_adapters,
    nobody_sleeps,
)
from services.inference_gateway.proxy.occurrences import Place
from services.inference_gateway.proxy.outcomes import Outcomes
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.shipper import Record, Shipper
from services.inference_gateway.proxy.stored import StoredSink
from services.inference_gateway.proxy.usage import Store, UsageShipper

log = logging.getLogger(__name__)
START_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
HEALTHY_SECONDS = 60.0
SILENCE_SECONDS = 5.0


class ProxyPool:
    """`record`, `store_usage`, `on_feedback`, `on_spans`, `knows_key` and `on_stored` are called in the caller's event
    loop."""

    def __init__(
        self,
        settings: ProxySettings,
        paths: Paths,
        host: str,
        port: int,
        *,
        record: Record,
        store_usage: Store,
        on_feedback: FeedbackSink,
        on_spans: SpansSink,
        knows_key: KeyQuestion,
        on_stored: StoredSink,
        on_wake: WakeCall = nobody_sleeps,
        on_adapter: AdapterCall = no_adapters,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._host = host
        self._port = port
        registry = registry or CollectorRegistry()
        registry.register(ProxyMetrics(paths.metrics))
        self._control_path = home.socket_path(paths.control)
        self._control = ControlServer(
            self._control_path, settings, on_feedback, on_spans, knows_key, self._heard, on_stored, on_wake, on_adapter
        )
        self._shipper = Shipper(paths.spool, paths.dead, record, settings, registry)
        self._usage_shipper = UsageShipper(paths.usage, store_usage)
        self._statuses: dict[int, WorkerStatus] = {}
        self._left: dict[int, WorkerStatus] = {}  # of workers that a killed parent left
        self._left_spoke: dict[int, float] = {}
        self._held = -1
        self._is_up = False
        self.outcomes: defaultdict[str, Outcomes] = defaultdict(Outcomes)  # by target, of all workers there were
        self.waits: defaultdict[str, Outcomes] = defaultdict(Outcomes)  # of those that waited for a place
        self.sent_out: Counter[Place] = Counter()  # of all workers there were
        self.found: Counter[Place] = Counter()
        self._news = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Raises: OSError if the port is taken; TimeoutError if the workers do not come up."""
        self._paths.create()
        self._held = home.hold(self._paths.held)
        home.clean_up(self._paths)
        await self._control.start()
        try:
            self._sockets = await home.listen(
                self._host, self._port, self._settings.workers, home.heir_of(self._control_path)
            )
        except OSError:
            await self._control.stop()
            self._let_go()
            raise
        self._tasks = [asyncio.create_task(self._keep_running(slot)) for slot in range(self._settings.workers)]
        self._tasks += [asyncio.create_task(self._shipper.run()), asyncio.create_task(self._usage_shipper.run())]
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._until(lambda: len(self._statuses) == self._settings.workers)
        except TimeoutError:
            await self.stop()
            raise
        self._is_up = True
        log.info("the OpenAI endpoint is up", extra={"port": self._port, "workers": self.pids})

    async def stop(self) -> None:
        """Lets running answers end (`drain_seconds`), stores what is in the spool, if it can be stored, and returns."""
        self._stopping = True
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        waits = [process.wait() for process in self._processes.values()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds + 5):
                await asyncio.gather(*waits)
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._ship_the_rest()
        await self._control.stop()
        for sock in self._sockets:
            sock.close()
        self._let_go()
        if self._control_path != self._paths.control:
            shutil.rmtree(self._control_path.parent, ignore_errors=True)
            self._paths.control.unlink(missing_ok=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes.values()]

    def in_flight(self, target: str) -> int:
        """Requests running on `target`, as the workers last said (at most `status_seconds` ago)."""
        return sum(status.in_flight.get(target, 0) for status in self._all())

    def held(self, target: str) -> int:
        """Requests that wait for `target` to be awake."""
        return sum(status.held.get(target, 0) for status in self._all())

    def drained(self, target: str, revision: int) -> bool:
        """True once every worker goes by snapshot `revision` or a newer one and nothing runs on `target` any more: an
        engine may be stopped then without cutting an answer."""
        statuses = [*(self._statuses.get(pid) for pid in self.pids), *self._of_left()]
        return bool(statuses) and all(
            status is not None and status.revision >= revision and not status.in_flight.get(target)
            for status in statuses
        )

    async def until_revision(self, revision: int, seconds: float = 5.0) -> None:
        """Returns when every worker goes by snapshot `revision`. Raises: TimeoutError."""
        async with asyncio.timeout(seconds):
            await self._until(lambda: self.goes_by(revision))

    def goes_by(self, revision: int) -> bool:
        """Whether every worker does."""
        known = self._statuses.values()
        return len(known) == self._settings.workers and all(status.revision >= revision for status in known)

    # -- below -------------------------------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()

    def _heard(self, status: WorkerStatus) -> bool:
        """Whether that worker shall go on."""
        is_ours = status.pid in self.pids
        if not is_ours and not status.alone:
            return True
        known = self._statuses if is_ours else self._left
        before = known.get(status.pid) or status.told
        _add_news(self.outcomes, status.outcomes, before.outcomes if before else {})
        _add_news(self.waits, status.waits, before.waits if before else {})
        self.sent_out += status.sent_out - (before.sent_out if before else Counter())
        self.found += status.found - (before.found if before else Counter())
        known[status.pid] = status
        if not is_ours:
            self._left_spoke[status.pid] = time.monotonic()
        self._news.set()
        return is_ours or not self._is_up

    def _all(self) -> list[WorkerStatus]:
        return [*self._statuses.values(), *self._of_left()]

    def _of_left(self) -> list[WorkerStatus]:
        """Workers of an earlier parent that still end what they began. Who says nothing any more is gone."""
        now = time.monotonic()
        return [each for pid, each in self._left.items() if now - self._left_spoke[pid] < SILENCE_SECONDS]

    def _let_go(self) -> None:
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    async def _keep_running(self, slot: int) -> None:
        """A worker that dies is started anew, after a pause that doubles while it dies young."""
        pause = FIRST_PAUSE_SECONDS
        before = 0
        while not self._stopping:
            born = time.monotonic()
            process = await self._spawn(slot)
            self._processes[slot] = process
            if before:
                log.warning("a gateway worker was started anew", extra={"pid_before": before, "pid": process.pid})
            code = await process.wait()
            self._buried(process.pid)
            if self._stopping:
                return
            if time.monotonic() - born > HEALTHY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            log.error("a gateway worker died", extra={"pid": process.pid, "exit_code": code, "pause": pause})
            await asyncio.sleep(pause)
            pause, before = min(pause * 2, LONGEST_PAUSE_SECONDS), process.pid

    async def _spawn(self, slot: int) -> asyncio.subprocess.Process:
        descriptor = self._sockets[slot].fileno()
        command = [
            *(sys.executable, "-m", "services.inference_gateway.proxy.worker"),
            *("--home", str(self._paths.folder.parent)),
            *("--control", str(self._control_path)),
            *("--socket", str(descriptor)),
            *("--settings", self._settings.model_dump_json()),
        ]
        environment = (
            os.environ
            | compiling.environment()
            | {
                "PROMETHEUS_MULTIPROC_DIR": str(self._paths.metrics),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            }
        )
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, pass_fds=[descriptor], env=environment, start_new_session=True
        )

    def _buried(self, pid: int) -> None:
        self._statuses.pop(pid, None)
        mark_process_dead(pid, str(self._paths.metrics))  # type: ignore[no-untyped-call]

    async def _ship_the_rest(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self._shipper.ship()
                await self._usage_shipper.ship()
        except Exception as error:  # noqa: BLE001 - it stays on the disk and is shipped after the next start
            log.warning("completions and usage wait in the spool", extra={"reason": repr(error)})


def _add_news(sums: defaultdict[str, Outcomes], now: Mapping[str, Outcomes], before: Mapping[str, Outcomes]) -> None:
    for target, outcomes in now.items():
        sums[target] += outcomes - before.get(target, Outcomes())


class ProxyMetrics(Collector):
    """What the workers counted, summed, as part of the service's own /metrics."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Nothing as long as no worker has written: the collector wants its folder to exist."""
        if self._folder.is_dir():
            yield from MultiProcessCollector(None, path=str(self._folder)).collect()  # type: ignore[no-untyped-call]

    def describe(self) -> Iterable[Metric]:
        return []
