"""Real worker processes: started, killed, drained; what they were told to keep survives them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from openai import AsyncOpenAI
from prometheus_client import CollectorRegistry, generate_latest

from services.inference_gateway.proxy import compiling
from services.inference_gateway.proxy.control import FeedbackCall
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import Target, TargetState, write_snapshot
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import (
    KEY,
    deployment,
    eventually,
    free_port,
    nobody,
    snapshot_of,
    stores_nothing,
)
from services.inference_gateway.proxy.tests.test_completions import HELLO
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, whole
from services.inference_gateway.proxy.usage import UsageLine


class Home:
    """A pool, its folder, and a control plane that remembers."""

    def __init__(self, folder: Path, workers: int = 1, port: int = 0) -> None:
        self.paths = Paths(folder)
        self.port = port or free_port()
        self.registry = CollectorRegistry()
        self.stored: list[CompletionRecord] = []
        self.used: dict[str, list[UsageLine]] = {}
        self.down = False
        self.woken: list[str] = []
        self.clients: list[AsyncOpenAI] = []
        settings = ProxySettings(workers=workers, drain_seconds=10, usage_seconds=0.1)
        self.pool = ProxyPool(
            settings, self.paths, "127.0.0.1", self.port,
            record=self.record, store_usage=self.store_usage, on_feedback=self.on_feedback, on_spans=self.on_feedback,
            knows_key=nobody, on_stored=stores_nothing, on_wake=self.on_wake, registry=self.registry,
        )  # fmt: skip

    async def record(self, batch: list[CompletionRecord]) -> None:
        if self.down:
            raise ConnectionError("down")
        self.stored += batch

    async def store_usage(self, segment: str, lines: list[UsageLine]) -> None:
        if self.down:
            raise ConnectionError("down")
        self.used[segment] = lines

    async def on_feedback(self, call: FeedbackCall) -> tuple[int, Any]:
        return 200, {"project": call.project}

    async def on_wake(self, target: str) -> None:
        self.woken.append(target)

    async def route(self, *targets: Target, revision: int = 1) -> None:
        write_snapshot(self.paths.snapshot, snapshot_of([deployment(*targets)], revision=revision))
        await self.pool.until_revision(revision)

    def client(self, key: str = KEY) -> AsyncOpenAI:
        """Closed with the home."""
        self.clients.append(AsyncOpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key=key, max_retries=0))
        return self.clients[-1]

    async def ask(self, **options: Any) -> Any:
        return await self.client().chat.completions.create(**({"model": "hotline", "messages": HELLO} | options))


@pytest.fixture
async def home() -> AsyncIterator[Home]:
    async with at_home() as running:
        yield running


@asynccontextmanager
async def at_home(workers: int = 1) -> AsyncIterator[Home]:
    folder = Path(tempfile.mkdtemp(prefix="gyre-proxy-"))
    running = Home(folder, workers)
    async with running.pool:
        yield running
        for client in running.clients:
            await client.close()
    assert not [each for each in running.pool.pids if psutil.pid_exists(each)]
    shutil.rmtree(folder)


async def test_a_worker_answers_keeps_and_counts(home):
    async with raw(upstreams.answers("hi")) as engine:
        with pytest.raises(openai.InternalServerError, match="no routes yet"):
            await home.ask()
        await home.route(Target("t1", address=engine.address))
        answer = await home.ask()
        await eventually(lambda: home.stored)
    assert home.stored[0].id == answer.id and home.stored[0].answer == "hi"
    counted = 'gyre_gateway_requests_total{route="/v1/chat/completions",status="200"} 1.0'
    await eventually(lambda: counted in generate_latest(home.registry).decode())
    shown = generate_latest(home.registry).decode()
    assert "gen_ai_server_request_duration_seconds_bucket" in shown and "gyre_gateway_snapshot_revision 1.0" in shown


async def test_what_was_used_reaches_the_books_though_they_were_closed_for_a_while(home):
    async with raw(upstreams.answers("hi")) as engine:
        await home.route(Target("t1", version="3", address=engine.address, input_price=2, output_price=5))
        home.down = True
        for _ in range(2):
            await home.ask()
        await eventually(lambda: list(home.paths.usage.iterdir()))
        home.down = False
        await eventually(lambda: sum(line.request_count for lines in home.used.values() for line in lines) == 2)
    lines = [line for lines in home.used.values() for line in lines]
    assert {(line.api_key, line.deployment, line.target) for line in lines} == {
        ("projects/demo/keys/1", "projects/demo/deployments/hotline", "t1")
    }
    prompt, answer = (sum(getattr(line, f"{kind}_tokens") for line in lines) for kind in ("prompt", "completion"))
    assert prompt and answer and sum(line.cost_picousd for line in lines) == 2 * prompt + 5 * answer
    await eventually(lambda: not list(home.paths.usage.iterdir()))


async def test_feedback_passes_the_worker(home):
    await home.route()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{home.port}") as http:
        reply = await http.post("/v1/feedback", json={}, headers={"authorization": f"Bearer {KEY}"})
    assert reply.status_code == 200 and reply.json() == {"project": "demo"}
    assert os.stat(home.paths.control).st_mode & 0o777 == 0o600


async def test_a_worker_wakes_what_sleeps_and_tells_who_waits_for_it_and_how_long_they_waited_for_a_place(home):
    await home.route(Target("t1", state=TargetState.ASLEEP))
    asking = [asyncio.create_task(home.ask()) for _ in range(3)]
    await eventually(lambda: home.woken and home.pool.held("t1") == 3)
    async with raw(upstreams.answers("hi")) as engine:
        await home.route(Target("r1", address=engine.address, replica_of="t1", places=1), revision=2)
        assert [(await each).choices[0].message.content for each in asking] == ["hi"] * 3
        await eventually(lambda: home.pool.outcomes["t1"].all == 3)
    assert set(home.woken) == {"t1"}
    assert (home.pool.held("t1"), home.pool.waits["t1"].all) == (0, 2), "one place: two of three had to wait for it"


async def test_a_killed_worker_is_started_anew_and_meanwhile_nobody_is_refused(home):
    async with raw(upstreams.answers("hi")) as engine:
        await home.route(Target("t1", address=engine.address))
        (before,) = home.pool.pids
        os.kill(before, signal.SIGKILL)
        assert (await home.ask()).choices
        (after,) = home.pool.pids
    assert after != before


async def test_what_was_written_outlives_worker_and_control_plane(home):
    home.down = True
    async with raw(upstreams.answers("hi")) as engine:
        await home.route(Target("t1", address=engine.address))
        answers = [await home.ask() for _ in range(5)]
        await eventually(lambda: sum(each.read_bytes().count(b"\n") for each in home.paths.spool.glob("*.jsonl")) == 5)
        os.kill(home.pool.pids[0], signal.SIGKILL)
        home.down = False
        await eventually(lambda: len(home.stored) == 5)
    assert {each.id for each in home.stored} == {each.id for each in answers}


async def test_no_answer_whose_end_a_client_saw_is_lost_when_workers_are_killed(home):
    """Streamed and not, while answers are under way, three times: and nothing waits for a flush before."""
    stream = (STREAM_HEAD, chunked(piece("hi", finish="stop")), chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n")

    async def behave(upstream, reader, writer, request):
        parts = stream if b'"stream":true' in request else (whole(200, upstreams.reply("hi")),)
        writer.write(b"".join(parts))
        await writer.drain()

    seen: set[str] = set()

    async def ask_on(streams: bool, client: AsyncOpenAI) -> None:
        while not done.is_set():
            with suppress(openai.APIError):
                answer = await client.chat.completions.create(model="hotline", messages=HELLO, stream=streams)
                seen.add([each async for each in answer][-1].id if streams else answer.id)

    async with raw(behave) as engine:
        await home.route(Target("t1", address=engine.address))
        done = asyncio.Event()
        askers = [asyncio.create_task(ask_on(streams, home.client())) for streams in (True, False, True, False)]
        for _ in range(3):
            goal = len(seen) + 40
            await eventually(lambda: len(seen) >= goal, 30)  # noqa: B023 - called at once
            os.kill(home.pool.pids[0], signal.SIGKILL)
        done.set()
        await asyncio.gather(*askers)
    await eventually(lambda: seen <= {each.id for each in home.stored})
    assert len({each.id for each in home.stored}) == len(home.stored)


async def test_what_was_answered_outlives_a_kill_of_control_plane_and_worker_at_once(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from services.inference_gateway.proxy.processes import ProxyPool\n"
        "from services.inference_gateway.proxy.settings import Paths, ProxySettings\n"
        "async def down(*_): raise ConnectionError\n"
        "async def main():\n"
        "    pool = ProxyPool(ProxySettings(), Paths(Path(sys.argv[1])), '127.0.0.1', int(sys.argv[2]),"
        " record=down, store_usage=down, on_feedback=down, on_spans=down, knows_key=down, on_stored=down)\n"
        "    await pool.start()\n"
        "    await pool.until_revision(1)\n"
        "    print(pool.pids[0], flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    port = free_port()
    async with raw(upstreams.answers("hi")) as engine:
        write_snapshot(Paths(tmp_path).snapshot, snapshot_of([deployment(Target("t1", address=engine.address))]))
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path), str(port), stdout=asyncio.subprocess.PIPE, env=environment
        )
        worker = int(await parent.stdout.readline())
        home = Home(tmp_path, port=port)
        answers = [(await home.ask()).id for _ in range(20)]
        parent.kill()
        os.kill(worker, signal.SIGKILL)
        await parent.wait()
    async with home.pool:
        await eventually(lambda: len(home.stored) == 20)
    for client in home.clients:
        await client.close()
    assert sorted(each.id for each in home.stored) == sorted(answers)


async def test_a_target_is_drained_when_every_worker_knows_and_nothing_runs_on_it():
    go_on = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD + chunked(piece("a")))
        await go_on.wait()
        writer.write(chunked(piece("b", finish="stop")) + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with at_home(workers=2) as home, raw(behave) as old, raw(upstreams.answers("new")) as new:
        await home.route(Target("old", address=old.address))
        stream = await home.ask(stream=True)
        pieces = aiter(stream)
        await anext(pieces)
        await eventually(lambda: home.pool.in_flight("old") == 1)
        draining = Target("old", address=old.address, state=TargetState.DRAINING)
        await home.route(draining, Target("new", address=new.address), revision=2)
        assert not home.pool.drained("old", 2)
        assert (await home.ask()).choices[0].message.content == "new"
        go_on.set()
        assert [each.choices[0].delta.content async for each in pieces] == ["b"]  # not cut by the change
        await eventually(lambda: home.pool.drained("old", 2))


async def test_a_stopped_pool_lets_answers_end_and_stores_them():
    go_on = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD + chunked(piece("a")))
        await go_on.wait()
        writer.write(chunked(piece("b", finish="stop")) + chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async with raw(behave) as engine, at_home() as home:
        await home.route(Target("t1", address=engine.address))
        pieces = aiter(await home.ask(stream=True))
        await anext(pieces)
        stopping = asyncio.create_task(home.pool.stop())
        await asyncio.sleep(0)  # the signal is on its way
        go_on.set()
        assert [each.choices[0].delta.content async for each in pieces] == ["b"]
        await stopping
        assert [each.answer for each in home.stored] == ["ab"]


async def test_a_port_of_somebody_else_is_noticed(home):
    with pytest.raises(OSError, match="in use"):
        await ProxyPool(
            ProxySettings(), Paths(home.paths.folder / "second"), "127.0.0.1", home.port,
            record=home.record, store_usage=home.store_usage, on_feedback=home.on_feedback,
            on_spans=home.on_feedback, knows_key=nobody, on_stored=stores_nothing,
        ).start()  # fmt: skip


async def test_two_control_planes_do_not_share_one_home(home):
    with pytest.raises(OSError, match="another control plane"):
        await Home(home.paths.folder.parent).pool.start()
    await home.route()  # and the first has its control socket still


async def test_a_home_too_deep_for_a_socket_works(tmp_path):
    home = Home(tmp_path / ("deep" * 20) / ("deeper" * 10))
    async with home.pool:
        await home.route()
        with closing((await asyncio.open_connection("127.0.0.1", home.port))[1]):
            assert home.pool.pids


@pytest.mark.skipif(not compiling.environment(), reason="the hot path is not compiled: `make fast`")
async def test_workers_run_the_compiled_hot_path(home):
    await home.route()
    mapped = Path(f"/proc/{home.pool.pids[0]}/maps").read_text()
    assert compiling.environment()["GYRE_PROXY_COMPILED"] in mapped
