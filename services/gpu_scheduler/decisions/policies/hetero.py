"""The default: it knows no durations but learns them, puts work where it is worth most, and stops little.

Who waits is ordered by the card-seconds that it is expected to need (`Durations`), and gets cards that suit it (`Worth`)
or, when nobody wants them, others. Who is expected to need many times as much may be stopped for it, and may be moved
where it goes on faster: both are stops, and of those there is a budget.

How the constants were chosen, and what they reach on traces on which they were not, is in
docs/explanation/scheduling-policies.md. None is sharp there but BUDGET: three times as many stops gain a tenth more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.policies.backfill import learnt
from services.gpu_scheduler.decisions.policies.base import Rank
from services.gpu_scheduler.decisions.policies.durations import Durations, Expected
from services.gpu_scheduler.decisions.policies.fifo import Fifo
from services.gpu_scheduler.decisions.policies.patience import Patience
from services.gpu_scheduler.decisions.policies.victims import fewest
from services.gpu_scheduler.decisions.policies.worth import SUITS, Worth
from services.gpu_scheduler.decisions.reasons import Rule
from services.gpu_scheduler.decisions.work import Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.cluster import Cluster

DAY = 86400.0
BUDGET = 0.2  # stops for each workload that ever came: a stop costs minutes, and people's trust
FOR_MOVES = 0.015  # of it are kept for moves: those few are worth hours each, where cards are unlike
TIMES = 3.0  # as much has somebody to need, to be stopped: what is expected is rarely better known than that
DEAR = 10.0  # times more where the budget is at its end, so that the last stops go where they bring most
PLENTY = 20.0  # stops, from which on they are not dear at all
WAITS = 0.5  # of its expected seconds, before anybody is stopped for it while stops are scarce: cards come free by themselves
SETTLED = 300.0  # seconds: what began just now may end any moment, as most does, and a resumption costs as much
LONG = 7 * DAY  # normalised seconds, after which nobody is stopped: what is longest is not made longer
OFTEN = 18  # stops, after which it is left alone: what is stopped again and again ends later than under any other order
MOST = 8  # stops for one start: a node's worth of single cards
GAIN = DAY  # seconds, at least, is it to end earlier where it is moved to: others need the stops too
WATCH = 1800.0  # seconds between two looks at who runs on, to learn from it
STALE = 300.0  # seconds for which a list of those that may be stopped is good: needs change slowly


class Hetero(Fifo):
    name = "hetero"
    strict = False
    looks_again = 1800.0
    has_second_choice = True

    def __init__(self) -> None:
        self._durations = Durations()
        self._worth = Worth()
        self._patience = Patience()
        self._looked_at = -STALE
        self._watched_at = -WATCH
        self._by_need: list[tuple[float, int, Workload]] = []

    @property
    def epoch(self) -> int:
        return self._durations.epoch

    def rank(self, workload: Workload) -> Rank:
        """Who serves has no end, and somebody waits for it now."""
        needs = 0.0 if workload.serves else _cost(workload, self._expected(workload))
        return (-workload.priority, needs, workload.queued_at, workload.serial)

    def flavors(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.first(cluster, workload)

    def falls_back(self, cluster: Cluster, workload: Workload, now: float) -> Sequence[str]:
        return self._worth.second(cluster, workload)

    def displaces(
        self, cluster: Cluster, workload: Workload, flavor: str, now: float
    ) -> Sequence[tuple[Workload, Rule]]:
        """Who is expected to need many times as much, the one that needs most first, while the budget has stops left.

        For one that waited too long, whoever it takes.
        """
        stops = (BUDGET - FOR_MOVES) * cluster.arrived - cluster.evicted
        if stops < 1 or workload.serves:
            return ()
        least, rule = 0.0, Rule.STARVING
        if not self._patience.has_turn(workload):
            expected = self._expected(workload)
            scarce = max(0.0, 1 - stops / PLENTY)
            if now - workload.queued_at < WAITS * scarce * expected.gittins:
                return ()
            least, rule = TIMES * (1 + DEAR * scarce * scarce) * _cost(workload, expected), Rule.SHORTER
        may_go = list(self._longer(cluster, workload, flavor, least, now))
        return [(each, rule) for each in fewest(cluster, workload, flavor, may_go, min(MOST, int(stops)))]

    def moves(self, cluster: Cluster, now: float) -> Iterator[tuple[Workload, str]]:
        """The one that gains most by it first."""
        self._watch(cluster, now)
        if cluster.places is None or len(cluster.places.pools) < 2:
            return
        moved = 0
        while BUDGET * cluster.arrived - cluster.evicted - moved >= 1:
            found = max(self._gains(cluster, now), key=lambda gain: (gain[0], -gain[1].serial), default=None)
            if found is None:
                return
            moved += 1
            yield found[1], found[2]

    def reserves(self, cluster: Cluster, now: float) -> Iterator[Workload]:
        return self._patience.turn(cluster, now)

    def expects(self, workload: Workload, now: float, speed: float) -> float:
        if workload.max_run:
            return self.lasts(workload, now, speed)
        return learnt(self._durations, workload, now, speed)

    def ended(self, workload: Workload, seconds: float) -> None:
        self._durations.add(workload, seconds)

    def _expected(self, workload: Workload) -> Expected:
        """Of one that waits: what cannot go on where it was begins anew."""
        return self._durations.of(workload, workload.ran if workload.resumes else 0.0)

    def _watch(self, cluster: Cluster, now: float) -> None:
        if abs(now - self._watched_at) >= WATCH:
            self._watched_at = now
            stopped = (each for *_, each in cluster.waiting.values() if each.ran)
            begun = (each for each in chain(cluster.holding.values(), stopped) if each.resumes)
            self._durations.watch(begun, now)

    def _longer(
        self, cluster: Cluster, workload: Workload, flavor: str, least: float, now: float
    ) -> Iterator[Workload]:
        """Those that need more than `least` and may be stopped for it, the one that needs most first."""
        if abs(now - self._looked_at) >= STALE:
            self._looked_at = now
            self._by_need = sorted(
                (-_cost(each, self._durations.of(each, each.attained(now))), each.serial, each)
                for each in cluster.holding.values()
                if each.preemptible and each.resumes and each.preemptions < OFTEN and each.attained(now) < LONG
            )
        for needs, _, each in self._by_need:
            if -needs <= least:
                return
            is_there = each.flavor == flavor and not each.leaving and now - each.admitted_at >= SETTLED
            if is_there and each.priority <= workload.priority:
                yield each

    def _gains(self, cluster: Cluster, now: float) -> Iterator[tuple[float, Workload, str]]:
        """Card-seconds that a move would save, of whom, and where to."""
        assert cluster.places is not None
        free = {flavor: pool.free_cards for flavor, pool in cluster.places.pools.items() if pool.free_cards}
        if not free:
            return
        for each in cluster.holding.values():
            cards = each.requests.cards
            if not (each.preemptible and each.resumes) or each.leaving or not cards:
                continue
            for flavor in cluster.flavors(each):
                speed = cluster.speed(each, flavor)
                if speed <= each.speed or free.get(flavor, 0) < cards:
                    continue
                gain = self._durations.of(each, each.attained(now)).mean * (1 / each.speed - 1 / speed)
                if gain > GAIN and self._may_move(cluster, each, flavor):
                    yield gain * cards, each, flavor

    def _may_move(self, cluster: Cluster, workload: Workload, flavor: str) -> bool:
        """It suits it there, or is no worse than where it is, and there is room."""
        here, there = (self._worth.of(cluster, workload, each) for each in (workload.flavor, flavor))
        return there >= min(SUITS, here) and cluster.fits(workload, flavor) is not None


def _cost(workload: Workload, expected: Expected) -> float:
    """Card-seconds that are left: half by the mean, half by Gittins' index, which alone makes too little of tails."""
    return (expected.gittins + expected.mean) / 2 * max(1, workload.requests.cards)
