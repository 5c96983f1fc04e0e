"""Whether the gateway's memory stays flat: a million requests with keys, limits and usage, and what a worker held on the way.

    python tests/load/bench_memory.py [--requests 1000000] [--looks 10] [--out tests/load/out/memory.json]

Half of them are streamed. Memory is the worker's resident set, looked at after each tenth. Numbers are written to a
file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs"), str(Path(__file__).parent)]

import bench_gateway as base
import psutil
import uvloop

CONNECTIONS = 16


class Counted(base.Caller):
    """Asks as long as any of the requests that all callers share are left."""

    def __init__(self, request: bytes, left: list[int]) -> None:
        super().__init__(request, [], 0.0)
        self.left = left

    def on_message_complete(self) -> None:
        self.left[0] -= 1
        self.latencies.clear()
        self.going = self.left[0] > 0
        super().on_message_complete()


async def ask(port: int, requests: int) -> None:
    left = [requests - CONNECTIONS]
    streamed = [base.request_bytes(port, number % 2 == 0) for number in range(CONNECTIONS)]
    callers = [Counted(request, left) for request in streamed]
    for caller in callers:
        await asyncio.get_running_loop().create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(caller.gone for caller in callers))


async def run(options: argparse.Namespace) -> dict[str, Any]:
    engine_port, port = base.free_ports(2)
    home = Path(tempfile.mkdtemp(prefix="gyre-bench-"))
    engine = base.start_part("engine", engine_port, 0)
    try:
        await base.until_listening(engine_port)
        async with base.gateway(port, engine_port, home, limits=base.FAR_LIMITS) as pid:
            worker = psutil.Process(pid)
            looks: list[dict[str, float]] = []
            for number in range(options.looks + 1):
                if number:
                    await ask(port, options.requests // options.looks)
                held = {
                    "requests": number * (options.requests // options.looks),
                    "mib": worker.memory_info().rss / 2**20,
                }
                looks.append(held | {"open_files": worker.num_fds()})
                print(f"{held['requests']:>9,} requests  {held['mib']:6.1f} MiB", file=sys.stderr)
            return {"looks": looks, "growth_mib_after_the_first": looks[-1]["mib"] - looks[1]["mib"]}
    finally:
        engine.terminate()
        engine.wait()
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--looks", type=int, default=10)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/memory.json")
    options = parser.parse_args()
    results = uvloop.run(run(options))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
