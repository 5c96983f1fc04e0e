"""How the gateway scales with its workers: the same load on one, two and four, with limits that all of them share.

    python tests/load/bench_workers.py [--seconds 5] [--rounds 2] [--out tests/load/out/workers.json]

Engine and load take their part of the same cores, so on a small machine requests a second say little; CPU time for each
request tells what the shared ledger costs when more workers want it. Numbers are written to a file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
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

from services.inference_gateway.proxy.settings import ProxySettings

WORKERS = (1, 2, 4)


async def measure(workers: int, port: int, seconds: float) -> dict[str, float]:
    """By a load process of its own; CPU time is of all workers together."""
    alive = [each for each in psutil.Process().children(recursive=True) if "proxy.worker" in " ".join(each.cmdline())]
    assert len(alive) == workers
    before = sum(sum(each.cpu_times()[:2]) for each in alive)
    command = [sys.executable, base.__file__, "--part", "load", "--port", str(port), "--seconds", str(seconds)]
    child = await asyncio.create_subprocess_exec(*command, "--connections", "32", stdout=asyncio.subprocess.PIPE)
    out, _ = await child.communicate()
    found: dict[str, float] = json.loads(out)
    cpu = sum(sum(each.cpu_times()[:2]) for each in alive) - before
    return found | {"cpu_us_per_request": cpu / found["count"] * 1e6}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    engine_port, *ports = base.free_ports(1 + len(WORKERS))
    home = Path(tempfile.mkdtemp(prefix="gyre-bench-"))
    engine = base.start_part("engine", engine_port, 0)
    found: dict[int, list[dict[str, float]]] = {workers: [] for workers in WORKERS}
    try:
        await base.until_listening(engine_port)
        for number in range(options.rounds):
            for workers, port in zip(WORKERS, ports, strict=True):
                settings, place = ProxySettings(workers=workers), home / f"{number}-{workers}"
                async with base.gateway(port, engine_port, place, limits=base.FAR_LIMITS, settings=settings):
                    found[workers].append(await measure(workers, port, options.seconds))
                print(workers, found[workers][-1], file=sys.stderr)
        return {str(workers): base._median(rounds) for workers, rounds in found.items()}
    finally:
        engine.terminate()
        engine.wait()
        shutil.rmtree(home)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/workers.json")
    options = parser.parse_args()
    results = {"cores": os.cpu_count(), "workers": uvloop.run(run(options))}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
