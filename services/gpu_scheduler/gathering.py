"""Calls that ask for work while another transaction runs share the next one, so that a burst costs what its size costs.

Each project and caller has a transaction of its own at a time; in one that fails, each call is tried alone, so that who
is wrong hears it and nobody else does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from gyre_kit.auth import Identity, acting_as, caller
from gyre_kit.db import Database
from gyre_kit.errors import DomainError
from gyre_kit.names import project_of

from services.gpu_scheduler import store, submission
from services.gpu_scheduler.models import Workload
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.submission import Wanted

MOST = 500  # workloads in one transaction


@dataclass(eq=False)
class _Call:
    name: str
    wanted: Wanted
    done: asyncio.Future[Workload] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Gathering:
    """Writes down what is asked for. One in each process."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db, self._settings = db, settings
        self._waiting: dict[Identity, deque[_Call]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ensure(self, name: str, wanted: Wanted) -> Workload:
        """The workload, when it is committed. Raises: as `submission.ensure_all`."""
        submission.check_name(name)
        call, identity = _Call(name, wanted), caller()
        if identity in self._waiting:
            self._waiting[identity].append(call)
        else:
            self._waiting[identity] = deque([call])
            task = asyncio.create_task(self._write_all(identity))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await call.done

    async def _write_all(self, identity: Identity) -> None:
        waiting = self._waiting[identity]
        try:
            with acting_as(identity):
                while waiting:
                    await self._write(_batch(waiting))
        finally:
            del self._waiting[identity]
            for call in waiting:  # only where this task was ended
                call.done.cancel()

    async def _write(self, calls: list[_Call]) -> None:
        try:
            async with self._db.transaction() as session:
                await submission.ensure_all(session, {call.name: call.wanted for call in calls}, self._settings)
                rows = {row.name: row for row in await store.workloads_named(session, [call.name for call in calls])}
        except DomainError as error:
            if len(calls) == 1:
                _fail(calls, error)
            else:
                for call in calls:
                    await self._write([call])
        except BaseException as error:
            _fail(calls, error)  # whoever asked is told, whatever it is
            if not isinstance(error, Exception):
                raise
        else:
            for call in calls:
                if not call.done.done():  # who asked may have gone
                    call.done.set_result(rows[call.name])


def _batch(waiting: deque[_Call]) -> list[_Call]:
    """The next ones, each name once: two who ask for one name come one after the other. All of one project."""
    batch: dict[str, _Call] = {}
    project = project_of(waiting[0].name)
    while waiting and len(batch) < MOST:
        call = waiting[0]
        if call.name in batch or project_of(call.name) != project:
            break
        batch[call.name] = waiting.popleft()
    return list(batch.values())


def _fail(calls: list[_Call], error: BaseException) -> None:
    for call in calls:
        if not call.done.done():
            call.done.set_exception(error)
