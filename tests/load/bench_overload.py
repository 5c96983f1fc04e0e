"""What overload does: recorded traces at a multiple of an engine's capacity, sent by projects of unequal appetite.

    python tests/load/bench_overload.py --traces FOLDER [--factor 2] [--seconds 20] [--out tests/load/out/overload.json]

FOLDER holds `azure_llm_conv.csv` (Azure's LLM inference trace of 2023: TIMESTAMP, ContextTokens, GeneratedTokens) and
`mooncake_conversation_3000.jsonl` (Mooncake: timestamp in ms, input_length, output_length). Arrivals keep the trace's
rhythm, compressed until the work that arrives is `factor` times what the engine can do. Each request belongs to one of
four projects, of which the first sends twice as much as each other; all send more than their share. The engine is a
mock with a fixed number of places, which takes time for each token as engines do; the gateway is a real worker process.
Nobody tries again after a 429.

Capacity is measured first, in the same run: the same calls straight to the engine by as many callers as it has places,
without the time between two calls.
Told of each trace: goodput (work answered a second / capacity), Jain's index of the work that projects got, the share
of 429s, and waiting times; from the first tenth of the replay, when the queue has filled, to its last arrival. Nothing
is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import platform
import random
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import aiohttp
import uvloop
from aiohttp import web

from services.inference_gateway.proxy.fairness import work
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import Deployment, Key, Project, Target, make_snapshot, write_snapshot

PLACES = 16
SERVICE_SECONDS = 0.5  # the average request's
APPETITES = {"greedy": 4, "two": 2, "three": 2, "four": 2}
BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Call:
    at: float
    project: str
    prompt_tokens: int
    answer_tokens: int

    @property
    def work(self) -> int:
        return work(self.prompt_tokens, self.answer_tokens)


@dataclass
class Outcome:
    done: list[tuple[float, str, int]] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)


# -- the traces ------------------------------------------------------------------------------------------------------


def azure(folder: Path) -> Iterator[tuple[float, int, int]]:
    with (folder / "azure_llm_conv.csv").open() as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp()
            yield at, int(row["ContextTokens"]), int(row["GeneratedTokens"])


def mooncake(folder: Path) -> Iterator[tuple[float, int, int]]:
    with (folder / "mooncake_conversation_3000.jsonl").open() as file:
        for row in map(json.loads, file):
            yield row["timestamp"] / 1000, row["input_length"], row["output_length"]


TRACES = {"azure": azure, "mooncake": mooncake}


def calls_of(trace: list[tuple[float, int, int]], factor: float, seconds: float) -> tuple[list[Call], float]:
    """The first part of the trace that fills `seconds` at `factor` times capacity; and work a second of the engine."""
    mean = statistics.fmean(work(prompt, answer) for _, prompt, answer in trace)
    capacity = PLACES * mean / SERVICE_SECONDS
    total, wanted = 0, capacity * factor * seconds
    taken = []
    for row in trace:
        if total > wanted:
            break
        total += work(row[1], row[2])
        taken.append(row)
    first, last = taken[0][0], taken[-1][0]
    stretch = seconds / max(last - first, 1e-9)
    draw = random.Random(7)
    names, weights = list(APPETITES), list(APPETITES.values())
    return [Call((at - first) * stretch, draw.choices(names, weights)[0], p, a) for at, p, a in taken], capacity


# -- the engine: so many places, and time for each token -------------------------------------------------------------


class Engine:
    def __init__(self, capacity: float) -> None:
        self._places = asyncio.Semaphore(PLACES)
        self._a_place = capacity / PLACES
        self.most_inside = self._inside = 0
        self.held_seconds = 0.0  # of all places together

    async def answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        prompt, answer = asked["prompt_tokens_of_trace"], asked["max_tokens"]
        self._inside += 1
        self.most_inside = max(self.most_inside, self._inside)
        async with self._places:
            taken = time.perf_counter()
            await asyncio.sleep(work(prompt, answer) / self._a_place)
            self.held_seconds += time.perf_counter() - taken
        self._inside -= 1
        usage = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
        message = {"role": "assistant", "content": "done"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"id": "x", "object": "chat.completion", "model": "m", "created": 1,
                                  "choices": [choice], "usage": usage})  # fmt: skip


# -- one trace -------------------------------------------------------------------------------------------------------


async def measure(name: str, options: argparse.Namespace, home: Path) -> dict[str, Any]:
    calls, capacity = calls_of(list(TRACES[name](options.traces)), options.factor, options.seconds)
    engine = Engine(capacity)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", engine.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine_port = runner.addresses[0][1]
    try:
        measured = await _capacity(calls, engine_port, options.seconds / 4, engine)
        engine.held_seconds, engine.most_inside = 0.0, 0
        async with _gateway(home, engine_port, options) as port:
            outcome = await _replay(calls, port)
    finally:
        await runner.cleanup()
    return _told(calls, capacity, measured, outcome, engine)


@asynccontextmanager
async def _gateway(home: Path, engine_port: int, options: argparse.Namespace) -> AsyncIterator[int]:
    """A real pool of workers; its port."""

    async def nothing(*_: Any) -> Any:
        return False

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = Paths(home)
    settings = ProxySettings(
        workers=options.workers, queue_seconds=options.queue_seconds, max_connections=8192, upstream_waiting=4096
    )
    pool = ProxyPool(
        settings, paths, "127.0.0.1", port,
        record=nothing, store_usage=nothing, on_feedback=nothing, on_spans=nothing, knows_key=nothing,
        on_stored=nothing,
    )  # fmt: skip
    target = Target("t", address=f"127.0.0.1:{engine_port}", places=PLACES)
    keys = {sha256(name.encode()).hexdigest(): Key(f"projects/{name}/keys/1", name) for name in APPETITES}
    deployments = [Deployment("m", name, (target,)) for name in APPETITES]
    async with pool:
        write_snapshot(paths.snapshot, make_snapshot(1, keys, {name: Project() for name in APPETITES}, deployments))
        await pool.until_revision(1)
        yield port


def _body(call: Call) -> dict[str, Any]:
    text = "x" * (call.prompt_tokens * BYTES_PER_TOKEN)
    asked = {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": call.answer_tokens}
    return asked | {"prompt_tokens_of_trace": call.prompt_tokens}


async def _capacity(calls: list[Call], port: int, seconds: float, engine: Engine) -> float:
    """Work a second of the engine while its places are held: what it could do if none were ever empty."""
    done, waiting = 0, iter(calls)
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    async with aiohttp.ClientSession() as http:
        began = time.perf_counter()

        async def caller() -> None:
            nonlocal done
            for each in waiting:
                async with http.post(url, json=_body(each)) as reply:
                    await reply.read()
                done += each.work
                if time.perf_counter() - began > seconds:
                    return

        await asyncio.gather(*(caller() for _ in range(PLACES)))
    return done / (engine.held_seconds / PLACES)


async def _replay(calls: list[Call], port: int) -> Outcome:
    """Open loop: a call goes out at its time, whatever became of those before."""
    outcome = Outcome()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        began = time.perf_counter()

        async def call(each: Call) -> None:
            await asyncio.sleep(each.at - (time.perf_counter() - began))
            body = _body(each)
            sent = time.perf_counter()
            async with http.post(url, json=body, headers={"authorization": f"Bearer {each.project}"}) as reply:
                await reply.read()
                outcome.statuses[reply.status] += 1
                if reply.status == 200:
                    outcome.waits.append(time.perf_counter() - sent)
                    outcome.done.append((time.perf_counter() - began, each.project, each.work))
                elif reply.status == 429:
                    outcome.retry_after.append(int(reply.headers["retry-after"]))

        await asyncio.gather(*(call(each) for each in calls))
        return outcome


def _told(calls: list[Call], nominal: float, measured: float, outcome: Outcome, engine: Engine) -> dict[str, Any]:
    begin, end = calls[-1].at / 10, calls[-1].at
    got: Counter[str] = Counter()
    for at, project, done in outcome.done:
        got[project] += done if begin <= at <= end else 0
    shares = [got[name] for name in APPETITES]
    waits = sorted(outcome.waits)
    asked: Counter[str] = Counter()
    for each in calls:
        asked[each.project] += each.work
    return {
        "requests": len(calls),
        "seconds": round(end, 2),
        "measured_over_nominal_capacity": round(measured / nominal, 3),
        "offered_over_capacity": round(sum(asked.values()) / (measured * end), 3),
        "goodput_over_capacity": round(sum(shares) / (measured * (end - begin)), 3),
        "jain_index": round(sum(shares) ** 2 / (len(shares) * sum(each**2 for each in shares)), 4),
        "statuses": {str(status): count for status, count in sorted(outcome.statuses.items())},
        "share_of_429": round(outcome.statuses[429] / len(calls), 3),
        "retry_after_s": {"p50": statistics.median(outcome.retry_after or [0]), "max": max(outcome.retry_after or [0])},
        "answered_in_s": {"p50": round(waits[len(waits) // 2], 2), "p99": round(waits[int(len(waits) * 0.99)], 2)},
        "work_got_over_asked": {name: round(got[name] / asked[name], 3) for name in APPETITES},
        "places_held": round(engine.held_seconds / (PLACES * max(at for at, _, _ in outcome.done)), 3),
        "most_requests_inside_the_engine": engine.most_inside,
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    results = {}
    for name in options.only or TRACES:
        home = Path(tempfile.mkdtemp(prefix="gyre-overload-"))
        try:
            results[name] = await measure(name, options, home)
        finally:
            shutil.rmtree(home)
        print(name, json.dumps(results[name], indent=1), file=sys.stderr)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the recorded traces")
    parser.add_argument("--factor", type=float, default=2, help="work that arrives / what the engine can do")
    parser.add_argument("--seconds", type=float, default=20, help="length of each replay")
    parser.add_argument("--queue-seconds", type=float, default=3, help="the longest wait that is accepted")
    parser.add_argument("--only", choices=TRACES, action="append", help="this trace alone")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/overload.json")
    options = parser.parse_args()
    if not (options.traces / "azure_llm_conv.csv").is_file():
        parser.error("--traces: a folder with azure_llm_conv.csv and mooncake_conversation_3000.jsonl")
    results = uvloop.run(run(options))
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    settings = {name: getattr(options, name) for name in ("factor", "seconds", "queue_seconds", "workers")}
    settings |= {"places": PLACES, "appetites": APPETITES}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
