"""Least attained service, in queues: who had little so far goes before who had much (Tiresias, NSDI 2019).

It needs to know nothing about durations, and is good where they have a heavy tail; it pays with preemptions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.patience import Patience
from services.gpu_scheduler.decisions.policies.victims import fewest
from services.gpu_scheduler.decisions.policies.worth import Worth
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

HOUR = 3600.0
QUEUES = (1 * HOUR, 10 * HOUR, 100 * HOUR)  # card-seconds: a try, an experiment, a training; beyond that all are alike
MOST = 8  # stops for one start
STALE = 60.0  # seconds for which a list of those that may be stopped is good


class Las(Fifo):
    """Within a queue by arrival, so that there they do not take cards from one another in turns."""

    name = "las"
    strict = False
    looks_again = 600.0
    has_second_choice = True

    def __init__(self, queues: Sequence[float] = QUEUES) -> None:
        self._queues = queues
        self._worth = Worth()
        self._patience = Patience()
        self._looked_at = -STALE
        self._by_queue: list[tuple[int, float, int, Workload]] = []

    def rank(self, workload: Workload) -> Rank:
        return (-workload.priority, self._queue(workload, workload.ran), workload.queued_at, workload.serial)

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.first(cluster, workload)

    def falls_back(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.second(cluster, workload)

    def displaces(
        self, cluster: Cluster, workload: Workload, flavor: str, now: float
    ) -> Sequence[tuple[Workload, Rule]]:
        """Those of lower queues and of no higher priority, the one that had most first."""
        lower = list(self._lower(cluster, workload, flavor, now))
        return [(each, Rule.LEAST_SERVED) for each in fewest(cluster, workload, flavor, lower, MOST)]

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        return self._patience.turn(cluster, now)

    def _lower(self, cluster: Cluster, workload: Workload, flavor: str, now: float) -> Iterator[Workload]:
        if abs(now - self._looked_at) >= STALE:
            self._looked_at = now
            self._by_queue = sorted(
                (-self._queue(each, each.attained(now)), -each.queued_at, each.serial, each)
                for each in cluster.holding.values()
                if each.preemptible and each.resumes
            )
        mine = self._queue(workload, workload.ran)
        for queue, _, _, each in self._by_queue:
            if -queue <= mine:
                return
            is_there = each.flavor == flavor and not each.leaving and each.priority <= workload.priority
            if is_there and self._queue(each, each.attained(now)) > mine:  # what it ran may have been corrected since
                yield each

    def _queue(self, workload: Workload, seconds: float) -> int:
        return bisect_right(self._queues, seconds * max(1, workload.requests.cards))
