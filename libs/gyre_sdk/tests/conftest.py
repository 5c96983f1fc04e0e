"""A platform with three of its services, and a client that asks it over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gyre_kit import migrate
from gyre_kit.testing import Platform
from gyre_sdk import Gyre

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.dataset import main as dataset_main
from services.dataset.settings import Settings as DatasetSettings
from services.feedback import main as feedback_main
from services.feedback.settings import Settings as FeedbackSettings

SERVED = ((gateway_main, GatewaySettings), (dataset_main, DatasetSettings), (feedback_main, FeedbackSettings))


@pytest.fixture(scope="module")
async def served(platform: Platform) -> AsyncIterator[Platform]:
    await _empty(platform)
    apps = [replace(main.app, settings=platform.settings(settings)) for main, settings in SERVED]
    async with platform.serving(*apps):
        yield platform
    await _empty(platform)


@pytest.fixture
def gyre(served: Platform) -> Iterator[Gyre]:
    """As the first administrator. It blocks, so tests call it by `asyncio.to_thread`: the services run in this loop."""
    with Gyre(url=rest_url(served), key=(served.home / "admin.key").read_text()) as client:
        yield client


def rest_url(platform: Platform) -> str:
    return f"http://127.0.0.1:{platform.settings().console_port}"


async def _empty(platform: Platform) -> None:
    for main, _ in SERVED:
        component = main.app.component
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
