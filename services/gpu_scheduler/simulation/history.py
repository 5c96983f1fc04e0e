"""What was really asked for and run, as a trace. Pure: rows in, jobs and nodes out.

What is not known and so taken for granted: a job is as long on every flavor as it was on its own; memory bounds nothing;
what waited because its owner was slow, or failed and came back, is one stretch of work.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gyre_kit.names import last
from gyre_kit.periods import Period

from services.gpu_scheduler.models import Attempt, ClusterQueue, NodeState, Queue, Workload
from services.gpu_scheduler.models import Node as NodeRow
from services.gpu_scheduler.simulation.model import Job, Node, Quota

GPU, CPU = "gpu", "cpu"


@dataclass(frozen=True)
class History:
    """`left_out` never ran; `truncated` still ran at the end. `quotas`: cluster queue → flavor → {cpu_milli, gpu, …}."""

    jobs: Sequence[Job]
    nodes: Sequence[Node]
    quotas: Mapping[str, Mapping[str, Mapping[str, int]]]
    left_out: int = 0
    truncated: int = 0


@dataclass(frozen=True)
class Added:
    """Nodes to add: so many, each with so many cards and thousandths of a core."""

    count: int
    flavor: str
    cards: int
    cpu_milli: int


def history_of(
    workloads: Iterable[tuple[Workload, Queue]],
    attempts: Mapping[str, Sequence[Attempt]],
    nodes: Iterable[NodeRow],
    queues: Iterable[ClusterQueue],
    period: Period,
) -> History:
    """Second 0 is the period's beginning: what was submitted earlier, is there from then on with what it did since."""
    jobs, left_out, truncated = [], 0, 0
    for workload, queue in workloads:
        own = attempts.get(workload.name, ())
        seconds = sum(_seconds_within(attempt, period) for attempt in own)
        if not seconds:
            left_out += 1
            continue
        truncated += any(attempt.end_time is None or attempt.end_time > period.end for attempt in own)
        jobs.append(_job(workload, queue, seconds, period.start))
    return History(
        jobs=sorted(jobs, key=lambda job: (job.submit, job.id)),
        nodes=[_node(row) for row in nodes if row.state != NodeState.LOST],
        quotas={last(row.name): {last(flavor): amount for flavor, amount in row.quotas.items()} for row in queues},
        left_out=left_out,
        truncated=truncated,
    )


def without(history: History, gone: Container[str]) -> History:
    """The same work on the nodes that are not `gone`."""
    return replace(history, nodes=[node for node in history.nodes if node.id not in gone])


def with_more(history: History, additions: Iterable[Added]) -> History:
    """The same work on more nodes. Names of the new ones begin with `+`, which no node's own does."""
    more = [
        Node(f"+{number}-{index}", added.cards, added.flavor, added.cpu_milli)
        for number, added in enumerate(additions, 1)
        for index in range(1, added.count + 1)
    ]
    return replace(history, nodes=[*history.nodes, *more])


def quotas_of(history: History) -> list[Quota]:
    """None where no queue has any: then the nodes alone bound what runs. A queue without its own may use everything."""
    if not any(history.quotas.values()):
        return []
    total: dict[str, dict[str, int]] = {}
    for node in history.nodes:
        sums = total.setdefault(node.flavor, {"cpu_milli": 0, "gpu": 0})
        sums["cpu_milli"] += node.cpu_milli
        sums["gpu"] += node.gpus
    return [
        Quota(queue, "", flavor, resource, amount)
        for queue, quotas in sorted(history.quotas.items())
        for flavor, given in sorted((quotas or total).items())
        for resource, amount in ((CPU, given.get("cpu_milli", 0) / 1000), (GPU, float(given.get("gpu", 0))))
    ]


def _seconds_within(attempt: Attempt, period: Period) -> float:
    end = min(attempt.end_time or period.end, period.end)
    return max(0.0, (end - max(attempt.admit_time, period.start)).total_seconds())


def _job(workload: Workload, queue: Queue, seconds: float, start: datetime) -> Job:
    return Job(
        id=workload.name,
        submit=max(0.0, (workload.queue_time - start).total_seconds()),
        duration=seconds,
        gpus=workload.gpu,
        cpu_milli=workload.cpu_milli,
        flavors=(last(workload.only_flavor),) if workload.only_flavor else (),
        queue=last(queue.cluster_queue),
        user=workload.created_by,
        priority=queue.priority + workload.priority,
    )


def _node(row: NodeRow) -> Node:
    return Node(last(row.name), row.gpu, last(row.flavor), row.cpu_milli, row.memory_bytes)
