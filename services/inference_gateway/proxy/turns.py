"""Places at an engine. When all are taken, requests wait, fairly between projects; who would wait too long is told at
once, and when to come back.

Each worker has its share of an engine's places, and a queue of its own: the kernel spreads connections over workers
alike for all projects, so shares that are fair in each worker are fair in the sum.

What batches ask waits in a queue of its own (`aside`), whose turn comes when nobody waits in the other one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from math import ceil, exp

from services.inference_gateway.proxy.fairness import FairQueue
from services.inference_gateway.proxy.outcomes import Counting
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.upstream import UpstreamError

MEMORY_SECONDS = 10.0  # how far back the measured speed looks


class Busy(UpstreamError):
    """The queue of this engine is longer than anybody should wait. `seconds`: until it would be short enough."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"its queue is {seconds:.0f} s too long")
        self.seconds = seconds


Queue = FairQueue[asyncio.Future[None]]


class DrainRate:
    """Work done a second while every place was taken: an average that forgets."""

    def __init__(self) -> None:
        self._work = 0.0
        self._seconds = 0.0

    def add(self, done: float, seconds: float) -> None:
        kept = exp(-seconds / MEMORY_SECONDS)
        self._work = self._work * kept + done
        self._seconds = self._seconds * kept + seconds

    @property
    def per_second(self) -> float:
        """0: not known yet."""
        return self._work / self._seconds if self._seconds > 0 else 0.0


def _unheard(_: float) -> None:
    """Nobody wants to know."""


class Turns:
    """One engine's places, as one worker has them. `places` 0: as many as there are connections."""

    def __init__(
        self, settings: ProxySettings, clock: Callable[[], float], waited: Callable[[float], None] = _unheard
    ) -> None:
        """`waited` hears how long each waited that had to."""
        self._settings = settings
        self._clock = clock
        self._waited = waited
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._aside: FairQueue[asyncio.Future[None]] = FairQueue()
        self._rate = DrainRate()
        self._running = 0
        self._seen = clock()
        self.places = 0

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._aside)

    @property
    def idle(self) -> bool:
        return not self._running and not self._queue and not self._aside

    def turn(self, project: str, cost: int, aside: bool = False) -> Turn:
        """One request's place. `cost` is estimated work. `aside`: it waits until nobody else does."""
        return Turn(self, self._aside if aside else self._queue, project, cost)

    def enters(self, queue: Queue, project: str, cost: int) -> bool:
        """True if there is a place now; it is taken then."""
        if self._running >= self.places or self._queue or queue:
            return False
        self._look(0)
        self._running += 1
        queue.ran(project, cost)
        return True

    async def wait(self, queue: Queue, project: str, cost: int) -> None:
        """Returns when a place was given. Raises: Busy."""
        if queue is self._queue:
            self._check(project, cost)
        turn = asyncio.get_running_loop().create_future()
        queue.push(project, cost, turn)
        since = self._clock()
        try:
            async with asyncio.timeout(self._settings.queue_seconds if queue is self._aside else None):
                await self._wait(queue, project, cost, turn)
        except TimeoutError:
            raise Busy(1.0) from None  # a batch comes again; until then its request holds nothing
        self._waited(self._clock() - since)

    async def _wait(self, queue: Queue, project: str, cost: int, turn: asyncio.Future[None]) -> None:
        try:
            await turn
        except asyncio.CancelledError:
            queue.remove(project, cost, turn)
            if turn.done() and not turn.cancelled():
                self.leave(queue, project, cost, 0)  # its turn came just as its client left
            raise

    def leave(self, queue: Queue, project: str, cost: int, used: int) -> None:
        self._look(cost)
        self._running -= 1
        queue.correct(project, used - cost)
        while (self._queue or self._aside) and self._running < self.places:
            _, turn = (self._queue or self._aside).pop()
            if not turn.done():
                self._running += 1
                turn.set_result(None)

    def _check(self, project: str, cost: int) -> None:
        rate, bound = self._rate.per_second, self._settings.queue_seconds
        wait = self._queue.ahead_of(project, cost) / rate if rate else 0.0
        if wait > bound:
            raise Busy(wait - bound)
        if len(self._queue) >= self._settings.upstream_waiting:
            raise Busy(1.0)

    def _look(self, done: int) -> None:
        """Only full places measure the engine: else it is the demand that sets the pace."""
        now = self._clock()
        if self._running >= self.places:
            self._rate.add(done, now - self._seen)
        self._seen = now


class Turn:
    """One request's: `begins` or else `comes`, and then `ends`."""

    __slots__ = ("_cost", "_holds", "_project", "_queue", "_turns")

    def __init__(self, turns: Turns, queue: Queue, project: str, cost: int) -> None:
        self._turns = turns
        self._queue = queue
        self._project = project
        self._cost = cost
        self._holds = False

    def begins(self) -> bool:
        """True if nobody needs to wait: there is a place, or places are not counted."""
        if not self._turns.places:
            return True
        self._holds = self._turns.enters(self._queue, self._project, self._cost)
        return self._holds

    async def comes(self) -> None:
        """Raises: Busy."""
        await self._turns.wait(self._queue, self._project, self._cost)
        self._holds = True

    def ends(self, used: int) -> None:
        """`used`: the work that it was."""
        if self._holds:
            self._turns.leave(self._queue, self._project, self._cost, used)


class AllTurns:
    """Of all targets."""

    def __init__(self, settings: ProxySettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._turns: dict[str, Turns] = {}
        self.waits = Counting()

    def of(self, target: Target) -> Turns:
        turns = self._turns.get(target.id)
        if turns is None:
            waited = partial(self.waits.answered, target.target)
            turns = self._turns[target.id] = Turns(self._settings, self._clock, waited)
        turns.places = ceil(target.places / self._settings.workers)
        return turns

    def waiting(self) -> dict[tuple[str, ...], int]:
        return {(name,): turns.waiting for name, turns in self._turns.items()}

    def forget_others(self, targets: set[str]) -> None:
        self._turns = {name: turns for name, turns in self._turns.items() if name in targets or not turns.idle}
        self.waits.forget_others(targets)
