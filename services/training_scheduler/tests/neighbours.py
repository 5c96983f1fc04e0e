"""The other services at their addresses, with a wire that can lose replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from gyre_kit.storage import ObjectStore
from gyre_kit.testing import Platform

from services.training_scheduler.tests.fakes import SERVICES
from services.training_scheduler.tests.world import World


class Wire(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Counts calls, and loses the first reply of those that a test names."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        method = details.method.rsplit("/", 1)[-1]

        async def call(request: Any, context: Any) -> Any:
            self.world.calls[method] += 1
            reply = await handler.unary_unary(request, context)
            if method in self.world.lose:
                self.world.lose.discard(method)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
            return reply

        return handler and handler._replace(unary_unary=call)


@asynccontextmanager
async def neighbours(platform: Platform, world: World) -> AsyncIterator[None]:
    """The other six, at their addresses."""
    settings = platform.settings()
    world.store = ObjectStore.from_url(settings.object_store_url)
    async with AsyncExitStack() as stack:
        for component, servicers in SERVICES.items():
            server = grpc.aio.server(interceptors=[Wire(world)], options=[("grpc.so_reuseport", 0)])
            for add, fake in servicers:
                add(fake(world), server)
            server.add_insecure_port(settings.grpc_listen(component))
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield
        await asyncio.sleep(0)
