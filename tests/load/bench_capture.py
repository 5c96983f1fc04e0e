"""What it costs to keep completions: 2,000 a second of 8 KB is the goal.

    python tests/load/bench_capture.py [--records 10000] [--searched 100000] [--rate 400] [--seconds 5]

Four parts, each with rates and CPU time for each record, which a busy neighbour changes least:

- `spool`: from the answer to the file, as a worker does it, with personal data marked and without;
- `store`: from the file into a PostgreSQL of its own, as the control plane does it, events and traces included;
- `search`: one text among all that was stored;
- `proxy`: two gateways in turns under the same paced load, one that keeps everything: latencies and their ratio.

Numbers are written to a file; nothing is asserted.
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
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(ROOT / "tests" / "load")]

import bench_gateway
import psutil
import sqlalchemy as sa
import uvloop
from gyre.inference_gateway.v1.trace_service_pb2 import ListTracesRequest
from gyre_kit import addresses, migrate
from gyre_kit.auth import ALL_PROJECTS, Identity, Role, acting_as
from gyre_kit.db import Database
from prometheus_client import CollectorRegistry

from deploy.local import postgres
from services.inference_gateway import store
from services.inference_gateway.models.projects import KnownProject
from services.inference_gateway.models.traces import Completion, Trace
from services.inference_gateway.proxy import redaction, ulid
from services.inference_gateway.proxy.records import CompletionRecord, Spool
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.shipper import Shipper
from services.inference_gateway.traces import completions
from services.inference_gateway.traces import store as trace_store

BYTES = 8 * 1024
WORDS = [
    "the",
    "lamp",
    "in",
    "front",
    "of",
    "house",
    "12",
    "is",
    "broken",
    "since",
    "2026-11-24",
    "and",
    "nobody",
    "came;",
    "路灯坏了",
    "请派人来修",
    "ticket",
    "#4711",
]
PLATFORM = Identity(subject="services/inference_gateway", project=ALL_PROJECTS, role=Role.ADMIN)


def text(seed: int) -> str:
    dice = random.Random(seed)
    return " ".join(dice.choices(WORDS, k=BYTES // 6))[: BYTES - 900]


TEXTS = [text(seed) for seed in range(32)]


def record(number: int) -> CompletionRecord:
    return CompletionRecord(
        id=f"chatcmpl-{ulid.new()}", project="bench", deployment="projects/bench/deployments/d", target="t",
        model_version="projects/bench/models/m/versions/1", variant="", api_key="projects/bench/keys/1",
        messages=[{"role": "user", "content": TEXTS[number % 32]}], parameters={"model": "d", "temperature": 0},
        answer=f"Thank you. Your number is {number}.", finish_reason="stop", prompt_tokens=2000, completion_tokens=12,
        total_tokens=2012, ttft_ms=50.0, duration_ms=900.0, time=time.time(), session=f"s-{number // 4:032x}",
        trace_id=f"{number // 4:032x}", span_id=f"{number:016x}",
    )  # fmt: skip


def cost(count: int, work: Callable[[], Any]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"per_second": round(count / wall), "cpu_us_per_record": round(cpu / count * 1e6, 1)}


async def to_files(folder: Path, records: list[CompletionRecord]) -> dict[str, Any]:
    spool = Spool(folder, ProxySettings(), lambda _: None)
    scratch = Spool(folder.with_name("scratch"), ProxySettings(), lambda _: None)
    scratch_folder = folder.with_name("scratch")
    scratch_folder.mkdir()
    results = {
        "serialise alone": cost(len(records), lambda: [each.line() for each in records]),
        "keep": cost(len(records), lambda: [spool.put(each) for each in records]),
        "mark and keep": cost(len(records), lambda: [scratch.put(redaction.redacted(each)) for each in records]),
    }
    await spool.flush()
    await scratch.flush()
    shutil.rmtree(scratch_folder)
    return results


@asynccontextmanager
async def database(home: Path) -> AsyncIterator[Database]:
    embedded = postgres.EmbeddedPostgres(home / "postgres", home / "socket")
    embedded.prepare()
    process = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs yet
        embedded.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **embedded.account.run_as()
    )
    try:
        while not await embedded.ready():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.1)
        await embedded.ensure_roles(dict.fromkeys(addresses.COMPONENTS, "bench"))
        url = embedded.url_template.format(component="inference_gateway", password="bench")
        url = url.replace("postgresql://", "postgresql+asyncpg://", 1)
        await migrate.upgrade(url, "inference_gateway")
        db = Database(url, "inference_gateway")
        yield db
        await db.close()
    finally:
        process.terminate()
        process.wait()


async def to_database(folder: Path, db: Database, count: int) -> dict[str, float]:
    async def keep(batch: list[CompletionRecord]) -> None:
        async with db.transaction() as session:
            await completions.keep(session, [completions.from_record(each) for each in batch])

    async with db.transaction() as session:
        known = KnownProject(project="bench", active=True, consent_to_keep=True)
        await store.put_project(session, known)
    shipper = Shipper(folder, folder, keep, ProxySettings(), CollectorRegistry())
    wall, cpu = time.perf_counter(), time.process_time()
    await shipper.ship()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"per_second": round(count / wall), "cpu_us_per_record": round(cpu / count * 1e6, 1)}


async def multiply(db: Database, times: int) -> int:
    """What is stored, so many times over, each a trace of its own; how many completions that makes."""
    async with db.transaction() as session:
        columns = {column.name for column in Completion.__table__.columns} - {"name", "trace"}  # type: ignore[attr-defined]
        same = ", ".join(f'"{name}"' for name in sorted(columns))
        await session.execute(
            sa.text(
                f"INSERT INTO completion (name, trace, {same}) SELECT c.name || n, c.trace || n, {same} "
                "FROM completion c, generate_series(2, :times) n"
            ),
            {"times": times},
        )
        sums = {column.name for column in Trace.__table__.columns} - {"name"}  # type: ignore[attr-defined]
        same = ", ".join(f'"{name}"' for name in sorted(sums))
        await session.execute(
            sa.text(
                f"INSERT INTO trace (name, {same}) SELECT t.name || n, {same} FROM trace t, generate_series(2, :times) n"
            ),
            {"times": times},
        )
        return await session.scalar(sa.select(sa.func.count()).select_from(Completion)) or 0


async def search(db: Database) -> dict[str, float]:
    """Milliseconds, the median of five."""
    cases = {
        "list": {}, "by latency": {"min_duration_ms": 5000}, "text that nobody wrote": {"query": "Zahnarzt"},
        "Chinese text that all wrote": {"query": "请派人来修"},
    }  # fmt: skip
    results = {}
    for name, wanted in cases.items():
        took = []
        for _ in range(5):
            begun = time.perf_counter()
            async with db.transaction() as session:
                request = ListTracesRequest(parent="projects/bench", **wanted)  # type: ignore[arg-type]
                await trace_store.trace_page(session, request)
            took.append((time.perf_counter() - begun) * 1000)
        results[name] = round(statistics.median(took), 1)
    return results


# -- the proxy, under a load that does not wait for it ---------------------------------------------------------------


class Paced(bench_gateway.Caller):
    """Asks at its own times, whatever the last answer took; late is late, and is measured from when it should have been."""

    every = 0.01

    def connection_made(self, transport: Any) -> None:
        self.due = time.perf_counter()  # uvloop's own clock counts whole milliseconds
        super().connection_made(transport)

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        self.latencies.append(now - self.due)
        self.due += self.every
        if self.going:
            asyncio.get_running_loop().call_later(max(0.0, self.due - now), self.ask)
        else:
            self.transport.close()


async def paced_load(port: int, connections: int, rate: float, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    Paced.every = connections / rate
    loop = asyncio.get_running_loop()
    bench_gateway.MESSAGES[1]["content"] = TEXTS[0]
    request = bench_gateway.request_bytes(port, False)
    callers = []
    for _ in range(connections):
        callers.append(caller := Paced(request, latencies))
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
        await asyncio.sleep(Paced.every / connections)
    await asyncio.sleep(0.5)
    latencies.clear()
    await asyncio.sleep(seconds)
    done = sorted(latencies)
    for caller in callers:
        caller.going = False
    await asyncio.wait_for(asyncio.gather(*(caller.gone for caller in callers)), 30)
    at = {f"p{share}_ms": round(done[int(len(done) * share / 100)] * 1000, 3) for share in (50, 90, 99)}
    return {"per_second": round(len(done) / seconds)} | at


async def proxies(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    engine_port, plain_port, keeping_port, marking_port = bench_gateway.free_ports(4)
    engine = bench_gateway.start_part("engine", engine_port, 0)
    try:
        await bench_gateway.until_listening(engine_port)
        async with (
            bench_gateway.gateway(plain_port, engine_port, home / "a") as plain,
            bench_gateway.gateway(keeping_port, engine_port, home / "b", keeps=True) as keeping,
            bench_gateway.gateway(marking_port, engine_port, home / "c", keeps=True, marks=True) as marking,
        ):
            cases = {
                "without": (plain_port, plain),
                "keeping all": (keeping_port, keeping),
                "marking and keeping all": (marking_port, marking),
            }
            for _, pid in cases.values():
                bench_gateway.pin(pid, 0)
            bench_gateway.pin(engine.pid, 1)
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
            for _ in range(options.rounds):
                for name, (port, pid) in cases.items():
                    rounds[name].append(await _child(port, pid, options))
    finally:
        engine.terminate()
        engine.wait()
    results: dict[str, Any] = {
        name: {key: statistics.median(each[key] for each in found) for key in found[0]}
        for name, found in rounds.items()
    }
    for name in ("keeping all", "marking and keeping all"):
        pairs = zip(rounds[name], rounds["without"], strict=True)
        results[name]["p99_ratio"] = round(
            statistics.median(one["p99_ms"] / other["p99_ms"] for one, other in pairs), 3
        )
    return results


async def _child(port: int, pid: int, options: argparse.Namespace) -> dict[str, float]:
    process = psutil.Process(pid)
    before = sum(process.cpu_times()[:2])
    command = [sys.executable, __file__, "--load", str(port)]
    command += ["--rate", str(options.rate), "--seconds", str(options.seconds)]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    bench_gateway.pin(child.pid, 1)
    out, _ = await child.communicate()
    found: dict[str, float] = json.loads(out)
    cpu = sum(process.cpu_times()[:2]) - before  # warming and all, so a little too much
    return found | {"cpu_us_per_request": round(cpu / (found["per_second"] * options.seconds) * 1e6)}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    home = Path(tempfile.mkdtemp(prefix="gyre-capture-"))
    (folder := home / "spool").mkdir()
    try:
        records = [record(number) for number in range(options.records)]
        results: dict[str, Any] = {"bytes_per_record": len(records[0].line())}
        results["spool"] = await to_files(folder, records)
        with acting_as(PLATFORM):
            async with database(home) as db:
                results["store"] = await to_database(folder, db, len(records))
                stored = await multiply(db, options.searched // len(records))
                results["search"] = {"completions": stored, "milliseconds": await search(db)}
        results["proxy"] = {"asked_per_second": options.rate} | await proxies(home, options)
        return results
    finally:
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--searched", type=int, default=100_000, help="completions among which is searched")
    parser.add_argument("--rate", type=float, default=400, help="requests a second to each gateway")
    parser.add_argument("--seconds", type=float, default=5, help="of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/capture.json")
    parser.add_argument("--load", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(uvloop.run(paced_load(options.load, 16, options.rate, options.seconds))))
        return
    results = uvloop.run(run(options)) | {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
