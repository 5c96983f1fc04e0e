"""Cards that are kept for somebody who waits: what is free of them now, and what comes free as others end.

Nobody is asked to go. Made anew in each cycle, so that it gets better when others end early and never worse while they
end when they have to: what fitted at the reserved time still does (EASY, Lifka 1995; Mu'alem and Feitelson 2001).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.places import ANYWHERE
from services.gpu_scheduler.decisions.quotas import Cell
from services.gpu_scheduler.decisions.work import Placement, Share, Workload


@dataclass(frozen=True, slots=True)
class Reservation:
    """`at`: when all that is missing will have come free; infinite where nobody knows how long those will run."""

    workload: Workload
    flavor: str
    placement: Placement
    at: float


class Reservations:
    """Those of one cycle. What is held for them is in the cluster's books until `release`."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._made: list[Reservation] = []
        self._held: list[tuple[str, dict[Cell, int], Placement]] = []

    def make(self, workload: Workload, flavors: Iterable[str], now: float) -> None:
        """Where it can start first; nothing where it could not even if everybody ended."""
        found = [each for flavor in flavors if (each := self._earliest(workload, flavor, now)) is not None]
        if found:
            before = self.cluster.reservations.get(workload.name)
            best = min(found, key=lambda each: (each.at, before is None or each.flavor != before.flavor))
            if before is not None and before.at == best.at == math.inf and self._still_there(before):
                best = before  # nobody knows: to change one's mind would be to wait for ever
            self._made.append(best)
            self._hold([best])

    def all_made(self) -> None:
        """What was kept in earlier cycles and is not any more, or longer, is free for whoever was parked for its sake."""
        made = {each.workload.name: each for each in self._made}
        if any(_gave_up(before, made.get(name)) for name, before in self.cluster.reservations.items()):
            self.cluster.open_all()
        self.cluster.reservations = made

    def before(self, workload: Workload, flavor: str, now: float) -> Placement | None:
        """Where it can run on reserved cards without anybody starting later, as it will have ended by then."""
        ends = now + self.cluster.policy.lasts(workload, now, self.cluster.speed(workload, flavor))
        if not any(each.at >= ends for each in self._made if each.at < math.inf):
            return None
        self.release()
        self._hold([each for each in self._made if not ends <= each.at < math.inf])
        placement = self.cluster.fits(workload, flavor)
        self.release()
        with self._as_if_admitted(workload, flavor, placement):
            self._hold(self._made)
        return placement

    def release(self) -> None:
        """The cycle is over, or begins again."""
        for queue, cells, placement in self._held:
            self.cluster.tree.remove(queue, cells)
            if self.cluster.places is not None:
                self.cluster.places.give_back(placement)
        self._held.clear()

    # -- below -------------------------------------------------------------------------------------------------------

    def _earliest(self, workload: Workload, flavor: str, now: float) -> Reservation | None:
        """Takes out of the books those that leave already, then those that end first, until it fits."""
        cluster, at = self.cluster, now
        placement = cluster.fits(workload, flavor)
        with ExitStack() as undo:
            if placement is None:
                self._let_go(undo)
                placement = cluster.fits(workload, flavor)
            ends = iter(self._by_end(flavor, now))
            has_room = cluster.place(workload, flavor) is not None  # on nodes; quotas may still be in its way
            while placement is None:
                at, each = next(ends, (math.inf, None))
                if each is None:
                    return None
                freed = self._end(each, undo)
                has_room = has_room or self._makes_room(workload, flavor, freed)
                placement = cluster.fits(workload, flavor) if has_room else None
        return Reservation(workload, flavor, placement, at)

    def _makes_room(self, workload: Workload, flavor: str, freed: Placement) -> bool:
        """There was none until `freed` came free."""
        places = self.cluster.places
        pool = places.pools.get(flavor) if places is not None else None
        if pool is not None and not pool.may_fit(workload.requests, freed):
            return False
        return self.cluster.place(workload, flavor) is not None

    def _by_end(self, flavor: str, now: float) -> Sequence[tuple[float, Workload]]:
        """Those that hold and stay, and those that will hold what they were promised."""
        cluster, lasts = self.cluster, self.cluster.policy.lasts
        stay = [(each, each.speed) for each in cluster.holding.values() if each.flavor == flavor and not each.leaving]
        promised = [each.workload for each in cluster.promises.values() if each.flavor == flavor]
        both = [*stay, *((each, cluster.speed(each, flavor)) for each in promised)]
        ends = sorted((now + lasts(each, now, speed), each.admitted_at, each.serial, each) for each, speed in both)
        return [(end, each) for end, _, _, each in ends]

    def _let_go(self, undo: ExitStack) -> None:
        cluster = self.cluster
        for each in cluster.holding.values():
            if each.leaving and each.name not in cluster.promise_of:
                cluster.take_out(each)
                undo.callback(cluster.put_back, each)
        for promise in cluster.promises.values():
            cluster.settle(promise)
            undo.callback(cluster.unsettle, promise)

    def _end(self, each: Workload, undo: ExitStack) -> Placement:
        """What comes free."""
        cluster, promise = self.cluster, self.cluster.promises.get(each.name)
        if promise is None:
            cluster.take_out(each)
            undo.callback(cluster.put_back, each)
            return each.placement
        cluster.try_out(promise, -1)
        undo.callback(cluster.try_out, promise, 1)
        return promise.placement

    def _still_there(self, before: Reservation) -> bool:
        places = self.cluster.places
        if places is None:
            return True
        pool = places.pools.get(before.flavor)
        return pool is not None and all(share.node in pool.rooms for share in before.placement)

    def _hold(self, reservations: Iterable[Reservation]) -> None:
        """What is free of it: the rest is held by those that are expected to end."""
        cluster = self.cluster
        for each in reservations:
            quota = cluster.lines[each.workload.queue].quota
            wanted = cluster.cells(each.workload, each.flavor)
            cells = {cell: min(amount, max(0, quota.available(cell))) for cell, amount in wanted.items()}
            placement = tuple(self._free_part(share, each.flavor) for share in each.placement)
            cluster.tree.add(each.workload.queue, cells)
            if cluster.places is not None:
                cluster.places.take(placement)
            self._held.append((each.workload.queue, cells, placement))

    def _free_part(self, share: Share, flavor: str) -> Share:
        places = self.cluster.places
        room = places.pools[flavor].rooms.get(share.node) if places is not None else None
        if room is None:
            return ANYWHERE[0]
        cpu, memory = max(0, min(share.amount[0], room.cpu)), max(0, min(share.amount[1], room.memory))
        cards = tuple((index, min(milli, room.cards[index])) for index, milli in share.cards)
        return Share(share.node, Amount(cpu, memory, sum(milli for _, milli in cards)), cards)

    @contextmanager
    def _as_if_admitted(self, workload: Workload, flavor: str, placement: Placement | None) -> Iterator[None]:
        if placement is None:
            yield
            return
        cluster, cells = self.cluster, self.cluster.cells(workload, flavor)
        cluster.tree.add(workload.queue, cells)
        if cluster.places is not None:
            cluster.places.take(placement)
        try:
            yield
        finally:
            cluster.tree.remove(workload.queue, cells)
            if cluster.places is not None:
                cluster.places.give_back(placement)


def _gave_up(before: Reservation, now: Reservation | None) -> bool:
    """A part of what was kept, or the time at which it is needed."""
    return now is None or now.at > before.at or (now.flavor, now.placement) != (before.flavor, before.placement)
