"""The OpenAPI document: it says what the gateway serves, and what follows from it makes nothing break."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from services.inference_gateway.proxy import openapi, stored
from services.inference_gateway.proxy.gateway import MODELS, ROUTES
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import KEY, deployment
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, whole

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def any_engine(upstream, reader, writer, request):
    """Answers whatever is asked, as it was asked for."""
    path, _, body = request.partition(b"\r\n\r\n")
    if json.loads(body).get("stream"):
        parts = [piece("fine", finish="stop"), b"data: [DONE]\n\n"]
        writer.write(STREAM_HEAD + b"".join(map(chunked, parts)) + b"0\r\n\r\n")
    elif b"/apply-template" in path or b"/tokenize" in path:
        writer.write(whole(200, {"prompt": "x", "tokens": [1, 2]}))
    elif b"/embeddings" in path.partition(b"\r\n")[0]:
        writer.write(whole(200, {"object": "list", "model": "m", "data": [], "usage": {"total_tokens": 1}}))
    else:
        writer.write(whole(200, upstreams.reply()))
    await writer.drain()


def test_every_path_is_described():
    assert set(openapi.document()["paths"]) == {*ROUTES, f"{MODELS}/{{model}}", *stored.METHODS}


async def test_schemathesis_finds_no_5xx_and_nothing_that_is_not_described(start, tmp_path):
    document = openapi.document()
    document["components"]["schemas"] = json.loads(json.dumps(document["components"]["schemas"]).replace(
        json.dumps(openapi.MODEL), '{"enum": ["hotline"]}'
    ))  # fmt: skip
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    async with raw(any_engine) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.json", "--url", running.url,
            "--header", f"Authorization: Bearer {KEY}", "--checks", CHECKS, "--phases", "coverage,fuzzing",
            "--max-examples", "15", "--seed", "1", "--generation-database", "none", "--continue-on-failure",
            "--suppress-health-check", "all", "--exclude-path-regex", "^/v1/(files|batches)",  # tests/test_batches.py
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            said, _ = await asyncio.wait_for(process.communicate(), 240)
        finally:
            if process.returncode is None:
                process.kill()
        asked = len(engine.requests)
    assert process.returncode == 0, said.decode()[-6000:]
    assert asked > 20  # what was sent got through to the engine, too
