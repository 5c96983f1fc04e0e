"""The HTTP server beside gRPC, in the same loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import uvicorn
from gyre_kit.app import Context
from gyre_kit.auth import ALL_PROJECTS, Identity, Role, acting_as

from services.api_gateway import service
from services.api_gateway.identities import Identities
from services.api_gateway.rest.app import make_app


class _Server(uvicorn.Server):
    """The process has its own signal handling (`gyre_kit.app`)."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving_http(context: Context) -> AsyncIterator[None]:
    """First start: the project `default` and its key. Then REST and console, until the service stops."""
    context.state["identities"] = Identities(context)
    await _first_start(context)
    async with aiohttp.ClientSession() as http:
        context.state["http"] = http
        config = uvicorn.Config(
            make_app(lambda: context),
            host=context.settings.bind,
            port=context.settings.console_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            server_header=False,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(), name="api_gateway.http")
        while not server.started and not task.done():  # noqa: ASYNC110  (uvicorn has a flag, no event)
            await asyncio.sleep(0.02)
        if task.done():
            task.result()
        try:
            yield
        finally:
            server.should_exit = True
            await asyncio.wait([task], timeout=5)


async def _first_start(context: Context) -> None:
    settings = context.settings
    secret = service.load_console_secret(settings.keys_folder / "console.secret")
    with acting_as(Identity("services/api_gateway", ALL_PROJECTS, Role.ADMIN)):
        async with context.db.transaction() as session:
            await service.set_up(session, settings.resolved_home / "admin.key", secret)
