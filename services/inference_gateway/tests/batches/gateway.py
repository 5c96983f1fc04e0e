"""A gateway in a process of its own, that can be killed, and an engine that counts what it is asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import psutil
import sqlalchemy as sa
from aiohttp import web
from gyre_kit.testing import Platform, eventually
from gyre_sdk import Gyre as Sdk
from sqlalchemy.ext.asyncio import create_async_engine

from services.inference_gateway.proxy.tests.upstreams import reply

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
        assert self.process is not None
        log = self.platform.home / "logs" / "gateway.log"
        assert self.process.returncode is None, log.read_text()[-2000:]
        try:
            async with httpx.AsyncClient() as http:
                url = f"http://127.0.0.1:{self.platform.settings().openai_port}/health"
                return (await http.get(url)).status_code == 200
        except httpx.TransportError:
            return False

    async def waiting(self, count: int) -> bool:
        """Whether so many requests wait for a place at the engine, as the gateway's own metrics have it."""
        async with httpx.AsyncClient() as http:
            port = self.platform.settings().metrics_port("inference_gateway")
            shown = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
        lines = [each for each in shown.splitlines() if each.startswith("gyre_gateway_requests_waiting{")]
        return sum(float(each.rsplit(" ", 1)[1]) for each in lines) == count

    async def kill(self, *, control_plane: bool) -> None:
        """With SIGKILL: the control plane, with whom its workers go, or a worker alone."""
        assert self.process is not None
        worker = next(
            each for each in psutil.Process(self.process.pid).children() if "proxy.worker" in str(each.cmdline())
        )
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
        patient = self.client.with_options(max_retries=3)  # a worker that is killed takes its connections along

        async def look() -> Any:
            found = await patient.batches.retrieve(batch.id)
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


async def spent_by(gyre: Gyre, key: str) -> int:
    """Tokens of a key that has a limit (others are counted less exactly), once nothing is under way."""

    async def look() -> Any:
        said = (await gyre.rest.get("/spending")).json()["keys"]
        return next((each for each in said if each["name"] == key and each["running_request_count"] == "0"), None)

    return int((await eventually(look))["tokens"])


async def ready(truth: bool) -> bool:
    return truth


def sdk_of(gyre: Gyre) -> Sdk:
    url = f"http://127.0.0.1:{gyre.platform.settings().console_port}"
    return Sdk(url=url, key=gyre.client.api_key, project="default")
