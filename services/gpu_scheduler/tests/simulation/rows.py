"""Rows of a history, as the scheduler would have left them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from gyre_kit.names import new_id

from services.gpu_scheduler.models import Attempt, Node, Queue, Workload

QUEUE = "projects/acme/queues/default"

NUMBERS = count(1)


def workload(queued: datetime, **given: Any) -> Workload:
    uid = new_id()
    fields: dict[str, Any] = {
        "name": f"projects/acme/workloads/{uid}", "uid": uid, "project": "acme", "number": next(NUMBERS), "state": "FINISHED",
        "kind": "JOB", "module": "m", "spec_json": "{}", "cpu_milli": 1000, "memory_bytes": 0, "gpu": 1, "queue": QUEUE,
        "queue_time": queued, "attempt": 1, "created_by": "keys/ann",
    }  # fmt: skip
    return Workload(**(fields | given))


def attempt(of: Workload, begins: datetime, seconds: float | None, number: int = 1, node: str = "n") -> Attempt:
    return Attempt(
        name=f"{of.name}/attempts/{number}", project=of.project, workload=of.name, number=number, node=f"nodes/{node}",
        flavor="flavors/gpu", cpu_milli=of.cpu_milli, memory_bytes=0, gpu=of.gpu, cpu_hour_microusd=0, gpu_hour_microusd=0,
        admit_time=begins, end_time=None if seconds is None else begins + timedelta(seconds=seconds),
    )  # fmt: skip


def queue(**given: Any) -> Queue:
    fields: dict[str, Any] = {
        "name": QUEUE, "project": "acme", "display_name": "Default", "state": "ACTIVE",
        "cluster_queue": "clusterQueues/default",
    }  # fmt: skip
    return Queue(**(fields | given))


def node(now: datetime, id: str = "n", gpu: int = 1, flavor: str = "gpu", **given: Any) -> Node:
    return Node(
        name=f"nodes/{id}", display_name=id, state=given.pop("state", "READY"), create_time=now, update_time=now,
        hostname=id, flavor=f"flavors/{flavor}", cpu_milli=8000, memory_bytes=0, gpu=gpu, last_seen_time=now, **given,
    )  # fmt: skip
