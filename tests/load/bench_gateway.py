"""What the gateway costs: the same requests direct, through it, and through a plain FastAPI + aiohttp pass-through.

    python tests/load/bench_gateway.py [--seconds 5] [--rounds 3] [--connections 16] [--out tests/load/out/gateway.json]
                                       [--vllm-router PATH]

`--vllm-router` takes the program of that name (package vllm-router, in an environment of its own) as one more peer.

One process each: a mock engine that answers at once, the proxy under test, the load. The proxy has the first core, the
others share the second, so that the proxy is what is measured. Rounds take turns, for a machine is never quite idle;
the median round is shown, and CPU time for each request, which a busy neighbour changes least. Numbers are written to
a file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import aiohttp
import httptools
import psutil
import uvloop
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.proxy.errors import unknown_path
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import (
    NO_LIMITS,
    Deployment,
    Key,
    Project,
    Target,
    make_snapshot,
    write_snapshot,
)

KEY = "bench-key"
LIMITED, ROUTER = "gateway, limiting all", "vLLM's router"
PIECES = 16
FAR_LIMITS = Limits(10**9, 10**9, 10**6, 10**15, 10**12)  # checked for each request, and reached by none
MESSAGES = [{"role": "system", "content": "You sort messages."}, {"role": "user", "content": "A lamp is broken. " * 8}]
USAGE = {"prompt_tokens": 60, "completion_tokens": PIECES, "total_tokens": 60 + PIECES}
SHARED = {"id": "chatcmpl-mock", "created": 1, "model": "mock", "system_fingerprint": "b0"}


def request_bytes(port: int, stream: bool) -> bytes:
    body = json.dumps({"model": "mock", "messages": MESSAGES, "temperature": 0, "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {KEY}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


# -- the engine: fixed bytes, at once --------------------------------------------------------------------------------


def whole_reply() -> bytes:
    message = {"role": "assistant", "content": '{"department": "lighting", "urgency": "low"}'}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps(SHARED | {"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    return f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def stream_reply() -> bytes:
    """One chunk a token, as engines send them."""
    pieces: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]} for _ in range(PIECES)
    ]
    pieces += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}]
    lines = [json.dumps(SHARED | {"object": "chat.completion.chunk"} | each) for each in pieces] + ["[DONE]"]
    chunks = b"".join(b"%x\r\ndata: %b\n\n\r\n" % (len(line) + 8, line.encode()) for line in lines)
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        + chunks
        + (b"0\r\n\r\n")
    )


class MockEngine(asyncio.Protocol):
    WHOLE, STREAM = whole_reply(), stream_reply()

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser, self.body = transport, httptools.HttpRequestParser(self), b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        streamed = b'"stream": true' in self.body or b'"stream":true' in self.body
        self.body = b""
        self.transport.write(self.STREAM if streamed else self.WHOLE)


# -- the load: each connection asks again as soon as it was answered -------------------------------------------------


class Caller(asyncio.Protocol):
    """One connection that asks again when it is answered, or `gap` seconds after it asked before."""

    def __init__(self, request: bytes, latencies: list[float], gap: float = 0.0) -> None:
        self.request, self.latencies, self.gap, self.going = request, latencies, gap, True
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser = transport, httptools.HttpResponseParser(self)
        self.ask()

    def ask(self) -> None:
        self.asked = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.parser.get_status_code() != 200:
            raise RuntimeError(f"status {self.parser.get_status_code()}")
        self.latencies.append(time.perf_counter() - self.asked)
        if not self.going:
            self.transport.close()
        elif self.gap:
            asyncio.get_running_loop().call_later(max(0.0, self.asked + self.gap - time.perf_counter()), self.ask)
        else:
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


async def load(port: int, connections: int, seconds: float, stream: bool, rate: float) -> dict[str, float]:
    """`rate`: requests a second, evenly over the connections; 0: each as soon as the one before is answered."""
    latencies: list[float] = []
    loop, request = asyncio.get_running_loop(), request_bytes(port, stream)
    callers = [Caller(request, latencies, connections / rate if rate else 0.0) for _ in range(connections)]
    for caller in callers:
        await asyncio.sleep(1 / rate if rate else 0)
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(0.5)  # warm
    latencies.clear()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed, done = time.perf_counter() - started, sorted(latencies)
    for caller in callers:
        caller.going = False
    await asyncio.wait_for(asyncio.gather(*(caller.gone for caller in callers)), 30)
    p50, p99 = done[len(done) // 2], done[int(len(done) * 0.99)]
    return {"count": len(done), "per_second": len(done) / elapsed, "p50_ms": p50 * 1000, "p99_ms": p99 * 1000}


# -- the parts as processes ------------------------------------------------------------------------------------------


def pass_through(engine: int) -> Any:
    """What one would write first: FastAPI, aiohttp's client, no keys, no limits, no records."""
    app = FastAPI()
    sessions: list[aiohttp.ClientSession] = []

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> StreamingResponse:
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=128)))
        body = await request.body()
        reply = await sessions[0].post(f"http://127.0.0.1:{engine}/v1/chat/completions", data=body)
        kind = reply.headers["content-type"]
        return StreamingResponse(reply.content.iter_any(), status_code=reply.status, media_type=kind)

    return app


def serve_part(part: str, port: int, engine: int) -> None:
    if part == "fastapi":
        import uvicorn

        uvicorn.run(pass_through(engine), port=port, loop="uvloop", http="httptools", log_level="warning")
        return

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(MockEngine, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(serve())


def start_part(part: str, port: int, engine: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--part", part, "--port", str(port), "--engine", str(engine)])


@asynccontextmanager
async def gateway(
    port: int,
    engine: int,
    home: Path,
    keeps: bool = False,
    limits: Limits = NO_LIMITS,
    marks: bool = False,
    settings: ProxySettings | None = None,
) -> AsyncIterator[int]:
    """A real pool with one worker; its pid. With `keeps`, every completion goes through the spool, with `marks` in place
    of personal data; with `limits`, every request through the ledger."""

    async def record(batch: list[Any]) -> None:
        """The cost of storing is the control plane's."""

    async def no_feedback(call: Any) -> tuple[int, Any]:
        return 200, {}

    paths = Paths(home)
    target = Target("t1", version="1", address=f"127.0.0.1:{engine}", upstream_model="mock")
    keys = {sha256(KEY.encode()).hexdigest(): Key(name="projects/bench/keys/1", project="bench", limits=limits)}
    snapshot = make_snapshot(
        1, keys, {"bench": Project(keeps, keeps_personal_data=not marks)}, [Deployment("mock", "bench", (target,))]
    )

    async def nobody(digest: str) -> bool:
        return False

    async def nothing_stored(call: Any, reply: Any) -> None:
        raise unknown_path(call.path)

    async def store_usage(segment: str, lines: Any) -> None:
        """Likewise."""

    pool = ProxyPool(
        settings or ProxySettings(), paths, "127.0.0.1", port,
        record=record, store_usage=store_usage, on_feedback=no_feedback, on_spans=no_feedback, knows_key=nobody,
        on_stored=nothing_stored,
    )  # fmt: skip
    async with pool:
        write_snapshot(paths.snapshot, snapshot)
        await pool.until_revision(1)
        yield pool.pids[0]


def start_router(program: Path, port: int, engine: int) -> subprocess.Popen[bytes]:
    """vLLM's router with one worker thread, as it comes otherwise."""
    command = [str(program), "--worker-urls", f"http://127.0.0.1:{engine}", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(free_ports(1)[0])]
    return subprocess.Popen(command, env=os.environ | {"TOKIO_WORKER_THREADS": "1"}, stdout=subprocess.DEVNULL)


async def until_listening(port: int) -> None:
    for _ in range(1200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def pin(pid: int, core: int) -> None:
    cores = sorted(os.sched_getaffinity(0) if pid else [])
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core]})


async def measure(
    name: str, port: int, pid: int, options: argparse.Namespace, stream: bool, rate: float = 0
) -> dict[str, float]:
    """One round, by a load process of its own, so that its garbage is not ours."""
    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    command = [sys.executable, __file__, "--part", "load", "--port", str(port)]
    command += ["--seconds", str(options.seconds), "--connections", str(options.connections), "--rate", str(rate)]
    child = await asyncio.create_subprocess_exec(
        *command, *(["--stream"] if stream else []), stdout=asyncio.subprocess.PIPE
    )
    pin(child.pid, 1)
    out, _ = await child.communicate()
    result: dict[str, float] = json.loads(out)
    cpu = sum(process.cpu_times()[:2]) - before  # warming and all, so a little too much
    result["cpu_us_per_request"] = cpu / result.pop("count") * 1e6
    result["memory_mib"] = process.memory_info().rss / 2**20
    print(f"  {name:24} {result['per_second']:9.0f}/s  p50 {result['p50_ms']:7.3f} ms  p99 {result['p99_ms']:7.3f} ms"
          f"  {result['cpu_us_per_request']:6.0f} µs CPU", file=sys.stderr)  # fmt: skip
    return result


async def run(options: argparse.Namespace) -> dict[str, Any]:
    engine_port, plain_port, lean_port, keeping_port, limited_port, router_port = free_ports(6)
    home = Path(tempfile.mkdtemp(prefix="gyre-bench-"))
    engine, plain = start_part("engine", engine_port, 0), start_part("fastapi", plain_port, engine_port)
    parts = [engine, plain]
    try:
        await until_listening(engine_port)
        if options.vllm_router:
            parts.append(start_router(options.vllm_router, router_port, engine_port))
        for port in (plain_port, router_port)[: len(parts) - 1]:
            await until_listening(port)
        async with (
            gateway(lean_port, engine_port, home / "a") as lean,
            gateway(keeping_port, engine_port, home / "b", keeps=True) as keeping,
            gateway(limited_port, engine_port, home / "c", limits=FAR_LIMITS) as limited,
        ):
            cases = {
                "direct": (engine_port, engine.pid),
                "gateway": (lean_port, lean),
                "gateway, keeping all": (keeping_port, keeping),
                LIMITED: (limited_port, limited),
                "FastAPI + aiohttp": (plain_port, plain.pid),
            }
            if options.vllm_router:
                cases[ROUTER] = (router_port, parts[2].pid)
                for thread in psutil.Process(parts[2].pid).threads():
                    pin(thread.id, 0)
            for pid, core in ((engine.pid, 1), (plain.pid, 0), (lean, 0), (keeping, 0), (limited, 0)):
                pin(pid, core)
            found = {
                kind: {name: _median(rounds) for name, rounds in (await _rounds(cases, options, stream)).items()}
                for kind, stream in (("whole replies", False), (f"streams of {PIECES} tokens", True))
            }
            return found | {"at half load": await _at_half_load(cases, options, found["whole replies"])}
    finally:
        for part in parts:
            part.terminate()
            part.wait()
        shutil.rmtree(home)


async def _rounds(
    cases: dict[str, tuple[int, int]], options: argparse.Namespace, stream: bool, rate: float = 0
) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in cases}
    for number in range(options.rounds):
        what = f"{rate:.0f}/s" if rate else "streams" if stream else "whole replies"
        print(f"{what}, round {number + 1}", file=sys.stderr)
        for name, (port, pid) in cases.items():
            found[name].append(await measure(name, port, pid, options, stream, rate))
    return found


async def _at_half_load(
    cases: dict[str, tuple[int, int]], options: argparse.Namespace, full: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """What the gateway adds to the time of an answer, at half of what it can do with limits."""
    rate = full[LIMITED]["per_second"] / 2
    some = {name: case for name, case in cases.items() if name in ("direct", LIMITED, ROUTER)}
    found = {name: _median(rounds) for name, rounds in (await _rounds(some, options, False, rate)).items()}
    added = {key: round(found[LIMITED][key] - found["direct"][key], 3) for key in ("p50_ms", "p99_ms")}
    return {"rate": rate, "added": added, **found}


def _median(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(statistics.median(each[key] for each in rounds), 3) for key in rounds[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--vllm-router", type=Path, help="program of a peer to measure as well")
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/gateway.json")
    parser.add_argument("--part", choices=["engine", "fastapi", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--engine", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "load":
        print(
            json.dumps(
                uvloop.run(load(options.port, options.connections, options.seconds, options.stream, options.rate))
            )
        )
    elif options.part:
        serve_part(options.part, options.port, options.engine)
    else:
        results = uvloop.run(run(options))
        machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
        settings = {"seconds": options.seconds, "rounds": options.rounds, "connections": options.connections}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
        print(f"written to {options.out}")


if __name__ == "__main__":
    main()
