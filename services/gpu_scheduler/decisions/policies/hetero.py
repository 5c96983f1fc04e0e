"""The default: knows no durations but learns them, puts work where it is worth most, and stops little.

Who waits is ordered by the card-seconds that it is expected to need (`Durations`), times what ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.base import Rank
from services.gpu_scheduler.decisions.policies.durations import Durations
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.patience import Patience
from services.gpu_scheduler.decisions.policies.victims import fewest
from services.gpu_scheduler.decisions.policies.worth import SUITS, Worth
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

BUDGET = 0.2
FOR_MOVES = 0.04
TIMES = 5.0
SETTLED = 1800.0
OFTEN = 3
MOST = 2
FASTER = 2.0
GAIN = 3000.0


class Hetero(Fifo):
    name = "hetero"
    strict = False
    looks_again = 1800.0
    has_second_choice = True

    def __init__(self) -> None:
        self._durations = Durations()
        self._worth = Worth()
        self._patience = Patience()
        self._ranked_at = -1.0
        self._ranked: list[tuple[float, int, Workload]] = []

    def rank(self, workload: Workload) -> Rank:
        return (-workload.priority, self._needs(workload, workload.ran), workload.queued_at, workload.serial)

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.first(cluster, workload)

    def falls_back(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.second(cluster, workload)

    def displaces(
        self, cluster: Cluster, workload: Workload, flavor: str, now: float
    ) -> Sequence[tuple[Workload, Rule]]:
        """Who is expected to need `TIMES` as much, the one that needs most first, while the budget has stops left."""
        stops = int((BUDGET - FOR_MOVES) * cluster.arrived - cluster.evicted)
        if stops < 1:
            return ()
        least = TIMES * self._needs(workload, workload.ran)
        longer = []
        for needs, _, each in self._by_need(cluster, now):
            if -needs <= least:
                break
            if each.flavor == flavor and not each.leaving and each.priority <= workload.priority:
                longer.append(each)
        return [(each, Rule.SHORTER) for each in fewest(cluster, workload, flavor, longer, min(MOST, stops))]

    def moves(self, cluster: Cluster, now: float) -> Iterator[tuple[Workload, str]]:
        """The one that gains most by it first."""
        if cluster.places is None or len(cluster.places.pools) < 2:
            return
        while BUDGET * cluster.arrived - cluster.evicted >= 1:
            found = max(self._gains(cluster, now), key=lambda gain: (gain[0], -gain[1].serial), default=None)
            if found is None:
                return
            yield found[1], found[2]

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        return self._patience.turn(cluster, now)

    def ended(self, workload: Workload, seconds: float) -> None:
        self._durations.add(workload, seconds)

    def _needs(self, workload: Workload, attained: float) -> float:
        """Card-seconds."""
        seconds = (self._durations.index(workload, attained) + self._durations.left(workload, attained)) / 2
        return seconds * max(1, workload.requests.cards)

    def _by_need(self, cluster: Cluster, now: float) -> list[tuple[float, int, Workload]]:
        """Those that may be stopped, found out once at each time."""
        if self._ranked_at != now:
            self._ranked_at = now
            self._ranked = sorted(
                (-self._needs(each, each.attained(now)), each.serial, each)
                for each in cluster.holding.values()
                if each.preemptible and each.preemptions < OFTEN and now - each.admitted_at >= SETTLED
            )
        return self._ranked

    def _gains(self, cluster: Cluster, now: float) -> Iterator[tuple[float, Workload, str]]:
        assert cluster.places is not None
        free = {flavor: pool.free_cards for flavor, pool in cluster.places.pools.items() if pool.free_cards}
        if not free:
            return
        for each in cluster.holding.values():
            if not each.preemptible or each.leaving or each.preemptions >= OFTEN:
                continue
            for flavor in cluster.flavors(each):
                speed = cluster.speed(each, flavor)
                if speed < FASTER * each.speed or free.get(flavor, 0) < each.requests.cards or not each.requests.cards:
                    continue
                if self._worth.of(cluster, each, flavor) < min(SUITS, self._worth.of(cluster, each, each.flavor)):
                    continue
                left = self._durations.left(each, each.attained(now))
                gain = left / each.speed - left / speed
                if gain > GAIN and cluster.place(each, flavor) is not None:
                    yield gain * each.requests.cards, each, flavor
