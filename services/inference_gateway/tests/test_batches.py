"""Files and batches, as the unmodified `openai` client sees them: a gateway in a process of its own, that can be killed,
and an engine that counts what it is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
import sqlalchemy as sa
from aiohttp import web
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually
from sqlalchemy.ext.asyncio import create_async_engine

from services.api_gateway import main as api_gateway
from services.api_gateway.settings import Settings as ApiGatewaySettings
from services.dataset import main as dataset
from services.dataset.settings import Settings as DatasetSettings
from services.inference_gateway.proxy.tests.upstreams import reply

COMPONENTS = ("api_gateway", "dataset", "inference_gateway")
ENDPOINT = "/v1/chat/completions"
ENDED = ("completed", "failed", "cancelled", "expired")


@dataclass
class Engine:
    """Answers `answer to <prompt>`. `asked` counts prompts, `answered` what went out whole; a prompt may name a
    misfortune: `slow` waits until `go`, `refused` is wrong, `flaky` fails once."""

    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "mock", "object": "model"}]})

    async def chat(self, request: web.Request) -> web.Response:
        prompt = (await request.json())["messages"][-1]["content"]
        self.asked[prompt] += 1
        self.order.append(prompt)
        if prompt.startswith("slow"):
            await self.go.wait()
        if prompt.startswith("refused"):
            return web.json_response({"error": {"message": "no such thing", "code": "bad_thing"}}, status=400)
        if prompt.startswith("flaky") and self.asked[prompt] == 1:
            return web.json_response({"error": {"message": "broke"}}, status=500)
        self.answered[prompt] += 1
        return web.json_response(reply(f"answer to {prompt}"))


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/v1/models", engine.models)
    app.router.add_post(ENDPOINT, engine.chat)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine.port = site._server.sockets[0].getsockname()[1]
    yield
    await runner.cleanup()


@dataclass
class Gyre:
    """A platform of three services, one of which is a process of its own."""

    platform: Platform
    engine: Engine
    client: openai.AsyncOpenAI
    rest: httpx.AsyncClient
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "GYRE_BATCH_CONCURRENCY": "4"}
        command = (sys.executable, "-m", "services.inference_gateway.main")
        log = (self.platform.home / "logs" / "gateway.log").open("ab")
        self.process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=log, stderr=log)
        await eventually(self.serves, seconds=60)

    async def serves(self) -> bool:
        assert self.process is not None and self.process.returncode is None
        try:
            async with httpx.AsyncClient() as http:
                url = f"http://127.0.0.1:{self.platform.settings().openai_port}/health"
                return (await http.get(url)).status_code == 200
        except httpx.TransportError:
            return False

    async def kill(self, *, control_plane: bool) -> None:
        """With SIGKILL: the control plane, with whom its workers go, or a worker alone."""
        assert self.process is not None
        worker = next(each for each in psutil.Process(self.process.pid).children() if "proxy.worker" in str(each.cmdline()))
        os.kill(self.process.pid if control_plane else worker.pid, signal.SIGKILL)
        if control_plane:
            await self.process.wait()

    async def upload(self, *prompts: str, client: openai.AsyncOpenAI | None = None, **body: Any) -> str:
        content = b"".join(line(f"id-{number}", prompt, **body) for number, prompt in enumerate(prompts, 1))
        file = await (client or self.client).files.create(file=("in.jsonl", content), purpose="batch")
        return file.id

    async def batch(self, *prompts: str) -> Any:
        return await self.of_file(await self.upload(*prompts))

    async def of_file(self, file_id: str, **options: Any) -> Any:
        given = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"} | options
        return await self.client.batches.create(**given)

    async def ended(self, batch: Any, seconds: float = 60) -> Any:
        async def look() -> Any:
            found = await self.client.batches.retrieve(batch.id)
            return found if found.status in ENDED else None

        return await eventually(look, seconds)

    async def lines(self, file_id: str | None) -> dict[str, Any]:
        """By custom_id; each comes once."""
        if not file_id:
            return {}
        content = await self.client.files.content(file_id)
        found = [json.loads(each) for each in content.text.splitlines()]
        assert len({each["custom_id"] for each in found}) == len(found)
        return {each["custom_id"]: each for each in found}

    async def sql(self, statement: str, **given: Any) -> None:
        engine = create_async_engine(self.platform.settings().database_url_of("inference_gateway"))
        async with engine.begin() as connection:
            await connection.execute(sa.text("SELECT set_config('gyre.project', '*', true)"))
            await connection.execute(sa.text(statement), given)
        await engine.dispose()


def line(custom_id: str, prompt: str, **body: Any) -> bytes:
    fields = {"model": "mock", "messages": [{"role": "user", "content": prompt}]} | body
    return (json.dumps({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": fields}) + "\n").encode()


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Gyre]:
    for component in COMPONENTS:
        await migrate.upgrade(platform.settings().database_url_of(component), component)
        await platform.empty(component)
    Path(platform.home / "admin.key").unlink(missing_ok=True)
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


async def test_every_line_is_answered_and_the_files_say_how(gyre: Gyre) -> None:
    batch = await gyre.batch("one", "refused", "flaky", "four")
    assert batch.status == "validating" and batch.request_counts.total == 0
    done = await gyre.ended(batch)
    counts = done.request_counts
    assert (done.status, counts.total, counts.completed, counts.failed) == ("completed", 4, 3, 1)
    assert done.in_progress_at <= done.finalizing_at <= done.completed_at < done.expires_at
    answers = await gyre.lines(done.output_file_id)
    said = {name: each["response"]["body"]["choices"][0]["message"]["content"] for name, each in answers.items()}
    assert said == {"id-1": "answer to one", "id-3": "answer to flaky", "id-4": "answer to four"}
    (wrong,) = (await gyre.lines(done.error_file_id)).values()
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("id-2", 400)
    assert wrong["response"]["body"]["error"]["code"] == "bad_thing"
    assert gyre.engine.asked == {"one": 1, "refused": 1, "flaky": 2, "four": 1}
