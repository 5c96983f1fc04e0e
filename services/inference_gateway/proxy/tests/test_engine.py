"""The replica's main: what it refuses, and how it ends. That it answers, test_real_engine.py shows."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
from pathlib import Path

import httpx
import pytest

from services.inference_gateway.proxy.tests.support import eventually, free_port, model_file


async def launch(folder: Path, **spec: object) -> asyncio.subprocess.Process:
    (folder / "spec.json").write_text(json.dumps(spec))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "services.inference_gateway.engine", str(folder / "spec.json")]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stderr=pipe)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "port"),
        ({"port": 1}, "give either model_path or model_uri"),
        ({"port": 1, "model_path": "nothing.gguf"}, "No such file"),
        ({"port": 1, "model_path": "spec.json"}, "no GGUF file"),
        ({"port": 1, "model_path": "half.gguf"}, "header of half.gguf cannot be read"),
        ({"port": 1, "model_path": "bad.gguf"}, "cannot load bad.gguf"),
        ({"port": 1, "model_path": "bad.gguf", "model_digest": "sha256:0"}, "not sha256:0"),
        ({"port": 1, "model_uri": "gyre://a/b.gguf"}, "model_uri needs object_store"),
    ],
)
async def test_a_bad_spec_or_model_ends_with_64_and_says_what_is_wrong(tmp_path, spec, says):
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    (tmp_path / "half.gguf").write_bytes(b"GGUF and then nothing")
    process = await launch(tmp_path, **spec)
    _, said = await process.communicate()
    assert process.returncode == 64 and says in said.decode(), said.decode()[-1000:]


async def test_sigterm_lets_the_running_answer_end_and_the_model_comes_from_the_object_store(tmp_path):
    store = tmp_path / "objects" / "registry"
    store.mkdir(parents=True)
    (store / "m.gguf").symlink_to(model_file())
    port = free_port()
    process = await launch(
        tmp_path, port=port, model_uri="gyre://registry/m.gguf", object_store=f"file://{tmp_path}/objects", parallel=1,
        context_size=512, threads=1, model_name="hotline", drain_seconds=240, attempt=1,
    )  # fmt: skip
    base = f"http://127.0.0.1:{port}"
    drain = asyncio.create_task(process.stderr.read())
    await eventually(lambda: (tmp_path / "ready.json").exists() or drain.done(), seconds=120)
    async with httpx.AsyncClient(base_url=base, timeout=120) as http:
        assert (await http.get("/v1/models")).json()["data"][0]["id"] == "hotline"
        body = {"messages": [{"role": "user", "content": "Count to ten."}], "max_tokens": 12, "temperature": 0}
        async with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as reply:
            lines = aiter(reply.aiter_lines())
            await anext(lines)
            process.terminate()
            said = [line async for line in lines]
    assert said[-2] == "data: [DONE]" or said[-1] == "data: [DONE]"
    assert await process.wait() == 0
    await drain
