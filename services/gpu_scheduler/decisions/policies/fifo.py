"""First come, first served: the head of each queue is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank, as_listed, by_arrival
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster


class Fifo:
    name = "fifo"
    fair = False
    strict = True
    looks_again = 0.0

    def rank(self, workload: Workload) -> Rank:
        return by_arrival(workload)

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return as_listed(cluster, workload)

    def displaces(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[tuple[Workload, Rule]]:
        return ()

    def ended(self, kind: str, seconds: float) -> None:
        return None
