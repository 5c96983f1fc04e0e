"""What a roll-out costs those who ask meanwhile: version after version, with a replica and a gateway killed under load.

    python tests/load/bench_rollout.py [--requests 100000] [--changes 10] [--callers 48]
                                       [--out tests/load/out/rollout.json]

Two gateways, each a pool with a worker process and a port of its own, go by one snapshot, one ledger and one folder of
sessions. Behind them are mock engines (`rolling_engine.py`), two replicas a version, each a process. The control plane
is played (`rolling_control.py`), by what the real one does: a new version comes up, takes over in steps, the old one
stands by for its sessions, drains, and is stopped once no worker runs anything on it. In mid-shift one replica, and
later one gateway's worker, dies by `kill -9`; both are started anew.

Told: requests, failed by cause, cut after they began by cause, sent again by the client, retried by the gateways; what
engines answered twice, and whether somebody got two answers; sessions that saw another version while theirs was there;
and what the ledger billed, beside what was answered. Nothing is asserted here; `tests/chaos/test_rollout.py` does that
for a short run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import uvloop
from prometheus_client import CollectorRegistry

from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.settings import Paths
from tests.load.rolling_control import KEY, MODEL, SECRET, ControlPlane, gateways, until
from tests.load.rolling_load import Load, torn_sessions

STEPS = (25, 50, 100)
FAILURES = "gyre_gateway_upstream_failures_total"


async def roll_out(requests: int, changes: int, callers: int = 48) -> dict[str, Any]:
    """At least `requests`, and as many as come until the last change is made."""
    home = Path(tempfile.mkdtemp(prefix="gyre-rollout-"))
    try:
        async with gateways(home) as (pools, ports, registries):
            control = ControlPlane(Paths(home / "first"), pools, home)
            load = Load(ports, SECRET, MODEL, callers)
            began = time.monotonic()
            try:
                async with asyncio.TaskGroup() as tasks:
                    (await control.bring_up("1")).weight = 100
                    await control.tell()
                    tasks.create_task(load.run())
                    await _changes(control, load, requests, changes)
                    await until_done(load, requests)
                    load.stop.set()
            finally:
                await control.stop()
            seconds = time.monotonic() - began
            ledger = Ledger(Paths(home / "first").ledger)
            account = ledger.account(KEY)
            await until(lambda: not ledger.read(account).running)
            billed = ledger.read(account)
            ledger.close()
            retried = _retried(registries)
        return _told(control, load, home, seconds) | {
            "retried_by_gateways": retried,
            "billed": {"requests": billed.requests, "tokens": billed.spent_tokens, "open": billed.reserved_tokens},
        }
    finally:
        shutil.rmtree(home)


async def _changes(control: ControlPlane, load: Load, requests: int, changes: int) -> None:
    """At even distances. A third of the way a replica of the old version dies, at two thirds a gateway."""
    distance = requests // (changes + 1)
    for number in range(1, changes + 1):
        await until_done(load, number * distance)
        old = control.versions[-1]
        new = await control.bring_up(str(number + 1))
        for step, percent in enumerate(STEPS):
            await until_done(load, number * distance + step * distance // 8)
            await control.shift(old, new, percent)
            if step == 1 and number == (changes + 2) // 3:
                await control.lose_replica(old)
            if step == 1 and number == (2 * changes + 2) // 3:
                await control.lose_gateway()
        await until_done(load, number * distance + distance // 2)
        await control.let_go(old)


async def until_done(load: Load, count: int) -> None:
    while load.done < count:  # noqa: ASYNC110 - what is awaited has no event of its own
        await asyncio.sleep(0.01)


def _retried(registries: list[CollectorRegistry]) -> dict[str, int]:
    """Attempts at an engine that failed, by how; what a killed worker counted in its last second is lost."""
    found: Counter[str] = Counter()
    for registry in registries:
        for metric in registry.collect():
            for sample in metric.samples:
                if sample.name == FAILURES:
                    found[sample.labels["reason"]] += int(sample.value)
    return dict(found)


def _told(control: ControlPlane, load: Load, home: Path, seconds: float) -> dict[str, Any]:
    asked, answered = _engines_saw(home)
    twice = [number for number, times in answered.items() if times > 1]
    return {
        "requests": load.done,
        "seconds": round(seconds, 1),
        "killed": control.killed,
        "answered": load.answered.total(),
        "failed": dict(load.failed),
        "cut_after_it_began": dict(load.cut),
        "sent_again_by_the_client": dict(load.sent_again),
        "wrong_answers": load.wrong,
        "two_answers_reached_a_client": sum(times > 1 for times in load.answered.values()),
        "asked_of_engines_more_than_once": sum(times > 1 for times in asked.values()),
        "answered_twice_by_engines": {
            "sent_twice_by_the_client": sum(load.sends[number] > 1 for number in twice),
            "sent_once_by_the_client": sum(load.sends[number] == 1 for number in twice),
        },
        "sessions": len(load.sessions),
        "sessions_that_moved_on": sum(len({each.version for each in said}) > 1 for said in load.sessions.values()),
        "sessions_torn": torn_sessions(load.sessions, control.left),
        "answered_tokens": load.tokens,
    }


def _engines_saw(home: Path) -> tuple[Counter[int], Counter[int]]:
    """How often each number was asked, and answered to its end, by all engines together."""
    seen: dict[str, Counter[int]] = {"asked": Counter(), "answered": Counter()}
    for log in home.glob("*.log"):
        for line in log.read_text().splitlines():
            what, number = line.split()
            seen[what][int(number)] += 1
    return seen["asked"], seen["answered"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=10)
    parser.add_argument("--callers", type=int, default=48, help="requests under way at once")
    parser.add_argument("--out", type=Path, default=ROOT / "tests/load/out/rollout.json")
    options = parser.parse_args()
    results = uvloop.run(roll_out(options.requests, options.changes, options.callers))
    print(json.dumps(results, indent=1), file=sys.stderr)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    settings = {name: getattr(options, name) for name in ("requests", "changes", "callers")}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": machine, "settings": settings, "results": results}, indent=1))
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
