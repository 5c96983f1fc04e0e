"""How fast the decision core is by itself: no database, no network, one process.

    python tests/load/bench_cycle.py [--nodes 1000] [--cards 8] [--rounds 5] [--policy best-effort]
                                     [--out tests/load/out/cycle.json]

A cluster of `--nodes` nodes is filled from empty by one cycle, everything ends, and it is filled again, `--rounds` times.
Of seven workloads four ask for one card and the others for 2, 4 and 8, shuffled. `placements_per_second` counts
what the cycle admitted by the seconds of the cycle; `all_in_per_second` also counts queueing it and letting it end.
`largest_stop_ms` is the longest that one cycle took. Numbers are written to a file; nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

from services.gpu_scheduler.decisions import cycle
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.cycle import Admit
from services.gpu_scheduler.decisions.places import Node
from services.gpu_scheduler.decisions.policies import POLICIES, named
from services.gpu_scheduler.decisions.quotas import ClusterQueue
from services.gpu_scheduler.decisions.work import Workload

OUT = Path(__file__).parent / "out" / "cycle.json"
SIZES = (1, 1, 1, 1, 2, 4, 8)  # cards
GIB = 1 << 30
QUEUE = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--cards", type=int, default=8, help="of each node")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--policy", choices=sorted(POLICIES), default="best-effort")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    results = run(options.nodes, options.cards, options.rounds, options.policy)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


def run(nodes: int, cards: int, rounds: int, policy: str) -> dict[str, Any]:
    cluster = new_cluster(nodes, cards, policy)
    draw = random.Random(1)
    rates, all_in, longest, placed = [], [], 0.0, 0
    for number in range(rounds):
        work = enough_work(nodes * cards, cards, draw, number)
        began = time.perf_counter()
        for each in work:
            cluster.submit(each)
        cycle_began = time.perf_counter()
        admits = [each for each in cycle.run(cluster, float(number)) if isinstance(each, Admit)]
        cycle_seconds = time.perf_counter() - cycle_began
        for admit in admits:
            cluster.release(admit.workload.name, float(number))
        seconds = time.perf_counter() - began
        rates.append(len(admits) / cycle_seconds)
        all_in.append(len(admits) / seconds)
        longest, placed = max(longest, cycle_seconds), placed + len(admits)
        for name in list(cluster.waiting):  # what was too much for the cluster
            cluster.withdraw(name)
    return {
        "nodes": nodes,
        "cards_each": cards,
        "policy": policy,
        "rounds": rounds,
        "placements": placed,
        "placements_per_second": round(statistics.median(rates)),
        "all_in_per_second": round(statistics.median(all_in)),
        "largest_stop_ms": round(longest * 1000),
    }


def new_cluster(nodes: int, cards: int, policy: str) -> Cluster:
    capacity = Amount(cards * 12_000, cards * 128 * GIB, cards * CARD)
    given = [Node(f"node-{number}", "a100", capacity) for number in range(nodes)]
    return Cluster(named(policy), {QUEUE: ClusterQueue(QUEUE)}, nodes=given)


def enough_work(total: int, most: int, draw: random.Random, number: int) -> list[Workload]:
    """Of `total` cards together, or a little more."""
    work: list[Workload] = []
    left = total
    while left > 0:
        count = min(draw.choice(SIZES), most)
        name = f"{number}/{len(work)}"
        work.append(Workload(name, QUEUE, Amount(count * 12_000, count * 100 * GIB, count * CARD), float(number)))
        left -= count
    return work


@pytest.mark.benchmark
def test_decision_core() -> None:
    results = run(nodes=1000, cards=8, rounds=3, policy="best-effort")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=1) + "\n")
    assert results["placements"] > 0


if __name__ == "__main__":
    main()
