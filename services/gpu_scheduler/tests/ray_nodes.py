"""A real Ray cluster of a head and four nodes on this machine, as a process of its own: `python -m … `.

Its cards are simulated, of three kinds, and labelled so. Says `{address, raylets}` when it is up, and goes when its
stdin ends. A node is seen dead after some three seconds instead of fifteen.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
MIB = 1024 * 1024
CARDS = (("A100", 4), ("H100", 2), ("L4", 1), ("A100", 4))
STORE: dict[str, Any] = {"object_store_memory": 80 * MIB, "include_dashboard": False}


def main() -> None:
    os.environ.update(HEALTH)
    from ray.cluster_utils import Cluster  # after the environment: Ray reads it when it is imported

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **STORE})
    raylets = {}
    for number, (kind, count) in enumerate(CARDS):
        name = f"sim-{number}"
        labels = {"ray.io/accelerator-type": kind, "gyre.dev/simulated": "true", "gyre.dev/node": name}
        node = cluster.add_node(num_cpus=4, num_gpus=count, memory=4096 * MIB, labels=labels, **STORE)
        raylets[name] = node.all_processes["raylet"][0].process.pid
    sys.stdout.write(json.dumps({"address": cluster.address, "raylets": raylets}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    cluster.shutdown()


if __name__ == "__main__":
    main()
