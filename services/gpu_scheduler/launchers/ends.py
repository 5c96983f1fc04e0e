"""Ends of processes, as the kernel tells them: nobody has to look twice a second whether work that runs still runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from services.gpu_scheduler.launchers.processes import ProcessRef

IS_TOLD = hasattr(os, "pidfd_open")  # Linux


class Ends:
    """Calls `ended(workload)` once for each process that it was told of, when that is gone. Used in one event loop."""

    def __init__(self, ended: Callable[[str], Awaitable[None]]) -> None:
        self._ended = ended
        self._handles: dict[ProcessRef, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, workload: str, leader: ProcessRef) -> bool:
        """False where its end will not be told: the kernel cannot, or it is gone already. Then look for yourself."""
        if leader in self._handles:
            return True
        if not IS_TOLD:
            return False
        try:
            handle = os.pidfd_open(leader.pid)
        except OSError:
            return False
        if not leader.alive():  # asked after the handle is ours, so that it cannot be another's who got the pid
            os.close(handle)
            return False
        self._handles[leader] = handle
        asyncio.get_running_loop().add_reader(handle, self._tell, workload, leader)
        return True

    def close(self) -> None:
        for leader in list(self._handles):
            self._forget(leader)
        for task in self._tasks:
            task.cancel()

    def _tell(self, workload: str, leader: ProcessRef) -> None:
        self._forget(leader)
        task = asyncio.ensure_future(self._ended(workload))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _forget(self, leader: ProcessRef) -> None:
        handle = self._handles.pop(leader)
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
