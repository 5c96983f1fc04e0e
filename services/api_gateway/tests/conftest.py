from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from gyre_kit.testing import Platform, session_of

from services.api_gateway import main
from services.api_gateway.settings import Settings
from services.feedback import main as feedback_main
from services.feedback.settings import Settings as FeedbackSettings

session = session_of("api_gateway")


@pytest.fixture(scope="module")
async def http(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """The REST API of a platform with two of its services, asked with the first administrator's key."""
    await _fresh(platform)
    gateway = replace(main.app, settings=platform.settings(Settings))
    feedback = replace(feedback_main.app, settings=platform.settings(FeedbackSettings))
    async with platform.serving(gateway, feedback):
        key = (platform.home / "admin.key").read_text()
        base = f"http://127.0.0.1:{platform.settings().console_port}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=20) as client:
            yield client
    await _fresh(platform)


async def _fresh(platform: Platform) -> None:
    from gyre_kit import migrate

    for component in ("api_gateway", "feedback"):
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
