"""Queues take turns by their weighted dominant share; within a queue by priority and age, and who fits may pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.patience import Patience
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster


class Fair(Fifo):
    name = "fair"
    fair = True
    strict = False
    looks_again = 3600.0

    def __init__(self) -> None:
        self._patience = Patience()

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        return self._patience.turn(cluster, now)
