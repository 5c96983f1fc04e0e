"""A real engine and a real model: what the gateway takes of its speed, and what prefix affinity gives to two replicas.

    python tests/load/bench_engine.py [--rounds 3] [--model FILE.gguf] [--out tests/load/out/engine.json]

First, tokens a second of one llama.cpp at 1 and at 16 requests at once, direct and through the gateway, in turns. Then
two llama.cpps behind the gateway and requests that share one of eight long beginnings: by prefix affinity (one
deployment with two replicas) and turn and turn about (a deployment for each, asked alternately); the time to the first
token tells whether a prompt was computed again. Numbers are written to a file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(Path(__file__).parent)]

import aiohttp
import bench_gateway as base
import uvloop

from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.settings import Paths, ProxySettings
from services.inference_gateway.proxy.snapshot import Deployment, Key, Project, Target, make_snapshot, write_snapshot
from services.inference_gateway.proxy.tests.support import model_file

TOKENS = 48
AT_ONCE = 16
BEGINNINGS, REQUESTS, BEGINNING_WORDS = 8, 64, 260
WORDS = [
    "lamp",
    "street",
    "bin",
    "water",
    "tree",
    "noise",
    "bridge",
    "road",
    "bench",
    "light",
    "dog",
    "wall",
    "snow",
    "gate",
    "pipe",
]


def start_engine(folder: Path, model: Path, port: int, parallel: int) -> subprocess.Popen[bytes]:
    folder.mkdir()
    spec = {"model_path": str(model), "model_name": "mock", "port": port, "parallel": parallel, "context_size": 1024}
    (folder / "spec.json").write_text(json.dumps(spec | {"threads": 1}))
    command = [sys.executable, "-m", "services.inference_gateway.engine", str(folder / "spec.json")]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


async def until_ready(folder: Path) -> None:
    for _ in range(1200):
        if (folder / "ready.json").exists():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("the engine does not come up")


async def ask(http: aiohttp.ClientSession, port: int, model: str, content: str, tokens: int) -> tuple[float, int]:
    """Seconds to the first piece, and tokens of the answer."""
    body = {"model": model, "messages": [{"role": "user", "content": content}], "max_tokens": tokens, "stream": True}
    body |= {"stream_options": {"include_usage": True}, "temperature": 0, "ignore_eos": True}
    began, first, count = time.perf_counter(), 0.0, 0
    async with http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body,
                         headers={"authorization": f"Bearer {base.KEY}"}, raise_for_status=True) as reply:  # fmt: skip
        async for line in reply.content:
            if not line.startswith(b"data: {"):
                continue
            fields = json.loads(line[6:])
            if not first and fields["choices"] and fields["choices"][0]["delta"].get("content"):
                first = time.perf_counter() - began
            count = (fields.get("usage") or {}).get("completion_tokens", count)
    return first, count


async def speed(http: aiohttp.ClientSession, port: int, at_once: int) -> float:
    """Tokens a second. Each question is new to the engine, so that none is answered out of its cache."""
    began = time.perf_counter()
    rounds = 4 if at_once == 1 else 1
    count = 0
    for _ in range(rounds):
        questions = [f"{random.random()} Tell of the {random.choice(WORDS)}." for _ in range(at_once)]
        answers = await asyncio.gather(*(ask(http, port, "one", each, TOKENS) for each in questions))
        count += sum(tokens for _, tokens in answers)
    return count / (time.perf_counter() - began)


async def first_tokens(
    http: aiohttp.ClientSession, port: int, model_of: Callable[[int], str], seed: int
) -> list[float]:
    """Of requests whose beginnings come again and again, four at once."""
    draw = random.Random(seed)
    beginnings = [" ".join(draw.choices(WORDS, k=BEGINNING_WORDS)) for _ in range(BEGINNINGS)]
    asked = [f"{draw.choice(beginnings)} Question {number}: what is it about?" for number in range(REQUESTS)]
    places, seconds = asyncio.Semaphore(4), list[float]()

    async def one(number: int, content: str) -> None:
        async with places:
            seconds.append((await ask(http, port, model_of(number), content, 4))[0])

    await asyncio.gather(*(one(number, content) for number, content in enumerate(asked)))
    return seconds


def pool_of(home: Path, port: int) -> ProxyPool:
    async def nothing(*_: Any) -> Any:
        return False

    return ProxyPool(
        ProxySettings(), Paths(home), "127.0.0.1", port,
        record=nothing, store_usage=nothing, on_feedback=nothing, on_spans=nothing, knows_key=nothing,
        on_stored=nothing,
    )  # fmt: skip


def routes(ports: list[int]) -> list[Deployment]:
    """`one`: the first engine; `a`, `b`: one each; `both`: two replicas of one target."""

    def target(name: str, port: int, weight: float = 100) -> Target:
        return Target(name, version="1", variant=f"v-{name[0]}", address=f"127.0.0.1:{port}", upstream_model="mock",
                      weight=weight)  # fmt: skip

    singles = [
        Deployment(name, "bench", (target(name, port),)) for name, port in zip(("one", "a", "b"), ports, strict=True)
    ]
    both = tuple(target(f"r{number}", port, 50) for number, port in enumerate(ports[1:]))
    return [*singles, Deployment("both", "bench", both)]


async def run(options: argparse.Namespace) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="gyre-bench-"))
    *ports, gateway_port = base.free_ports(4)
    engines = [start_engine(home / "e0", options.model, ports[0], AT_ONCE)]
    try:
        await until_ready(home / "e0")
        async with pool_of(home / "g", gateway_port) as pool, aiohttp.ClientSession() as http:
            keys = {sha256(base.KEY.encode()).hexdigest(): Key(name="projects/bench/keys/1", project="bench")}
            write_snapshot(Paths(home / "g").snapshot, make_snapshot(1, keys, {"bench": Project(True)}, routes(ports)))
            await pool.until_revision(1)
            speeds = await _speeds(http, ports[0], gateway_port, options.rounds)
            engines.pop().terminate()
            engines += [start_engine(home / f"e{number}", options.model, ports[number], 4) for number in (1, 2)]
            await asyncio.gather(until_ready(home / "e1"), until_ready(home / "e2"))
            return {
                "tokens_per_second": speeds,
                "first_token_seconds": await _firsts(http, gateway_port, options.rounds),
            }
    finally:
        for engine in engines:
            engine.terminate()
            engine.wait()
        shutil.rmtree(home)


async def _speeds(http: aiohttp.ClientSession, direct: int, gateway: int, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at_once in (1, AT_ONCE):
        pairs = []
        for _ in range(rounds):
            pairs.append((await speed(http, direct, at_once), await speed(http, gateway, at_once)))
            print(f"{at_once} at once: direct {pairs[-1][0]:.1f}/s, gateway {pairs[-1][1]:.1f}/s", file=sys.stderr)
        found[f"{at_once} at once"] = {
            "direct": round(statistics.median(pair[0] for pair in pairs), 1),
            "gateway": round(statistics.median(pair[1] for pair in pairs), 1),
            "ratio": round(statistics.median(pair[1] / pair[0] for pair in pairs), 3),
        }
    return found


async def _firsts(http: aiohttp.ClientSession, gateway: int, rounds: int) -> dict[str, Any]:
    found: dict[str, list[float]] = {"prefix affinity": [], "turn and turn about": []}
    for number in range(rounds):
        found["prefix affinity"] += await first_tokens(http, gateway, lambda _: "both", 2 * number)
        found["turn and turn about"] += await first_tokens(http, gateway, lambda at: "ab"[at % 2], 2 * number + 1)
        print({name: round(statistics.mean(each), 3) for name, each in found.items()}, file=sys.stderr)
    return {
        name: {"mean": round(statistics.mean(each), 3), "p50": round(statistics.median(each), 3)}
        for name, each in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=model_file(), help="GGUF; SmolLM2-135M-Instruct if left out")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/engine.json")
    options = parser.parse_args()
    results = uvloop.run(run(options))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    options.out.write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
