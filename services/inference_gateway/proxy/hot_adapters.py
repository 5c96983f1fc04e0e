"""Adapters that an engine loads while it serves: the first request for one asks the control plane, and then goes on.

What a worker remembers can be outdated, for the control plane lets go of what was used least: then the engine knows no
such model, and the worker asks anew. It says now and then what it uses, so that this is known to be used.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Collection

from services.inference_gateway.proxy.adapters import on, served_as
from services.inference_gateway.proxy.control import ControlClient, ControlFailed
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.upstream import UpstreamError

log = logging.getLogger(__name__)
ENGINES = ("vllm",)
SAY_SECONDS = 10.0
AGAIN_SECONDS = 1.0
Place = tuple[str, str]  # a replica's id, and what its engine calls the adapter


class NotLoaded(UpstreamError):
    """The engine was not asked, for it has not got the adapter."""


class HotAdapters:
    """One worker's."""

    def __init__(self, control: ControlClient, settings: ProxySettings, clock: Callable[[], float]) -> None:
        self._control = control
        self._settings = settings
        self._clock = clock
        self._said: dict[Place, float] = {}  # those that are loaded, and when their use was last told
        self._calls: dict[Place, asyncio.Task[None]] = {}

    async def ready(self, target: Target, name: str) -> None:
        """Returns when the engine has the adapter `name`; all who wait for it share one call. Raises: NotLoaded."""
        place = _place(target, name)
        said = self._said.get(place)
        if said is None:
            await self._called(place)
        elif self._clock() - said >= SAY_SECONDS:
            self._said[place] = self._clock()
            self._call(place)

    async def again(self, target: Target, name: str) -> None:
        """The same for one that the engine did not know though it was loaded. Raises: NotLoaded."""
        self._said.pop(_place(target, name), None)
        await self.ready(target, name)

    def forget_others(self, targets: Collection[str]) -> None:
        self._said = {place: said for place, said in self._said.items() if place[0] in targets}

    async def _called(self, place: Place) -> None:
        call = self._call(place)
        try:
            async with asyncio.timeout(self._settings.wake_seconds):
                await asyncio.shield(call)  # who leaves ends it for nobody else
        except TimeoutError:
            raise NotLoaded(f"it has not loaded the adapter within {self._settings.wake_seconds:g} s") from None

    def _call(self, place: Place) -> asyncio.Task[None]:
        call = self._calls.get(place)
        if call is None:
            call = self._calls[place] = asyncio.create_task(self._ask(place))
            call.add_done_callback(lambda done: self._done(place, done))
        return call

    def _done(self, place: Place, call: asyncio.Task[None]) -> None:
        del self._calls[place]
        if not call.cancelled() and (error := call.exception()) is not None:
            self._said.pop(place, None)
            log.warning("an adapter is not loaded", extra={"replica": place[0], "reason": str(error)})

    async def _ask(self, place: Place) -> None:
        """Raises: NotLoaded."""
        deadline = self._clock() + self._settings.wake_seconds
        body = json.dumps({"replica": place[0], "adapter": place[1]}).encode()
        while True:
            try:
                status, answer = await self._control.call("/adapter", body)
                break
            except ControlFailed as error:  # it is away, or loads still
                if self._clock() >= deadline:
                    raise NotLoaded("its adapter cannot be loaded now") from error
                await asyncio.sleep(AGAIN_SECONDS)
        if status != 200:
            raise NotLoaded(f"its adapter cannot be loaded: {json.loads(answer)['reason']}")
        self._said[place] = self._clock()


def _place(target: Target, name: str) -> Place:
    adapter = on(target, name)
    return target.id, served_as(name, adapter.digest) if adapter else name
