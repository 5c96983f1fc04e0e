"""Targets that sleep: a request for one tells the control plane, and waits until the routes say that it is awake.

What waiting costs us is bounded, by number and by time; who comes too many or waited too long is told when to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from services.inference_gateway.proxy import errors
from services.inference_gateway.proxy.control import ControlClient, ControlFailed
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.snapshot import Target

SAY_AGAIN_SECONDS = 2.0  # the control plane may have been away
COME_BACK_SECONDS = 5.0


class Sleepers:
    """One worker's. `woken` hears how long each request waited."""

    def __init__(
        self,
        control: ControlClient,
        settings: ProxySettings,
        clock: Callable[[], float],
        woken: Callable[[float], None],
    ) -> None:
        self._control = control
        self._settings = settings
        self._clock = clock
        self._woken = woken
        self._held: dict[str, int] = {}
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    def held(self) -> dict[str, int]:
        """Requests that wait, by target."""
        return dict(self._held)

    def came(self) -> None:
        """A new snapshot is there."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def wake(self, target: Target, model: str, is_awake: Callable[[str], bool]) -> None:
        """Returns when `target` sleeps no more. Raises: ApiError 503 if too many wait, or it takes too long."""
        if sum(self._held.values()) >= self._settings.wake_waiting:
            raise errors.not_awake(model, COME_BACK_SECONDS)
        began = self._clock()
        self._held[target.id] = self._held.get(target.id, 0) + 1
        if target.id not in self._calls:
            self._calls[target.id] = asyncio.create_task(self._call(target.id))
        try:
            async with asyncio.timeout(self._settings.wake_seconds):
                while not is_awake(target.id):
                    await self._news.wait()
        except TimeoutError:
            raise errors.not_awake(model, COME_BACK_SECONDS) from None
        finally:
            self._let_go(target.id)
        self._woken(self._clock() - began)

    def _let_go(self, target: str) -> None:
        self._held[target] -= 1
        if not self._held[target]:
            del self._held[target]
            self._calls.pop(target).cancel()

    async def _call(self, target: str) -> None:
        """Says it as long as somebody waits."""
        while True:
            with suppress(ControlFailed):
                await self._control.call("/wake", target.encode())
            await asyncio.sleep(SAY_AGAIN_SECONDS)
