"""Nodes of a Slurm cluster, as `scontrol --oneliner show node` tells of them."""

from __future__ import annotations

import re

from services.gpu_scheduler.cards import CardReading
from services.gpu_scheduler.hardware import CPU_FLAVOR, Machine
from services.gpu_scheduler.launchers.base import RemoteNode

FIELD = re.compile(r"(\w+)=(.*?)(?=\s+\w+=|\s*$)")
GRES = re.compile(r"gpu:(?:([\w.-]+):)?(\d+)")
TAKES_WORK = frozenset({"IDLE", "ALLOCATED", "MIXED", "COMPLETING", "PLANNED"})
SIMULATED = "gyre-simulated"  # a feature of a node whose cards are made up


def told_node(line: str, partition: str) -> RemoteNode | None:
    """None for a node of other partitions, and for one that takes no work: down, drained, not responding."""
    told: dict[str, str] = dict(FIELD.findall(line))
    state = told.get("State", "").split("+")
    if partition not in told.get("Partitions", "").split(",") or not TAKES_WORK.issuperset(state):
        return None
    name = told["NodeName"]
    found = GRES.search(told.get("Gres", ""))
    model, count = (found[1] or "gpu", int(found[2])) if found else ("", 0)
    simulated = SIMULATED in told.get("ActiveFeatures", "").split(",")
    slug = f"slurm-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}"[:63]
    machine = Machine(
        id=slug,
        hostname=told.get("NodeHostName", name),
        flavor=re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") if count else CPU_FLAVOR,
        cpu_milli=int(told["CPUTot"]) * 1000,
        memory_bytes=int(told["RealMemory"]) * 2**20,
        cpu_percent=0.0,
        memory_used_bytes=0,
        cards=[CardReading(index, f"SLURM-{name}-{index}", model, 0, simulated=simulated) for index in range(count)],
    )
    return RemoteNode(machine, name, told.get("NodeAddr", name))
