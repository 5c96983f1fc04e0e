"""A control plane that is killed: its workers serve on by what they know, and its successor takes over without a gap."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil
import pytest

from services.inference_gateway.proxy.settings import Paths
from services.inference_gateway.proxy.snapshot import Target, write_snapshot
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment, eventually, free_port, snapshot_of
from services.inference_gateway.proxy.tests.test_completions import DONE, END, HELLO
from services.inference_gateway.proxy.tests.test_processes import Home
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw

PARENT = """
import asyncio, sys
from pathlib import Path
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.settings import Paths, ProxySettings

async def down(*_):
    raise ConnectionError

async def main():
    folder, port, alone_seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    pool = ProxyPool(
        ProxySettings(usage_seconds=0.1, alone_seconds=alone_seconds), Paths(folder), "127.0.0.1", port,
        record=down, store_usage=down, on_feedback=down, on_spans=down, knows_key=down, on_stored=down,
    )
    await pool.start()
    await pool.until_revision(1)
    print(pool.pids[0], flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@dataclass
class Orphan:
    """A worker whose control plane was killed, and the home that it has."""

    home: Home
    process: psutil.Process


@asynccontextmanager
async def orphan(folder: Path, target: Target, alone_seconds: float = 60) -> AsyncIterator[Orphan]:
    """Nothing of the control plane's works, and then it is dead."""
    write_snapshot(Paths(folder).snapshot, snapshot_of([deployment(target)]))
    home = Home(folder, port=free_port())
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PARENT, str(folder), str(home.port), str(alone_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:  # noqa: ASYNC220
        assert parent.stdout is not None
        worker = psutil.Process(int(await asyncio.to_thread(parent.stdout.readline)))
        parent.kill()
    try:
        yield Orphan(home, worker)
    finally:
        for client in home.clients:
            await client.close()
        if worker.is_running():
            worker.kill()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


async def test_requests_go_on_and_keys_and_limits_are_still_checked(tmp_path):
    async with raw(upstreams.answers("hi")) as engine, orphan(tmp_path, Target("t1", address=engine.address)) as left:
        await asyncio.sleep(0.2)  # it has noticed
        for _ in range(5):
            assert (await left.home.ask()).choices
        limited, revoked = left.home.client("gyre-limited"), left.home.client("gyre-revoked")
        asked = {"model": "hotline", "messages": HELLO}
        for _ in range(2):
            await limited.chat.completions.create(**asked)
        with pytest.raises(openai.RateLimitError):
            await limited.chat.completions.create(**asked)
        with pytest.raises(openai.AuthenticationError):
            await revoked.chat.completions.create(**asked)
        with pytest.raises(openai.AuthenticationError):
            await left.home.client("gyre-unknown").chat.completions.create(**asked)
        assert not is_gone(left.process)


async def test_a_successor_takes_over_and_no_request_and_no_stream_breaks(tmp_path):
    go_on = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        if b'"stream":true' not in request:
            await upstreams.answers("hi")(upstream, reader, writer, request)
            return
        writer.write(STREAM_HEAD + chunked(piece("a")))
        await go_on.wait()
        writer.write(chunked(piece("b", finish="stop")) + chunked(DONE) + END)

    async with raw(behave) as engine, orphan(tmp_path, Target("t1", address=engine.address)) as left:
        home, answered, done = left.home, [], asyncio.Event()
        stream = aiter(await home.ask(stream=True))
        begun = await anext(stream)

        async def keep_asking() -> None:
            while not done.is_set():
                answered.append((await home.ask()).id)

        asking = [asyncio.create_task(keep_asking()) for _ in range(2)]
        await eventually(lambda: len(answered) > 10)
        async with home.pool:
            assert home.pool.pids != [left.process.pid]
            so_far = len(answered)
            await eventually(lambda: len(answered) > so_far + 50, 60)
            assert not home.pool.drained("t1", 1), "the worker that was left still has a stream"
            done.set()
            await asyncio.gather(*asking)
            go_on.set()
            assert [each.choices[0].delta.content async for each in stream] == ["b"]
            await eventually(lambda: is_gone(left.process), 30)
            await eventually(lambda: {*answered, begun.id} <= {each.id for each in home.stored})
            lines = lambda: [line for lines in home.used.values() for line in lines]
            await eventually(lambda: sum(line.request_count for line in lines()) == len(answered) + 1, 60)
    assert len(home.stored) == len(answered) + 1


async def test_prompts_that_left_meanwhile_are_counted_once(tmp_path):
    target = lambda address: Target("t1", upstream_url=f"http://{address}/v1", sent_to="rented", region="us")
    async with raw(upstreams.answers("hi")) as engine, orphan(tmp_path, target(engine.address)) as left:
        for _ in range(3):
            await left.home.ask()
        async with left.home.pool as pool:
            await eventually(lambda: is_gone(left.process))
            assert dict(pool.sent_out) == {("demo", "rented", "us"): 3}


async def test_one_that_nobody_takes_over_ends_after_a_while_or_when_its_home_is_gone(tmp_path):
    async with orphan(tmp_path / "one", Target("t1", address="127.0.0.1:9"), alone_seconds=0.1) as left:
        await eventually(lambda: is_gone(left.process))
    async with orphan(tmp_path / "two", Target("t1", address="127.0.0.1:9")) as left:
        (tmp_path / "two").rename(tmp_path / "three")
        await eventually(lambda: is_gone(left.process))


async def test_in_a_deep_home_the_successor_is_found_too(tmp_path):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 10)
    async with orphan(folder, Target("t1", address="127.0.0.1:9")) as left, left.home.pool:
        await eventually(lambda: is_gone(left.process), 30)
