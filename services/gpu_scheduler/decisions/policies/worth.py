"""What a flavor is worth to a workload: its speed there, over what that flavor's speed is worth to everybody.

A K80 that trains this class at 0.9 of a V100's speed is a bargain where it does 0.3 for the others: who loses least by
it goes there, and the V100 is left to those that need it (comparative advantage; Gavel, OSDI 2020, gets the same from a
linear program). A flavor's price is its mean relative speed over all classes that are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Speeds
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

SUITS = 1.0  # of the price, or the best that there is for it: it is waited for
SERVES = 0.7  # less than that and, running there costs more than waiting: the rest of the work would have to be moved


class Worth:
    def __init__(self) -> None:
        self._speeds: Speeds | None = None
        self._prices: dict[str, float] = {}
        self._choices: dict[tuple[str, int, tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def of(self, cluster: Cluster, workload: Workload, flavor: str) -> float:
        self._learn(cluster.speeds)
        return cluster.speed(workload, flavor) / self._prices.get(flavor, 1.0)

    def first(self, cluster: Cluster, workload: Workload) -> Sequence[str]:
        """The flavors that suit it, best first."""
        return self._choice(cluster, workload)[0]

    def second(self, cluster: Cluster, workload: Workload) -> Sequence[str]:
        """Those that are better than nothing."""
        return self._choice(cluster, workload)[1]

    def by_worth(self, cluster: Cluster, workload: Workload) -> Sequence[str]:
        """All that it accepts, best first."""
        return sorted(cluster.flavors(workload), key=lambda flavor: -self.of(cluster, workload, flavor))

    def _choice(self, cluster: Cluster, workload: Workload) -> tuple[tuple[str, ...], tuple[str, ...]]:
        self._learn(cluster.speeds)
        flavors = tuple(each for each in cluster.flavors(workload) if cluster.could_ever(workload, each))
        if len(flavors) < 2:
            return flavors, ()
        key = (workload.kind, workload.requests.cards, flavors)
        choice = self._choices.get(key)
        if choice is None:
            worth = {flavor: self.of(cluster, workload, flavor) for flavor in flavors}
            ordered = sorted(flavors, key=lambda flavor: (-worth[flavor], flavors.index(flavor)))
            enough = min(1.0, worth[ordered[0]])
            first = tuple(flavor for flavor in ordered if worth[flavor] >= SUITS * enough)
            second = tuple(flavor for flavor in ordered[len(first) :] if worth[flavor] >= SERVES * enough)
            choice = self._choices[key] = (first, second)
        return choice

    def _learn(self, speeds: Speeds) -> None:
        """Anew when the cluster was given other speeds."""
        if self._speeds is speeds:
            return
        self._speeds, self._choices = speeds, {}
        relative: dict[str, list[float]] = {}
        for row in speeds.known.values():
            best = max(row.values(), default=0.0)
            for flavor, speed in row.items():
                if speed > 0:
                    relative.setdefault(flavor, []).append(speed / best)
        self._prices = {flavor: math.fsum(values) / len(values) for flavor, values in relative.items()}
