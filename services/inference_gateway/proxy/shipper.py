"""From the spool to the control plane: segments in order, each deleted once it is stored.

At least once: a death between storing and deleting ships a segment again, and the receiver passes over ids it knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.inference_gateway.proxy.records import SUFFIX, CompletionRecord, adopt, parse_line
from services.inference_gateway.proxy.settings import ProxySettings

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0

Record = Callable[[list[CompletionRecord]], Awaitable[None]]


class RecordsRefused(Exception):
    """Raised by `record`: this batch will never be taken. Any other error means: try again."""


class Shipper:
    """One for all workers. `record` stores a batch of at most 500."""

    def __init__(
        self, spool: Path, dead: Path, record: Record, settings: ProxySettings, registry: CollectorRegistry
    ) -> None:
        self._spool = spool
        self._dead = dead
        self._record = record
        self._settings = settings
        self._outcomes = Counter(
            "gyre_gateway_shipped_records", "Completions that left the spool, by how.", ["outcome"], registry=registry
        )
        self._waiting = Gauge("gyre_gateway_spool_bytes", "Completions waiting on disk.", registry=registry)

    async def run(self) -> None:
        """Ships until cancelled; backs off while the control plane does not take anything."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self.ship()
                pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever storing raises, the disk has it
                log.warning("completions cannot be stored yet", extra={"reason": repr(error), "pause": pause})
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def ship(self) -> int:
        """Ships all that is there; the number of segments that went.

        A segment that fails is passed over, so that one which the receiver chokes on does not hold up the rest; two
        in a row mean that the receiver is down. Raises: the first of what `record` raised, but RecordsRefused.
        """
        gone, failed, failure = 0, 0, None
        for segment in await asyncio.to_thread(self._segments):
            try:
                await self._ship(segment)
                gone, failed = gone + 1, 0
            except Exception as error:  # noqa: BLE001 - raised below, once the others had their turn
                failure = failure or error
                failed += 1
                if failed == 2:
                    break
        if failure is not None:
            raise failure
        return gone

    async def _ship(self, segment: Path) -> None:
        records = await asyncio.to_thread(self._read, segment)
        try:
            if records:
                await self._record(records)
            self._outcomes.labels("stored").inc(len(records))
            segment.unlink(missing_ok=True)
        except RecordsRefused as error:
            await self._one_by_one(segment, records, error)

    async def _one_by_one(self, segment: Path, records: list[CompletionRecord], error: RecordsRefused) -> None:
        """One bad record must not cost its neighbours; the bad ones are kept aside for people to look at."""
        refused = []
        for record in records:
            try:
                if len(records) == 1:
                    raise error
                await self._record([record])
                self._outcomes.labels("stored").inc()
            except RecordsRefused:
                refused.append(record)
        self._outcomes.labels("refused").inc(len(refused))
        log.error("completions were refused for good", extra={"reason": str(error), "kept_in": str(self._dead)})
        lines = b"".join(record.line() + b"\n" for record in refused)
        await asyncio.to_thread((self._dead / segment.name).write_bytes, lines)
        segment.unlink(missing_ok=True)

    def _segments(self) -> list[Path]:
        """Oldest first. Beyond `spool_max_bytes` the oldest are given up, counted."""
        adopt(self._spool)
        sizes = {}
        for path in sorted(self._spool.glob(f"*{SUFFIX}")):
            sizes[path] = path.stat().st_size
        total = sum(sizes.values())
        for path in list(sizes):
            if total <= self._settings.spool_max_bytes:
                break
            total -= sizes.pop(path)
            self._outcomes.labels("given_up").inc(path.read_bytes().count(b"\n"))
            path.unlink()
            log.error("the spool is full: the oldest completions were given up", extra={"segment": path.name})
        self._waiting.set(total)
        return list(sizes)

    def _read(self, segment: Path) -> list[CompletionRecord]:
        records = []
        for line in segment.read_bytes().splitlines():
            try:
                records.append(parse_line(line))
            except (ValueError, TypeError) as error:
                self._outcomes.labels("unreadable").inc()
                log.error("a line of the spool cannot be read", extra={"segment": segment.name, "reason": str(error)})
        return records
