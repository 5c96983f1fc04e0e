"""The gateway asks itself for a batch: line by line, some at once, whenever nobody else wants the engine.

What a line was answered is in the part files before it is billed (`proxy/parts.py`). So this loop holds nothing that a
`kill -9` could lose: whoever runs it next reads the part files and asks the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
from gyre_kit.app import Context
from gyre_kit.reconcile import Claim, lease

from services.inference_gateway import publishing
from services.inference_gateway.batches import keys as batch_keys
from services.inference_gateway.batches import scratch as batch_files
from services.inference_gateway.batches import service as batches
from services.inference_gateway.batches.lines import Line, lines
from services.inference_gateway.models.batches import BatchState, InferenceBatch
from services.inference_gateway.proxy import parts, wire
from services.inference_gateway.proxy.parts import PartWriter
from services.inference_gateway.proxy.settings import ProxySettings

LEASE_SECONDS = 10.0
FETCH_SECONDS = 120.0
SLICE_SECONDS = 60.0  # then others have their turn
PROGRESS_SECONDS = 1.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
MOST_ATTEMPTS = 6
LATER = (429, 503)  # the gateway is there and says: not now
SOON = (401, 408, 409)  # 401: a worker may not know the batch's key yet


async def answer_batches(context: Context) -> bool:
    """Asks what is left of one batch, for a while: then the next one has its turn."""
    where = InferenceBatch.state == BatchState.IN_PROGRESS
    async with lease(context.db, InferenceBatch, where, seconds=LEASE_SECONDS) as claim:
        if claim is None:
            return False
        await claim.extend(context.db, FETCH_SECONDS)
        await publishing.workers_know(context)  # the batch's key
        async with batch_files.scratch(context) as folder:
            path = await batch_files.fetch_input(context, claim.row, folder)
            run = BatchRun(context, claim, path)
            await run.until_done()
    context.wake()
    return True


class BatchRun:
    """One batch under lease. `done` has each line that is over, and whether it was answered; once `closing` is set no
    line is begun and none is tried again.
    """

    def __init__(self, context: Context, claim: Claim[InferenceBatch], path: Path) -> None:
        self._context = context
        self._claim = claim
        self._batch = claim.row
        self._folder: Path = batch_files.folder_of(context, claim.row)
        self._writer = PartWriter(self._folder.parent)
        settings = context.settings
        self._left: Iterator[Line] = lines(path, claim.row.endpoint, batch_files.bounds(context))
        self._url = f"http://{_reachable(settings.bind)}:{settings.openai_port}{claim.row.endpoint}"
        self._headers = {
            "authorization": f"Bearer {batch_keys.token(context.state['batch_secret'], claim.row)}",
            "content-type": "application/json",
        }
        self.done: dict[int, bool] = {}
        self.closing = asyncio.Event()

    async def until_done(self) -> None:
        """Returns when every line is over, the time is, or somebody cancelled; or for others to have their turn.

        Raises: LeaseLost.
        """
        self.done = await asyncio.to_thread(self._read)
        ending = asyncio.get_running_loop().call_later(SLICE_SECONDS, self.closing.set)
        workers = [asyncio.create_task(self._work()) for _ in range(self._context.settings.batch_concurrency)]
        try:
            while await self._report():
                finished, running = await asyncio.wait(workers, timeout=PROGRESS_SECONDS)
                for task in finished:
                    task.result()
                if not running:
                    await self._end_slice()
                    return
        finally:
            ending.cancel()
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _read(self) -> dict[int, bool]:
        return {part.line: part.answered for part in parts.read_parts(self._folder)}

    async def _report(self) -> bool:
        """Writes how far it is and holds on to the lease. False: nothing more is to be asked."""
        await self._claim.extend(self._context.db, LEASE_SECONDS)
        async with self._context.db.transaction() as session:
            row = await self._claim.reload(session)
            self._count(row)
            if row.state != BatchState.IN_PROGRESS:
                return False
            if session.clock.now() >= row.expire_time:
                await batches.wind_up(session, row)
                return False
        return True

    async def _end_slice(self) -> None:
        async with self._context.db.transaction() as session:
            row = await self._claim.reload(session)
            self._count(row)
            if len(self.done) == row.total_count and row.state == BatchState.IN_PROGRESS:
                await batches.wind_up(session, row)

    def _count(self, row: InferenceBatch) -> None:
        row.completed_count = sum(self.done.values())
        row.failed_count = len(self.done) - row.completed_count

    async def _work(self) -> None:
        """One of those that run side by side: takes the next line until there is none."""
        for line in self._left:
            if line.number not in self.done:
                answered = await self._over(line)
                if answered is None:
                    return
                self.done[line.number] = answered
            if self.closing.is_set():
                return

    async def _over(self, line: Line) -> bool | None:
        """Asks until there is an answer, or no hope of one. True if it was answered; None if it is left for later."""
        attempts, pause = 0, FIRST_PAUSE_SECONDS
        while True:
            try:
                status, headers, body = await self._ask(line)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if await asyncio.to_thread(self._is_kept, line):  # it was answered, and the answer got lost
                    return True
                status, headers, body = 0, {}, str(error).encode()
            if status == 200:
                return True
            wait = float(headers.get("retry-after", pause))
            attempts += 0 if status in LATER else 1
            if _is_final(status, headers) or attempts >= MOST_ATTEMPTS or not self._may_wait(wait):
                await asyncio.to_thread(self._give_up, line, status, headers, body)
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self.closing.wait(), max(wait, pause))
                return None
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _ask(self, line: Line) -> tuple[int, dict[str, str], bytes]:
        http: aiohttp.ClientSession = self._context.state["http"]
        patience = aiohttp.ClientTimeout(total=None, sock_read=ProxySettings().total_seconds + 60)
        headers = self._headers | {parts.LINE_HEADER: str(line.number)}
        async with http.post(self._url, data=line.body, headers=headers, timeout=patience) as reply:
            return reply.status, {name.lower(): value for name, value in reply.headers.items()}, await reply.read()

    def _may_wait(self, seconds: float) -> bool:
        """A budget that begins anew before the batch's time is over is worth the wait."""
        return (self._batch.expire_time - self._context.clock.now()).total_seconds() > seconds

    def _is_kept(self, line: Line) -> bool:
        return any(part.answered for part in parts.read_parts(self._folder, line.number))

    def _give_up(self, line: Line, status: int, headers: dict[str, str], body: bytes) -> None:
        if status:
            record = parts.answer_record(line.number, status, headers.get(wire.REQUEST_ID, ""), "", body)
        else:
            record = parts.failure_record(line.number, "no_answer", f"The gateway did not answer: {body.decode()}")
        self._writer.append(self._folder.name, record)


def _is_final(status: int, headers: dict[str, str]) -> bool:
    """Whether asking again can bring nothing else: `status` 0 is no answer at all."""
    if status == 429 and headers.get("x-should-retry") == "false" and "retry-after" not in headers:
        return True  # a budget without an end, or more than a whole minute has
    return 0 < status < 500 and status not in (*SOON, *LATER)


def _reachable(bind: str) -> str:
    """Where this process reaches what listens on `bind`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    return f"[{host}]" if ":" in host else host
