"""A service says SERVING when all of it does, and not a moment before."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from gyre_kit.app import App, Context
from gyre_kit.testing import Platform, eventually

from deploy.local import probes
from services.feedback import main as feedback
from services.feedback.settings import Settings


async def test_health_says_serving_only_when_the_service_is_warm(platform: Platform) -> None:
    warm = asyncio.Event()

    async def until_warm(context: Context) -> None:
        await warm.wait()

    app: App = replace(feedback.app, settings=platform.settings(Settings), warm_up=until_warm)
    address = app.settings.grpc_address(app.component)

    async def look() -> None:
        try:
            await eventually(lambda: _says(address, "NOT_SERVING"))
        finally:
            warm.set()

    looking = asyncio.create_task(look())
    async with platform.serving(app):
        await looking
        assert await probes.health(address) == "SERVING"


async def _says(address: str, state: str) -> bool:
    said = await probes.health(address)
    assert said in (state, "UNREACHABLE")
    return said == state
