"""Oracles: they are told how long a job will take, and so are what other policies are measured by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.victims import fewest
from services.gpu_scheduler.decisions.policies.worth import Worth
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

STAYS = 1.3  # times as much worth is where it runs already: what is gained by less is lost by moving


class Oracle(Fifo):
    """`left`: reference seconds that each job still has to run."""

    strict = False

    def __init__(self) -> None:
        self.left: Mapping[str, float] = {}


class Srtf(Oracle):
    """Shortest remaining time first, planned anew at every change: by what is left, each on the flavor that is worth
    most to it among those that are not taken by shorter ones. Stops and moves cost it what they cost the others.
    """

    name = "srtf"
    has_second_choice = True

    def __init__(self) -> None:
        super().__init__()
        self._worth = Worth()
        self._planned_at = -1.0
        self._plan: dict[str, str] = {}

    def rank(self, workload: Workload) -> Rank:
        return (self.left[workload.name], workload.serial)

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        if cluster.places is None:
            return cluster.flavors(workload)
        planned = self._planned(cluster, now).get(workload.name)
        return (planned,) if planned else ()

    def falls_back(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.by_worth(cluster, workload)

    def displaces(
        self, cluster: Cluster, workload: Workload, flavor: str, now: float
    ) -> Sequence[tuple[Workload, Rule]]:
        """Those for which the plan has other cards or none, the longest first."""
        plan = self._planned(cluster, now)
        found = [
            (-self._left(each, now), each.serial, each)
            for each in cluster.holding.values()
            if each.flavor == flavor and not each.leaving and plan.get(each.name) != flavor
        ]
        chosen = fewest(cluster, workload, flavor, [each for *_, each in sorted(found)], len(found))
        return [(each, Rule.SHORTEST_LEFT) for each in chosen]

    def moves(self, cluster: Cluster, now: float) -> Iterator[tuple[Workload, str]]:
        if cluster.places is None or len(cluster.places.pools) < 2:
            return
        plan = self._planned(cluster, now)
        for each in list(cluster.holding.values()):
            planned = plan.get(each.name, each.flavor)
            if planned != each.flavor and not each.leaving:
                yield each, planned

    def _planned(self, cluster: Cluster, now: float) -> Mapping[str, str]:
        if self._planned_at != now:
            self._planned_at, self._plan = now, self._make_plan(cluster, now)
        return self._plan

    def _make_plan(self, cluster: Cluster, now: float) -> dict[str, str]:
        assert cluster.places is not None
        free = {flavor: sum(room.size for room in pool.rooms.values()) for flavor, pool in cluster.places.pools.items()}
        everybody = [(self.left[name], serial, each) for name, (_, serial, each) in cluster.waiting.items()]
        everybody += [(self._left(each, now), each.serial, each) for each in cluster.holding.values()]
        plan: dict[str, str] = {}
        left = sum(free.values())
        for _, _, each in sorted(everybody):
            cards = max(1, each.requests.cards)
            fitting = [flavor for flavor in cluster.flavors(each) if free[flavor] >= cards]
            if fitting:
                best = max(fitting, key=lambda flavor: self._value(cluster, each, flavor))
                plan[each.name] = best
                free[best] -= cards
                left -= cards
                if left <= 0:
                    break
        return plan

    def _value(self, cluster: Cluster, workload: Workload, flavor: str) -> float:
        return self._worth.of(cluster, workload, flavor) * (STAYS if workload.flavor == flavor else 1.0)

    def _left(self, workload: Workload, now: float) -> float:
        return self.left[workload.name] - (now - workload.admitted_at) * workload.speed
