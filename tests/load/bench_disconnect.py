"""How long after a client left its engine is rid of the request: `pytest -m benchmark tests/load/bench_disconnect.py`.

A worker of its own, mock engine, one after another: half of the clients leave in mid-stream, half before the first byte.
The numbers go to tests/load/out/disconnect.json.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.test_faults import STREAM_REQUEST
from services.inference_gateway.proxy.tests.test_processes import at_home
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw

OUT = Path(__file__).with_name("out") / "disconnect.json"
TIMES = 1000


@pytest.mark.benchmark
async def test_how_fast_a_client_that_leaves_ends_its_engines_work() -> None:
    asked: asyncio.Queue[None] = asyncio.Queue()
    rid: asyncio.Queue[float] = asyncio.Queue()
    streams = False

    async def behave(upstream, reader, writer, request):  # type: ignore[no-untyped-def]
        if streams:
            writer.write(STREAM_HEAD + chunked(piece("half")))
        asked.put_nowait(None)
        try:
            await upstreams.silence(upstream, reader, writer, request)
        finally:
            rid.put_nowait(time.perf_counter())

    took: list[float] = []
    async with at_home() as home, raw(behave) as engine:
        await home.route(Target("t1", address=engine.address))
        for number in range(TIMES):
            streams = number % 2 == 0
            reader, writer = await asyncio.open_connection("127.0.0.1", home.port)
            writer.write(STREAM_REQUEST)
            await asked.get()
            if streams:
                await reader.readuntil(b"half")
            left = time.perf_counter()
            writer.transport.abort() if number % 4 < 2 else writer.close()
            took.append((await rid.get() - left) * 1000)
    took.sort()
    found = (
        {"times": TIMES} | {f"p{share}_ms": took[TIMES * share // 100] for share in (50, 90, 99)} | {"max_ms": took[-1]}
    )
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))
