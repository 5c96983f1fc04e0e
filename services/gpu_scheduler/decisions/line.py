"""Those that wait in one cluster queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Quota
from services.gpu_scheduler.decisions.work import Workload

Shape = tuple[Amount, tuple[str, ...], str, bool, float]
Entry = tuple[tuple[float, ...], int, Workload]  # rank, serial


@dataclass(slots=True, eq=False)
class Line:
    """Those that wait in one cluster queue, by shape. `parked`: shapes that fitted nowhere, with the rank that tried.

    `given`: the flavors that it gives, best first. `cells`: what requests use of the quotas on a flavor, once found out.
    `possible`: could they ever be met there.
    """

    queue: ClusterQueue
    quota: Quota
    root: Quota
    given: tuple[str, ...] = ()
    cells: dict[tuple[Amount, str], dict[Cell, int]] = field(default_factory=dict)
    possible: dict[tuple[Amount, str], bool] = field(default_factory=dict)
    heaps: dict[Shape, list[Entry]] = field(default_factory=dict)
    parked: dict[Shape, tuple[float, ...]] = field(default_factory=dict)
    holding: dict[str, Workload] = field(default_factory=dict)
    priorities: Counter[int] = field(default_factory=Counter)  # of those that hold
