"""What was used, for the books: summed up in the worker, written to the disk every few seconds, shipped from there.

A worker adds to a sum in memory, nothing else, when an answer ends. Every `usage_seconds` the sums become one segment
below `usage/` (fsynced, renamed into place), which the control plane stores and deletes. A segment is stored once even
if it is shipped twice: its name goes along. A `kill -9` of a worker costs the books what ended since its last segment;
budgets do not go by the books but by the ledger, which loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from services.inference_gateway.proxy.records import SUFFIX, sync_folder
from services.inference_gateway.proxy.snapshot import Deployment, Target

log = logging.getLogger(__name__)
HOUR = 3600
POLL_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class Bill:
    """Of one answer. 1 picodollar is a millionth of a microdollar."""

    __slots__ = ("completion_tokens", "picousd", "prompt_tokens")

    def __init__(self, prompt_tokens: int = 0, completion_tokens: int = 0, picousd: int = 0) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.picousd = picousd

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What one key used of one target in one hour, which begins at `hour` (Unix seconds); names are resource names."""

    hour: int
    project: str
    api_key: str
    deployment: str
    target: str
    model_version: str
    upstream_model: str
    request_count: int
    prompt_tokens: int
    completion_tokens: int
    cost_picousd: int


class UsageMeter:
    """One worker's sums since they were last taken."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sums: dict[tuple[int, str, str], tuple[Deployment, Target, list[int]]] = {}

    def add(self, api_key: str, deployment: Deployment, target: Target, bill: Bill) -> None:
        key = (int(self._clock()) // HOUR, api_key, target.target)
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = (deployment, target, [0, 0, 0, 0])
        sums = found[2]
        sums[0] += 1
        sums[1] += bill.prompt_tokens
        sums[2] += bill.completion_tokens
        sums[3] += bill.picousd

    def take(self) -> list[UsageLine]:
        sums, self._sums = self._sums, {}
        return [
            UsageLine(
                hour * HOUR, deployment.project, key, deployment.resource, target.target, target.model_version,
                "" if target.variant else target.upstream_model, *counts,
            )
            for (hour, key, _), (deployment, target, counts) in sums.items()
        ]  # fmt: skip


class UsageWriter:
    """Writes a meter's sums to `folder` until it is stopped."""

    def __init__(self, meter: UsageMeter, folder: Path, seconds: float) -> None:
        self._meter = meter
        self._folder = folder
        self._seconds = seconds
        self._held: list[UsageLine] = []

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self.flush()

    async def flush(self) -> None:
        """Where the disk refuses, the lines are kept for the next time."""
        self._held += self._meter.take()
        if not self._held:
            return
        lines = [json.dumps(asdict(line), separators=(",", ":")).encode() for line in self._held]
        try:
            await asyncio.to_thread(_write_segment, self._folder, lines)
        except OSError as error:
            log.error("what was used cannot be written", extra={"reason": str(error)})
            return
        self._held = []


def _write_segment(folder: Path, lines: list[bytes]) -> None:
    """A segment appears whole, and only once it is on the disk; names sort as they were written. Raises: OSError."""
    path = folder / f"{time.time_ns()}-{os.getpid()}{SUFFIX}"
    temporary = path.with_suffix(".part")
    try:
        with open(temporary, "wb") as file:
            file.write(b"\n".join(lines) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder)


Store = Callable[[str, Sequence[UsageLine]], Awaitable[None]]


class UsageShipper:
    """One for all workers. `store` takes a segment's name, which it has stored before or not, and its lines."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store

    async def run(self) -> None:
        """Ships until cancelled; backs off while the control plane does not take anything."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self.ship()
                pause = FIRST_PAUSE_SECONDS
                await asyncio.sleep(POLL_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever storing raises, the disk has it
                log.warning("what was used cannot be stored yet", extra={"reason": repr(error), "pause": pause})
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def ship(self) -> None:
        """All segments, oldest first. Raises: what `store` raised; the segment stays."""
        for segment in sorted(await asyncio.to_thread(lambda: list(self._folder.glob(f"*{SUFFIX}")))):
            await self._store(segment.stem, _read(segment))
            segment.unlink(missing_ok=True)


def _read(segment: Path) -> list[UsageLine]:
    """A line that cannot be read is told of and passed over."""
    lines = []
    for line in segment.read_bytes().splitlines():
        try:
            lines.append(UsageLine(**json.loads(line)))
        except (ValueError, TypeError) as error:
            log.error("a line of usage cannot be read", extra={"segment": segment.name, "reason": str(error)})
    return lines
