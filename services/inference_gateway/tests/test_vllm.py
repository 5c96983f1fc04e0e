"""What Gyre relies on of vLLM: asked of a small stand-in always, and of the real engine in `make test-all`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gyre_kit.peers import vllm_python
from gyre_kit.storage import ObjectStore
from gyre_kit.testing import eventually
from gyre_trainers.testing import stored, tiny_llama, tiny_lora

from services.inference_gateway.engines.base import Endpoint, HotAdapters
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.proxy.tests.support import free_port
from services.inference_gateway.tests import fake_vllm

START_SECONDS = 300


@dataclass
class Served:
    endpoint: Endpoint
    folder: Path
    process: asyncio.subprocess.Process


def stand_in(folder: Path) -> Path:
    """A Python beside which there is a `vllm`."""
    script = folder / "vllm"
    script.write_text(
        f"#!{sys.executable}\nimport runpy\nrunpy.run_path({fake_vllm.__file__!r}, run_name='__main__')\n"
    )
    script.chmod(0o755)
    return folder / "python"


@pytest.fixture(scope="module", params=[stand_in, pytest.param(vllm_python, marks=pytest.mark.peers)])
async def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """A tiny model, served by a replica as the launcher starts one."""
    folder = tmp_path_factory.mktemp("vllm")
    model = tiny_llama(folder / "tiny", ["the bus was late", "a crew will come"] * 20, hidden=256)
    for seed, name in enumerate(("maria", "otto")):
        tiny_lora(folder / name, model, seed=seed)
    store = f"file://{folder}/objects"
    uri = await stored(ObjectStore.from_url(store), model)
    port = free_port()
    spec: dict[str, Any] = {
        "python": str(request.param(folder)),
        "model_uri": uri,
        "model_name": "hotline",
        "object_store": store,
    }
    spec |= {"port": port, "parallel": 2, "context_size": 256, "drain_seconds": 5}
    (work := folder / "work").mkdir()
    (work / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, "-m", "services.inference_gateway.engine_vllm", "spec.json"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=work, env=environment, stdout=log, stderr=log)

        async def is_ready() -> bool:
            assert process.returncode is None, (folder / "log").read_text()[-3000:]
            return (work / "ready.json").exists()

        try:
            await eventually(is_ready, seconds=START_SECONDS)
            yield Served(Endpoint(f"http://127.0.0.1:{port}/v1", "hotline"), folder, process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def say(http: aiohttp.ClientSession, endpoint: Endpoint, model: str) -> tuple[int, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "the bus"}], "max_tokens": 8, "temperature": 0}
    async with http.post(f"{endpoint.base_url}/chat/completions", json=body) as reply:
        answer = await reply.json()
    return reply.status, answer["choices"][0]["message"]["content"] if reply.status == 200 else answer["error"]["type"]


async def test_it_answers_and_says_how_busy_it_is(served: Served) -> None:
    engine = ENGINES["vllm"]
    async with aiohttp.ClientSession() as http:
        assert (await engine.health(http, served.endpoint)).ready
        async with http.get(f"{served.endpoint.root_url}/metrics") as reply:
            names = await reply.text()
    assert all(f"vllm:num_requests_{state}" in names for state in ("running", "waiting"))


async def test_adapters_come_and_go_while_it_serves_and_each_is_a_model_of_its_own(served: Served) -> None:
    engine = ENGINES["vllm"]
    assert isinstance(engine, HotAdapters)
    async with aiohttp.ClientSession() as http:
        _, base = await say(http, served.endpoint, "hotline")
        assert await say(http, served.endpoint, "maria") == (404, "NotFoundError")
        for name in ("maria", "otto"):
            await engine.load_adapter(http, served.endpoint, name, str(served.folder / name))
        await engine.load_adapter(http, served.endpoint, "maria", str(served.folder / "maria"))  # it is there: fine
        said = [(await say(http, served.endpoint, name))[1] for name in ("maria", "otto")]
        assert len({base, *said}) == 3
        assert (await say(http, served.endpoint, "hotline"))[1] == base
        assert await engine.loaded_adapters(http, served.endpoint) == {"maria", "otto"}
        await engine.unload_adapter(http, served.endpoint, "maria")
        await engine.unload_adapter(http, served.endpoint, "maria")  # it is gone: fine
        assert await say(http, served.endpoint, "maria") == (404, "NotFoundError")
        with pytest.raises(aiohttp.ClientResponseError):
            await engine.load_adapter(http, served.endpoint, "nobody", str(served.folder / "nobody"))


async def test_a_signal_ends_it_with_the_engine_below(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(served.process.wait(), 60) == 0
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await say(http, served.endpoint, "hotline")
