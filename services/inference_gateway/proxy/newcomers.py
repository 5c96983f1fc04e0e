"""Keys that a worker's snapshot lacks: made a moment ago, or wrong. The control plane says which.

So a key works as soon as its maker has it, whatever the events are doing. What guessing costs us is bounded: two
questions a second (a minute's worth may come at once), and none about a secret that was refused before.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from services.inference_gateway.proxy import allowance, errors
from services.inference_gateway.proxy.control import ControlClient, ControlFailed

KNOWN, UNKNOWN = 200, 404  # what the control plane answers
QUESTIONS_PER_MINUTE = 120
REMEMBERED = 4096
ARRIVES_WITHIN_SECONDS = 3.0


class Newcomers:
    """One worker's questions. Digests are SHA-256 hex."""

    def __init__(self, control: ControlClient, clock: Callable[[], float]) -> None:
        self._control = control
        self._clock = clock
        self._due = 0  # when the next question would come in an even flow, ns
        self._refused: OrderedDict[str, None] = OrderedDict()
        self._news = asyncio.Event()

    def may_ask(self, digest: str) -> bool:
        """Counts as a question."""
        if digest in self._refused:
            return False
        now = int(self._clock() * allowance.SECOND_NS)
        if allowance.wait_ns(self._due, 1, QUESTIONS_PER_MINUTE, now):
            return False
        self._due = allowance.taken(self._due, 1, QUESTIONS_PER_MINUTE, now)
        return True

    async def ask(self, digest: str) -> None:
        """Returns when the control plane knows the key. Raises: ApiError 401 if it does not, or cannot say."""
        try:
            status, _ = await self._control.call("/key", digest.encode())
        except ControlFailed as error:
            raise errors.invalid_key() from error
        if status == UNKNOWN:
            self._refused[digest] = None
            if len(self._refused) > REMEMBERED:
                self._refused.popitem(last=False)
        if status != KNOWN:
            raise errors.invalid_key()

    def came(self) -> None:
        """A new snapshot is there."""
        self._news.set()

    async def until(self, arrived: Callable[[], bool]) -> None:
        """Returns when a snapshot fulfils `arrived`, or too late."""
        try:
            async with asyncio.timeout(ARRIVES_WITHIN_SECONDS):
                while not arrived():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return
