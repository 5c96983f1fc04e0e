"""By priority and age, and who fits may pass: always (best effort), or only if the head does not start later for it."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank
from services.gpu_scheduler.decisions.policies.durations import Durations
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

ENOUGH = 5  # ended jobs of a class and size before their mean is used as a bound


class BestEffort(Fifo):
    """Kueue's BestEffortFIFO: who does not fit is stepped over, and nothing is kept for it."""

    name = "best-effort"
    strict = False


class Backfill(BestEffort):
    """EASY backfilling (Lifka 1995): each queue's head has a reservation; shorter work may use it until then.

    How long work lasts is its `max_run`, which is kept to. Where it has none, the mean of what ended in its throughput
    class stands in: then a reservation is an estimate, and may slip. Of what nothing is known, nothing is expected: it
    may only use cards that the head does not need.
    """

    name = "backfill"
    looks_again = 600.0  # what lasts longer than such work does on average lets others in meanwhile

    def __init__(self) -> None:
        self._durations = Durations()

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        """The heads in the order of the contest: nobody borrows what its owner would take back in the same cycle."""
        lines = {name: cluster.in_order(name) for name in cluster.lines}
        turns = [_turn(cluster, head) for line in lines.values() if (head := next(line, None)) is not None]
        heapq.heapify(turns)
        while turns:
            *_, head = turns[0]
            yield head
            following = next(lines[head.queue], None) if head.name not in cluster.waiting else None
            if following is None:
                heapq.heappop(turns)
            else:
                heapq.heapreplace(turns, _turn(cluster, following))

    def lasts(self, workload: Workload, now: float, speed: float) -> float:
        if workload.max_run:
            return super().lasts(workload, now, speed)
        return learnt(self._durations, workload, now, speed)

    def ended(self, workload: Workload, seconds: float) -> None:
        self._durations.add(workload, seconds)


def _turn(cluster: Cluster, head: Workload) -> tuple[bool, Rank, int, Workload]:
    """Of a queue's head: those that stay within their own first, then by rank."""
    rank, serial, _ = cluster.waiting[head.name]
    return cluster.lines[head.queue].quota.borrows(cluster.nominal_cells(head)), rank, serial, head


def learnt(durations: Durations, workload: Workload, now: float, speed: float) -> float:
    """Seconds that such work goes on for, from now, by what ended before; infinite where too little did."""
    if durations.seen(workload) < ENOUGH or not speed:
        return math.inf
    return durations.of(workload, workload.attained(now)).mean / speed
