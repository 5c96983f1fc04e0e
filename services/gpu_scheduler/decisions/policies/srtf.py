"""Oracles: they are told how long a job will take, and so are what other policies are measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster


class Oracle(Fifo):
    """`left`: reference seconds that each job still has to run."""

    strict = False

    def __init__(self) -> None:
        self.left: Mapping[str, float] = {}


class Srtf(Oracle):
    """Shortest remaining time first."""

    name = "srtf"

    def rank(self, workload: Workload) -> Rank:
        return (self.left[workload.name], workload.serial)

    def displaces(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[tuple[Workload, Rule]]:
        mine = self.left[workload.name]
        longer = [(self._left(each, now), each) for each in cluster.holding.values()]
        chosen = sorted((-left, each.serial, each) for left, each in longer if left > mine)
        return [(each, Rule.SHORTEST_LEFT) for _, _, each in chosen]

    def _left(self, workload: Workload, now: float) -> float:
        return self.left[workload.name] - (now - workload.admitted_at) * workload.speed
