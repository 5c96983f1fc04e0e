"""A worker's main: `python -m services.inference_gateway.proxy.worker OPTIONS`, as `processes.ProxyPool` starts it.

It serves a listening socket that it inherits, follows the snapshot file, and ends when told (SIGTERM): it takes nothing
new and lets running answers end first. Where its parent dies (its standard input ends) it serves on alone, by the routes,
keys and limits that it has, until the parent's successor has workers of its own and tells it to end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from gyre_kit.settings import KitSettings
from gyre_kit.telemetry import JsonFormatter

from services.inference_gateway.proxy import home
from services.inference_gateway.proxy.control import ControlClient, ControlFailed
from services.inference_gateway.proxy.gateway import Gateway
from services.inference_gateway.proxy.ledger import SYNC_SECONDS, Ledger
from services.inference_gateway.proxy.limits import NOTE_SECONDS
from services.inference_gateway.proxy.metrics import Metrics
from services.inference_gateway.proxy.records import Spool
from services.inference_gateway.proxy.server import Server
from services.inference_gateway.proxy.sessions import SessionLedger
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import SnapshotFile
from services.inference_gateway.proxy.usage import UsageWriter

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exporting import SpanExporter

log = logging.getLogger(__name__)
HOUSEKEEPING_SECONDS = 1.0
HAND_OVER_SECONDS = 0.1


class Worker:
    """One process' worth of gateway."""

    def __init__(self, settings: ProxySettings, paths: Paths, control: Path) -> None:
        self._settings = settings
        self._paths = paths
        self._metrics = Metrics()
        self._control = ControlClient(control)
        self._heir = home.heir_of(control)
        self._records = Spool(paths.spool, settings, lambda outcome: self._metrics.records.labels(outcome).inc())
        self._snapshots = SnapshotFile(paths.snapshot)
        self._ledger = Ledger(paths.ledger)
        sessions = SessionLedger(paths.sessions, settings.session_seconds)
        self._exporter = _exporter(KitSettings().otlp_endpoint, settings.trace_ratio)
        self._gateway = Gateway(
            settings,
            self._metrics,
            self._records,
            self._control,
            self._ledger,
            paths,
            sessions=sessions,
            exporter=self._exporter,
        )
        self._usage = UsageWriter(self._gateway.usage, paths.usage, settings.usage_seconds)
        self._server = Server(self._gateway, settings)
        self._changed = asyncio.Event()
        self._alone = False
        self.stop = asyncio.Event()

    async def run(self, sock: socket.socket) -> None:
        """Serves until `stop` is set, then drains and writes what is left to the spool."""
        self._look_for_snapshot()
        self._sock = sock.dup()  # what the server has is closed with it
        await self._server.listen(sock)
        chores = (
            self._records.run,
            self._usage.run,
            self._follow_snapshots,
            self._report,
            self._keep_house,
            self._keep_ledger,
            self._watch_parent,
        )
        tasks = [asyncio.create_task(chore()) for chore in chores]
        for task in tasks:
            task.add_done_callback(self._chore_ended)
        await self.stop.wait()
        self._sock.close()
        self._gateway.draining = True
        if not await self._server.drain(self._settings.drain_seconds):
            log.warning("answers were cut off at the end of the drain time")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._gateway.shadows.stop()
        self._gateway.pools.close()
        self._gateway.limiter.note()
        self._metrics.flush()
        await self._usage.flush()
        if self._exporter is not None:
            await asyncio.to_thread(self._exporter.close)
        if not await self._records.close():
            log.error("completions were lost: the spool cannot be written", extra={"count": len(self._records)})

    def _chore_ended(self, task: asyncio.Task[None]) -> None:
        """A chore never ends by itself; where one breaks, the worker ends and is started anew."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a worker's chore broke; the worker ends", exc_info=error)
            self.stop.set()

    async def _follow_snapshots(self) -> None:
        while True:
            await asyncio.sleep(self._settings.snapshot_poll_seconds)
            self._look_for_snapshot()

    def _look_for_snapshot(self) -> None:
        try:
            snapshot = self._snapshots.poll()
        except (ValueError, OSError) as error:
            self._metrics.snapshot_failures.inc()
            log.error("the snapshot cannot be read; the last good one stays in use", extra={"reason": str(error)})
            return
        if snapshot is not None:
            self._gateway.use(snapshot)
            self._changed.set()

    async def _report(self) -> None:
        """The load, each half second and at once after new routes: a drain waits for this word."""
        told: dict[str, Any] = {}
        while True:
            snapshot = self._gateway.snapshot
            status = {
                "pid": os.getpid(),
                "revision": snapshot.revision if snapshot else 0,
                "in_flight": {target: count for target, count in self._gateway.router.in_flight.items() if count},
                "outcomes": self._gateway.router.outcomes.as_json(),
                "waits": self._gateway.turns.waits.as_json(),
                "held": self._gateway.sleepers.held(),
                "sent_out": self._gateway.sent_out.as_json(),
                "found": self._gateway.found.as_json(),
            }
            said = status | {"alone": self._alone, "told": told}
            with suppress(ControlFailed):  # it restarts, or this worker is about to end
                _, answer = await self._control.call("/status", json.dumps(said).encode())
                told = {name: status[name] for name in ("outcomes", "waits", "sent_out", "found")}
                if json.loads(answer).get("end"):
                    self.stop.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.status_seconds):
                    await self._changed.wait()
            self._changed.clear()

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            self._gateway.pools.expire()
            self._metrics.flush()
            self._metrics.connections.set(len(self._server.connections))
            self._metrics.record_queue.set(len(self._records))
            running: dict[tuple[str, ...], int] = {(name,): n for name, n in self._gateway.router.in_flight.items()}
            connections: dict[tuple[str, ...], int] = {}
            for pool in self._gateway.pools.all():
                for state, count in (("busy", pool.busy), ("idle", pool.idle), ("waiting", pool.waiting)):
                    connections[pool.origin.authority, state] = count
            for target, reason in self._gateway.router.look_for_outliers().items():
                self._metrics.ejections.labels(target, reason).inc()
                log.warning(
                    "an engine is worse than its equals and stands back", extra={"target": target, "why": reason}
                )
            self._metrics.show(self._metrics.in_flight, running)
            held = {(target,): count for target, count in self._gateway.sleepers.held().items()}
            self._metrics.show(self._metrics.queue, self._gateway.turns.waiting() | held)
            self._metrics.show(self._metrics.pool, connections)

    async def _keep_ledger(self) -> None:
        """What workers that died still held is settled by whoever is left, the control plane or not."""
        while True:
            for _ in range(round(SYNC_SECONDS / NOTE_SECONDS)):
                await asyncio.sleep(NOTE_SECONDS)
                self._gateway.limiter.note()
            await asyncio.to_thread(self._ledger.sync)
            self._ledger.settle_left_seats()

    async def _watch_parent(self) -> None:
        """The parent holds the other end of standard input and never writes: its end is the parent's end."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.read(1024):
            pass
        self._alone = True
        log.warning("the control plane is gone; this worker serves on by what it knows")
        deadline = time.monotonic() + self._settings.alone_seconds
        while time.monotonic() < deadline and self._paths.folder.is_dir():
            with suppress(OSError):  # nobody waits for it yet
                home.hand_over(self._sock, self._heir)
            await asyncio.sleep(HAND_OVER_SECONDS)
        self.stop.set()


def _exporter(endpoint: str, ratio: float) -> SpanExporter | None:
    if not endpoint:
        return None
    from services.inference_gateway.proxy.exporting import to_collector  # OpenTelemetry takes 20 MB

    return to_collector(endpoint, ratio)


async def _main(options: argparse.Namespace) -> None:
    settings = ProxySettings.model_validate_json(options.settings)
    worker = Worker(settings, Paths(Path(options.home)), Path(options.control))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop.set)
    sock = socket.socket(fileno=options.socket)
    sock.setblocking(False)
    await worker.run(sock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True, help="GYRE_HOME")
    parser.add_argument("--control", required=True, help="Unix socket of the control plane")
    parser.add_argument("--socket", required=True, type=int, help="inherited descriptor of a listening socket")
    parser.add_argument("--settings", required=True, help="ProxySettings as JSON")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter("inference_gateway"))
    logging.basicConfig(level=os.environ.get("GYRE_LOG_LEVEL", "INFO"), handlers=[handler], force=True)
    uvloop.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
