"""What open streams cost: the same streams direct, through the gateway, and through vLLM's router where it is given.

    python tests/load/bench_streams.py [--streams 1000] [--chunks 300] [--gap-ms 20] [--rounds 3]
                                       [--vllm-router PATH] [--out tests/load/out/streams.json]

Prompts are 8 KB in the median and 128 KB at the 99th percentile (lognormal). Every chunk says when the engine wrote it,
on a clock that all processes of a machine share, so each is its own stopwatch: what a proxy adds is what it takes longer
than direct. The proxy has the first core; engine and load share the second. Where those two are the slower ones, CPU
for each chunk is what counts. Numbers are written to a file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(Path(__file__).parent)]

import bench_gateway as base
import httptools
import psutil
import uvloop

from services.inference_gateway.proxy.settings import ProxySettings

MEDIAN_PROMPT, P99_PROMPT = 8 * 1024, 128 * 1024
SIGMA = 1.192  # ln(16) / 2.326: from the median to the 99th percentile
STAMP = re.compile(rb"t(\d{19})t")
DONE = b"data: [DONE]"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PATIENCE_SECONDS = 300


# -- the engine: every stream gets a chunk at every tick --------------------------------------------------------------


class Ticking(asyncio.Protocol):
    """`streams`: those that are under way, of all connections."""

    streams: ClassVar[set[Ticking]] = set()
    chunks: ClassVar[int] = 0

    def connection_made(self, transport: Any) -> None:
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.streams.discard(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"GET":  # a router that asks whether we are well
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            return
        self.left = self.chunks
        self.transport.write(HEAD)
        self.streams.add(self)

    def tick(self) -> None:
        if self.left:
            self.left -= 1
            self.transport.write(_event(_piece({"content": f" t{time.monotonic_ns():019d}t"}, None)))
            return
        usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": self.chunks, "total_tokens": 9}}
        last = _event(_piece({}, "stop")) + _event(json.dumps(base.SHARED | usage).encode()) + _event(b"[DONE]")
        self.transport.write(last + b"0\r\n\r\n")
        self.streams.discard(self)


def _piece(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps(base.SHARED | {"object": "chat.completion.chunk", "choices": [choice]}).encode()


def _event(payload: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(payload) + 8, payload)


async def serve_engine(port: int, chunks: int, gap: float) -> None:
    Ticking.chunks = chunks
    await asyncio.get_running_loop().create_server(Ticking, "127.0.0.1", port, backlog=4096)
    due = time.monotonic()
    while True:
        due = max(due + gap, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        for stream in list(Ticking.streams):
            stream.tick()


# -- the load: each connection asks once ------------------------------------------------------------------------------


class Reader(asyncio.Protocol):
    """Notes how old each chunk is when it comes."""

    def __init__(self, request: bytes) -> None:
        self.request, self.rest, self.ages = request, b"", list[int]()
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now, data, end = time.monotonic_ns(), self.rest + data, 0
        for found in STAMP.finditer(data):
            self.ages.append(now - int(found[1]))
            end = found.end()
        self.rest = data[end:][-64:]
        if DONE in data[end:]:
            self._end(True)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(False)

    def _end(self, whole: bool) -> None:
        if not self.done.done():
            self.done.set_result(whole)
            self.transport.close()


def request_of(port: int, draw: random.Random) -> bytes:
    length = min(int(MEDIAN_PROMPT * draw.lognormvariate(0, SIGMA)), 1024 * 1024)
    messages = [{"role": "user", "content": ("A lamp is broken. " * (length // 18 + 1))[:length]}]
    body = json.dumps({"model": "mock", "messages": messages, "stream": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {base.KEY}\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def load(port: int, streams: int, chunks: int, gap: float) -> dict[str, float]:
    loop, draw = asyncio.get_running_loop(), random.Random(7)
    readers = [Reader(request_of(port, draw)) for _ in range(streams)]
    started = time.monotonic()
    for number, reader in enumerate(readers):
        await loop.create_connection(lambda reader=reader: reader, "127.0.0.1", port)  # type: ignore[misc]
        if number % 50 == 49:
            await asyncio.sleep(gap)  # a burst that large is not what is measured
    async with asyncio.timeout(PATIENCE_SECONDS):
        whole = await asyncio.gather(*(reader.done for reader in readers))
    seconds = time.monotonic() - started
    ages = sorted(age / 1e6 for reader in readers for age in reader.ages[1:])
    firsts = sorted(reader.ages[0] / 1e6 for reader in readers if reader.ages)
    torn = sum(not done or len(reader.ages) != chunks for done, reader in zip(whole, readers, strict=True))
    return {
        "chunks": len(ages) + len(firsts),
        "chunks_per_second": (len(ages) + len(firsts)) / seconds,
        "seconds": seconds,
        "torn": torn,
        "first_p50_ms": firsts[len(firsts) // 2],
        "first_p99_ms": firsts[int(len(firsts) * 0.99)],
        "next_p50_ms": ages[len(ages) // 2],
        "next_p99_ms": ages[int(len(ages) * 0.99)],
    }


# -- the parts as processes -------------------------------------------------------------------------------------------


async def measure(name: str, port: int, pid: int, options: argparse.Namespace) -> dict[str, float]:
    """One round. `kib_a_stream`: what the proxy's memory grew by while all were open."""
    process = psutil.Process(pid)
    cpu, memory = sum(process.cpu_times()[:2]), process.memory_info().rss
    command = [sys.executable, __file__, "--part", "load", "--port", str(port), "--streams", str(options.streams)]
    command += ["--chunks", str(options.chunks), "--gap-ms", str(options.gap_ms)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    base.pin(child.pid, 1)
    peak = memory
    reading = asyncio.create_task(child.communicate())
    while not reading.done():
        peak = max(peak, process.memory_info().rss)
        await asyncio.sleep(0.25)
    result: dict[str, float] = json.loads((await reading)[0])
    result["cpu_us_per_chunk"] = (sum(process.cpu_times()[:2]) - cpu) / max(result["chunks"], 1) * 1e6
    result["kib_a_stream"] = (peak - memory) / 1024 / options.streams
    print(f"  {name:16} {result['chunks_per_second']:8.0f} chunks/s  first p99 {result['first_p99_ms']:8.1f} ms  next p50"
          f" {result['next_p50_ms']:7.2f} p99 {result['next_p99_ms']:7.2f} ms  {result['cpu_us_per_chunk']:5.1f} µs CPU"
          f"  {result['kib_a_stream']:5.1f} KiB  torn {result['torn']:.0f}", file=sys.stderr)  # fmt: skip
    return result


def start_engine(port: int, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--part", "engine", "--port", str(port)]
    return subprocess.Popen([*command, "--chunks", str(options.chunks), "--gap-ms", str(options.gap_ms)])


async def run(options: argparse.Namespace) -> dict[str, Any]:
    engine_port, gateway_port, router_port = base.free_ports(3)
    home = Path(tempfile.mkdtemp(prefix="gyre-bench-"))
    parts = [start_engine(engine_port, options)]
    many = ProxySettings(max_connections=2 * options.streams, upstream_connections=2 * options.streams)
    try:
        await base.until_listening(engine_port)
        async with base.gateway(gateway_port, engine_port, home, True, base.FAR_LIMITS, settings=many) as gateway:
            cases = {"direct": (engine_port, parts[0].pid), "gateway": (gateway_port, gateway)}
            if options.vllm_router:
                parts.append(base.start_router(options.vllm_router, router_port, engine_port))
                await base.until_listening(router_port)
                cases["vLLM's router"] = (router_port, parts[1].pid)
                for thread in psutil.Process(parts[1].pid).threads():
                    base.pin(thread.id, 0)
            base.pin(parts[0].pid, 1)
            base.pin(gateway, 0)
            found: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
            for number in range(options.rounds):
                print(f"round {number + 1}", file=sys.stderr)
                for name, (port, pid) in cases.items():
                    found[name].append(await measure(name, port, pid, options))
            return {
                name: {key: round(statistics.median(each[key] for each in rounds), 3) for key in rounds[0]}
                for name, rounds in found.items()
            }
    finally:
        for part in parts:
            part.terminate()
            part.wait()
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000, help="open at once")
    parser.add_argument("--chunks", type=int, default=300, help="of one stream")
    parser.add_argument("--gap-ms", type=float, default=20, help="between two chunks of a stream")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm-router", type=Path, help="program of a peer to measure as well")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/streams.json")
    parser.add_argument("--part", choices=["engine", "load"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gap = options.gap_ms / 1000
    if options.part == "engine":
        uvloop.run(serve_engine(options.port, options.chunks, gap))
    elif options.part == "load":
        print(json.dumps(uvloop.run(load(options.port, options.streams, options.chunks, gap))))
    else:
        results = uvloop.run(run(options))
        machine = {"cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
        settings = {name: getattr(options, name) for name in ("streams", "chunks", "gap_ms", "rounds")}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
        print(f"written to {options.out}")


if __name__ == "__main__":
    main()
