"""Files and batches, as the unmodified `openai` client sees them, on one platform for all tests in this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import openai
import pytest
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually, new_platform

from services.api_gateway import main as api_gateway
from services.api_gateway.settings import Settings as ApiGatewaySettings
from services.dataset import main as dataset
from services.dataset.settings import Settings as DatasetSettings
from services.inference_gateway.tests.batches.gateway import (
    Engine,
    Gyre,
    serving,
)

COMPONENTS = ("api_gateway", "dataset", "inference_gateway")


@pytest.fixture(scope="package")
def platform() -> Iterator[Platform]:
    """Of its own: a gateway that is a process of its own shares neither ports nor rows with other tests."""
    with new_platform() as started:
        yield started


@pytest.fixture(scope="package")
async def running(platform: Platform) -> AsyncIterator[Gyre]:
    await _fresh(platform)
    apps = [
        replace(api_gateway.app, settings=platform.settings(ApiGatewaySettings)),
        replace(dataset.app, settings=platform.settings(DatasetSettings)),
    ]
    engine = Engine()
    async with serving(engine), platform.serving(*apps):
        key, ports = (platform.home / "admin.key").read_text(), platform.settings()
        async with (
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{ports.console_port}/api/v1/projects/default",
                headers={"authorization": f"Bearer {key}"},
                timeout=20,
            ) as rest,
            openai.AsyncOpenAI(
                base_url=f"http://127.0.0.1:{ports.openai_port}/v1", api_key=key, max_retries=0, timeout=60
            ) as client,
        ):
            gyre = Gyre(platform, engine, client, rest)
            await gyre.start()
            await _deploy(gyre)
            yield gyre
            assert gyre.process is not None
            gyre.process.terminate()
            await gyre.process.wait()
    await _fresh(platform)


async def _fresh(platform: Platform) -> None:
    for component in COMPONENTS:
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)


@pytest.fixture
def gyre(running: Gyre) -> Gyre:
    for counter in (running.engine.asked, running.engine.answered, running.engine.order):
        counter.clear()
    running.engine.go.clear()
    return running


async def _deploy(gyre: Gyre) -> None:
    target = {
        "upstream_url": f"http://127.0.0.1:{gyre.engine.port}/v1",
        "upstream_model": "mock",
        "weight_percent": 100,
        "places": 2,
        "output_price_microusd": "1000000",
    }
    made = await gyre.rest.post("/deployments", json={"deployment_id": "mock", "targets": [target]})
    assert made.status_code == 200, made.text

    async def served() -> bool:
        try:
            return bool((await gyre.client.models.list()).data)
        except openai.APIError:
            return False

    await eventually(served)
