"""Everything that the decisions look at: who waits, who holds what, what is promised to whom. Changed step by step."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.ledger import Ledger
from services.gpu_scheduler.decisions.line import Entry, Line, Shape
from services.gpu_scheduler.decisions.places import Node
from services.gpu_scheduler.decisions.policies.base import Policy, Speeds
from services.gpu_scheduler.decisions.promise import Promise
from services.gpu_scheduler.decisions.quotas import ClusterQueue, Cohort
from services.gpu_scheduler.decisions.work import Placement, Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.reservation import Reservation


class Cluster(Ledger):
    """A ledger with those who wait, hold, and were promised something; what each does is written into it.

    `nodes` None: the quotas alone bound what runs. Raises: quotas.BadTree.
    """

    def __init__(
        self,
        policy: Policy,
        queues: Mapping[str, ClusterQueue],
        cohorts: Mapping[str, Cohort] | None = None,
        nodes: Iterable[Node] | None = None,
        speeds: Speeds | None = None,
    ) -> None:
        super().__init__(queues, cohorts or {}, nodes, speeds or Speeds())
        self.policy = policy
        self.waiting: dict[str, Entry] = {}
        self.holding: dict[str, Workload] = {}
        self.promises: dict[str, Promise] = {}
        self.promise_of: dict[str, Promise] = {}  # who leaves → for whom
        self.reservations: dict[str, Reservation] = {}  # what each cycle keeps for whom
        self.epoch = 0  # of the ranks
        self.evicted = 0  # how often somebody was asked to go
        self.dirty: set[str] = set()  # queues of which somebody is to be looked at
        self.parking: set[str] = set()  # queues of which somebody is parked
        self.short_of_room: set[str] = set()  # those of which somebody has quota, and there is no room on nodes
        self._serial = 0

    @property
    def arrived(self) -> int:
        """How many workloads there have ever been."""
        return self._serial

    # -- who waits ---------------------------------------------------------------------------------------------------

    def submit(self, workload: Workload) -> None:
        """It waits, for the first time or again. Raises: KeyError for a queue that is not there."""
        self._number(workload)
        line = self.lines[workload.queue]
        entry = (self.policy.rank(workload), workload.serial, workload)
        self.waiting[workload.name] = entry
        shape = workload.shape
        heapq.heappush(line.heaps.setdefault(shape, []), entry)
        parked = line.parked.get(shape)
        if parked is None or entry[0] < parked:
            line.parked.pop(shape, None)
            self.dirty.add(workload.queue)

    def withdraw(self, name: str) -> None:
        """It does not wait any more; what it was promised is free, but for what those that leave still hold. Those whom
        it kept from passing are looked at."""
        line = self.lines[self.waiting.pop(name)[2].queue]
        if self.reservations.pop(name, None) is not None:
            self.open_all()
        if promise := self.promises.get(name):
            self.break_promise(promise)
        if self.is_strict(line):
            self.dirty.add(line.queue.name)

    def park(self, line: Line, shape: Shape, entry: Entry) -> None:
        """The first of that shape fits nowhere: none of them is looked at until something came free."""
        line.parked[shape] = entry[0]
        self.parking.add(line.queue.name)
        workload = entry[2]
        has_quota = any(line.quota.fits(self.cells(workload, flavor)) for flavor in self.flavors(workload))
        if has_quota or self.reservations:  # which may be all that is in its way
            self.short_of_room.add(line.queue.name)

    def is_strict(self, line: Line) -> bool:
        """Nobody passes the first that does not fit."""
        return self.policy.strict or line.queue.strict

    def head(self, line: Line, shape: Shape) -> Entry | None:
        """The first of its shape that still waits and was promised nothing yet."""
        heap = line.heaps.get(shape)
        while heap:
            entry = heap[0]
            if self.waiting.get(entry[2].name) is entry and entry[2].name not in self.promises:
                return entry
            heapq.heappop(heap)
        line.heaps.pop(shape, None)
        return None

    def in_order(self, queue: str) -> Iterator[Workload]:
        """Of all that wait in that queue the first, and the next once that one does not wait any more; where order is not
        strict, of those that could ever start."""
        line = self.lines[queue]
        firsts = [(entry, shape) for shape in list(line.heaps) if (entry := self.head(line, shape)) is not None]
        if not self.is_strict(line):
            firsts = [each for each in firsts if self._could_ever_start(each[0][2])]
        heads = [(*entry[:2], shape, entry[2]) for entry, shape in firsts]
        heapq.heapify(heads)
        while heads:
            *_, shape, workload = heads[0]
            yield workload
            following = self.head(line, shape)
            if following is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (*following[:2], shape, following[2]))

    def _could_ever_start(self, workload: Workload) -> bool:
        return any(self.could_ever(workload, flavor) for flavor in self.flavors(workload))

    # -- who holds ---------------------------------------------------------------------------------------------------

    def admit(self, workload: Workload, flavor: str, placement: Placement, now: float) -> None:
        """It holds what fits; `nominate` said so."""
        self.waiting.pop(workload.name, None)
        if self.reservations.pop(workload.name, None) is not None:
            self.open_all()
        self.restore(workload, flavor, placement, now)

    def restore(self, workload: Workload, flavor: str, placement: Placement, since: float) -> None:
        """It holds that already, as far as anybody knows."""
        self._number(workload)
        workload.flavor, workload.placement, workload.admitted_at = flavor, placement, since
        workload.speed = self.speed(workload, flavor)
        workload.cells = self.cells(workload, flavor)
        workload.leaving = False
        self.holding[workload.name] = workload
        line = self.lines[workload.queue]
        line.holding[workload.name] = workload
        line.priorities[workload.priority] += 1
        self.put_back(workload)

    def leaves(self, name: str) -> None:
        """It was asked to go for another reason than that somebody needs its place: nobody need ask it again."""
        self.holding[name].leaving = True

    def release(self, name: str, now: float) -> Workload:
        """It is gone: ended, or its stop is confirmed. Whoever waited for that gets it in the next cycle."""
        workload = self.holding.pop(name)
        line = self.lines[workload.queue]
        del line.holding[name]
        line.priorities[workload.priority] -= 1
        if not line.priorities[workload.priority]:
            del line.priorities[workload.priority]
        promise = self.promise_of.pop(name, None)
        if promise is None:
            self.take_out(workload)
        else:
            del promise.leaving[name]
            self.put_promise(promise)
        workload.ran = workload.attained(now)
        self._open(workload.queue)
        workload.flavor, workload.placement, workload.leaving = "", (), False
        return workload

    # -- what is promised --------------------------------------------------------------------------------------------

    def promise(
        self, workload: Workload, flavor: str, placement: Placement, leaving: Iterable[Workload], rule: str, now: float
    ) -> Promise:
        """`leaving` were taken out of the books already by whoever looked for them."""
        promise = Promise(workload, flavor, placement, self.cells(workload, flavor), {}, rule, now)
        for each in leaving:
            each.leaving = True
            promise.leaving[each.name] = each
            self.promise_of[each.name] = promise
        self.promises[workload.name] = promise
        self.tree.add(workload.queue, promise.cells)
        self.put_promise(promise)
        return promise

    def keep(self, given: Sequence[Promise]) -> list[Promise]:
        """Makes promises of earlier books again; those that hold no more come back: a node is gone, a card sick, a quota
        less. Who leaves for one of those leaves all the same, and nobody waits for it.

        One that fits when all that leave are gone holds, also where a quota is less than what is held until then.
        """
        for each in (each for promise in given for each in promise.leaving.values()):
            each.leaving = True
        leaving = [each for each in self.holding.values() if each.leaving]
        for each in leaving:
            self.take_out(each)
        kept = [promise for promise in given if self._holds_still(promise)]  # as if all that was decided had happened
        for promise in kept:
            self.try_out(promise, -1)
        for each in leaving:
            self.put_back(each)
        for promise in kept:
            for each in promise.leaving.values():
                self.take_out(each)
            self.promise(
                promise.workload,
                promise.flavor,
                promise.placement,
                promise.leaving.values(),
                promise.rule,
                promise.since,
            )
        return [promise for promise in given if promise not in kept]

    def fulfilled(self) -> Iterator[Promise]:
        """Those for whom everybody has left, in the order of the promises; each is out of the books again, and is to be
        admitted before the next.

        Who was to go on elsewhere and ended instead does not wait: its promise is broken. Where a quota has no room for
        it beside the others that leave, a promise waits until they are gone too.
        """
        for promise in [each for each in self.promises.values() if not each.leaving]:
            if promise.workload.name not in self.waiting:
                self.break_promise(promise)
            elif self._is_within_quotas(promise):
                self._forget(promise)
                yield promise

    def break_promise(self, promise: Promise) -> None:
        """Those that leave still leave, but nobody waits for it: until they are gone they hold what they held."""
        self._forget(promise)
        for each in promise.leaving.values():
            del self.promise_of[each.name]
            self.put_back(each)
        self._open(promise.workload.queue)

    def _is_within_quotas(self, promise: Promise) -> bool:
        """With all that the books hold; or else as it is now, when others still hold what was promised."""
        quota = self.lines[promise.workload.queue].quota
        if all(quota.available(cell) >= 0 for cell in promise.cells):
            return True
        others = [each for each in self.promises.values() if each is not promise]
        for other in others:
            self.put_as_it_is(other, 1)
        is_within = all(quota.available(cell) >= 0 for cell in promise.cells)
        for other in others:
            self.put_as_it_is(other, -1)
        return is_within

    def _holds_still(self, promise: Promise) -> bool:
        """Takes what was promised, if it is there."""
        workload, flavor = promise.workload, promise.flavor
        if flavor not in self.flavors(workload) or not self.tree.fits(workload.queue, self.cells(workload, flavor)):
            return False
        if self.places is not None and not self.places.has(flavor, promise.placement):
            return False
        self.try_out(promise, 1)
        return True

    def _forget(self, promise: Promise) -> None:
        del self.promises[promise.workload.name]
        self.tree.remove(promise.workload.queue, promise.cells)
        self.take_out_promise(promise)

    def rank_again(self) -> None:
        """Ranks changed with time, or with what was learnt; everything that waits is looked at again."""
        self.epoch = self.policy.epoch
        for line in self.lines.values():
            for shape, heap in line.heaps.items():
                waiting = [workload for *_, workload in heap if workload.name in self.waiting]
                entries = {each.name: (self.policy.rank(each), each.serial, each) for each in waiting}
                self.waiting.update(entries)
                line.heaps[shape] = sorted(entries.values(), key=lambda entry: entry[:2])
        self.open_all()

    # -- who is looked at again --------------------------------------------------------------------------------------

    def open_all(self) -> None:
        """Time or the nodes changed: everything that waits is looked at again."""
        self.open(self.parking)

    def open(self, queues: Iterable[str]) -> None:
        """Who waits in those is looked at again. Where nobody is parked, whoever waits is to be looked at anyway."""
        for name in self.parking.intersection(queues):
            self.lines[name].parked.clear()
            self.parking.discard(name)
            self.short_of_room.discard(name)
            self.dirty.add(name)

    def _open(self, queue: str) -> None:
        """Something came free: quota for those of the same cohort, room for whoever has quota and waits for that."""
        if self.parking:
            below = {quota.name for quota in self.tree.queues_below(self.lines[queue].root)}
            self.open(self.parking & (below | self.short_of_room))

    def _number(self, workload: Workload) -> None:
        if not workload.serial:
            self._serial += 1
            workload.serial = self._serial
