"""Replays in a process of their own, one at a time, bounded in time and memory. Answers are kept by their input."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from gyre_kit.errors import Exhausted, Unavailable

from services.gpu_scheduler.simulation.child import OUT_OF_MEMORY
from services.gpu_scheduler.simulation.service import WhatIfTooLarge

CHILD = "services.gpu_scheduler.simulation.child"
KEPT = 16
SHOWN = 300  # characters of what a failed replay said last
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")

Reports = list[dict[str, Any]]


class WhatIfBusy(Exhausted):
    """Another question is being replayed: ask again when it has its answer, in a minute at most."""


class WhatIfTooLong(Exhausted):
    """The replay took longer than it may: ask for fewer days."""


class WhatIfFailed(Unavailable):
    """The replay ended without an answer."""


class Replayer:
    """`module` is run as a process, with `child.main` for its main."""

    def __init__(self, seconds: float, memory_bytes: int, module: str = CHILD) -> None:
        self._seconds, self._memory_bytes, self._module = seconds, memory_bytes, module
        self._kept: OrderedDict[str, Reports] = OrderedDict()
        self._running: tuple[str, asyncio.Task[Reports]] | None = None

    async def reports(self, payload: bytes) -> tuple[str, Reports]:
        """The input's digest, and its reports. Whoever asks the same meanwhile waits for the same process; one who
        goes away does not end it, for it is bounded and its answer is kept.

        Raises: WhatIfBusy; WhatIfTooLong; WhatIfTooLarge; WhatIfFailed.
        """
        digest = "sha256:" + hashlib.sha256(payload).hexdigest()
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return digest, self._kept[digest]
        if self._running is None or self._running[1].done():
            self._running = digest, asyncio.create_task(self._run(digest, payload))
        running, task = self._running
        if running != digest:
            raise WhatIfBusy
        return digest, await asyncio.shield(task)

    async def _run(self, digest: str, payload: bytes) -> Reports:
        try:
            async with asyncio.timeout(self._seconds):
                code, out, said = await self._process(payload)
        except TimeoutError:
            raise WhatIfTooLong(seconds=f"{self._seconds:g}") from None
        if code == OUT_OF_MEMORY:
            raise WhatIfTooLarge(memory_bytes=self._memory_bytes)
        if code != 0:
            lines = said.decode(errors="replace").strip().splitlines() or [""]
            raise WhatIfFailed(exit_code=code, said=lines[-1][-SHOWN:])
        reports: Reports = json.loads(out)
        self._kept[digest] = reports
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return reports

    async def _process(self, payload: bytes) -> tuple[int, bytes, bytes]:
        """Exit code, output, errors. Whatever ends this task ends the process too."""
        limits = str(self._memory_bytes), str(math.ceil(self._seconds))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module, *limits),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(sys.path),
        )
        assert process.stdin and process.stdout and process.stderr
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # it died before it read: its exit code says why
                process.stdin.write(payload + b"\n")
                await process.stdin.drain()
            out, said = await asyncio.gather(process.stdout.read(), process.stderr.read())
            return await process.wait(), out, said
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def _environment(path: Sequence[str]) -> dict[str, str]:
    """No secret of the service: a replay needs nothing but its code."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return passed | {"PYTHONPATH": os.pathsep.join(part for part in path if part)}
