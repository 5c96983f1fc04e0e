"""First come, first served: the head of each queue is waited for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank, as_listed, by_arrival
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster


class Fifo:
    """Also what a policy does that says nothing else: no flavor is better, nobody is displaced, moved or waited for."""

    name = "fifo"
    fair = False
    strict = True
    looks_again = 0.0
    has_second_choice = False

    @property
    def epoch(self) -> int:
        return 0

    def rank(self, workload: Workload) -> Rank:
        return by_arrival(workload)

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return as_listed(cluster, workload)

    def falls_back(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return ()

    def displaces(
        self, cluster: Cluster, workload: Workload, flavor: str, now: float
    ) -> Sequence[tuple[Workload, Rule]]:
        return ()

    def moves(self, cluster: Cluster, now: float) -> Iterator[tuple[Workload, str]]:
        return iter(())

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        return iter(())

    def lasts(self, workload: Workload, now: float, speed: float) -> float:
        if not workload.max_run:
            return math.inf
        return workload.max_run - (now - workload.admitted_at if workload.placement else 0.0)

    def expects(self, workload: Workload, now: float, speed: float) -> float:
        return self.lasts(workload, now, speed)

    def ended(self, workload: Workload, seconds: float) -> None:
        return None
