"""Everything that the decisions look at: who waits, who holds what, what is promised to whom. Changed step by step.

What is **held in the books** (quotas and places) is enough for now and for when all that was decided has happened: for a
promise that is the larger of what those hold that leave for it, and of what it will take. So nobody else is given what is
promised, nor what somebody has not left yet.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.places import ANYWHERE, Node, Places, larger
from services.gpu_scheduler.decisions.policies.base import Policy, Speeds
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Cohort, Quota, QuotaTree
from services.gpu_scheduler.decisions.work import Placement, Workload

if TYPE_CHECKING:
    from services.gpu_scheduler.decisions.reservation import Reservation

Shape = tuple[Amount, tuple[str, ...], str, bool, float]
Entry = tuple[tuple[float, ...], int, Workload]  # rank, serial


@dataclass(slots=True, eq=False)
class Promise:
    """What `workload` gets as soon as all of `leaving` are gone. `rule`: by which they have to go.

    `booked`: what the books hold for it and for them, on nodes and of the quotas of their queues.
    """

    workload: Workload
    flavor: str
    placement: Placement
    cells: Mapping[Cell, int]
    leaving: dict[str, Workload]
    rule: str
    since: float
    booked: Placement = ()
    surplus: list[tuple[str, dict[Cell, int]]] = field(default_factory=list)


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


class Cluster:
    """`nodes` None: the quotas alone bound what runs. Raises: quotas.BadTree."""

    def __init__(
        self,
        policy: Policy,
        queues: Mapping[str, ClusterQueue],
        cohorts: Mapping[str, Cohort] | None = None,
        nodes: Iterable[Node] | None = None,
        speeds: Speeds | None = None,
    ) -> None:
        self.policy = policy
        self.tree = QuotaTree(queues, cohorts or {})
        self.places = None if nodes is None else Places(nodes)
        self.speeds = speeds or Speeds()
        self.lines = {name: self._line(queue) for name, queue in queues.items()}
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
        self._flavors = self._all_flavors()
        for line in self.lines.values():
            line.given = tuple(flavor for flavor in self._flavors if self._is_given(line, flavor))

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

    def first(self, queue: str) -> Workload | None:
        """Of all that wait in that queue; where order is not strict, of those that could ever start."""
        line = self.lines[queue]
        heads = [entry for shape in list(line.heaps) if (entry := self.head(line, shape)) is not None]
        if not self.is_strict(line):
            heads = [each for each in heads if any(self.could_ever(each[2], name) for name in self.flavors(each[2]))]
        return min(heads)[2] if heads else None

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
        self._book(workload)

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
            self._unbook(workload)
        else:
            del promise.leaving[name]
            self._book_promise(promise)
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
        self._book_promise(promise)
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
            self._book(each)
        self._open(promise.workload.queue)

    def settle(self, promise: Promise) -> None:
        """As if all that leave for it were gone; `unsettle` undoes it."""
        self._unbook_promise(promise)
        if self.places is not None:
            promise.booked = promise.placement
            self.places.take(promise.booked)

    def unsettle(self, promise: Promise) -> None:
        self._book_promise(promise)

    def try_out(self, promise: Promise, sign: int) -> None:
        """What it will hold, into the books (1) or out of them (-1)."""
        cells = self.cells(promise.workload, promise.flavor)
        self.tree.add(promise.workload.queue, {cell: sign * amount for cell, amount in cells.items()})
        if self.places is not None:
            (self.places.take if sign > 0 else self.places.give_back)(promise.placement)

    def _is_within_quotas(self, promise: Promise) -> bool:
        """With all that the books hold; or else as it is now, when others still hold what was promised."""
        quota = self.lines[promise.workload.queue].quota
        if all(quota.available(cell) >= 0 for cell in promise.cells):
            return True
        others = [each for each in self.promises.values() if each is not promise]
        for other in others:
            self._book_as_it_is(other, 1)
        is_within = all(quota.available(cell) >= 0 for cell in promise.cells)
        for other in others:
            self._book_as_it_is(other, -1)
        return is_within

    def _book_as_it_is(self, promise: Promise, sign: int) -> None:
        """Of the quotas, what those hold that leave for it instead of what is booked for it (1), or back again (-1)."""
        held = [(each.queue, each.cells, sign) for each in promise.leaving.values()]
        booked = [(queue, cells, -sign) for queue, cells in [(promise.workload.queue, promise.cells), *promise.surplus]]
        for queue, cells, times in [*held, *booked]:
            self.tree.add(queue, {cell: times * amount for cell, amount in cells.items()})

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
        self._unbook_promise(promise)

    # -- what fits ---------------------------------------------------------------------------------------------------

    def flavors(self, workload: Workload) -> tuple[str, ...]:
        """Those that it accepts, in its order, and that its queue gives."""
        given = self.lines[workload.queue].given
        if not workload.flavors:
            return given
        return tuple(flavor for flavor in workload.flavors if flavor in given)

    def cells(self, workload: Workload, flavor: str) -> dict[Cell, int]:
        """What it would use of the quotas that its queue's tree has of `flavor`. Not to be changed: it is shared."""
        line = self.lines[workload.queue]
        key = (workload.requests, flavor)
        found = line.cells.get(key)
        if found is None:
            asked = {(flavor, kind): amount for kind, amount in enumerate(workload.requests) if amount}
            found = line.cells[key] = {cell: amount for cell, amount in asked.items() if cell in line.root.subtree}
        return found

    def could_ever(self, workload: Workload, flavor: str) -> bool:
        """Would it fit if nobody held anything? Other nodes or quotas are another cluster."""
        line = self.lines[workload.queue]
        key = (workload.requests, flavor)
        found = line.possible.get(key)
        if found is None:
            cells, pools = self.cells(workload, flavor), self.places.pools if self.places is not None else None
            is_allowed = all(line.quota.available(cell, unused=True) >= amount for cell, amount in cells.items())
            found = is_allowed and (pools is None or (flavor in pools and pools[flavor].could_ever(workload.requests)))
            line.possible[key] = found
        return found

    def nominal_cells(self, workload: Workload) -> dict[Cell, int]:
        """On the first flavor of which its queue has enough left, else on the first; empty where it is given none."""
        first: dict[Cell, int] = {}
        for flavor in self.flavors(workload):
            cells = self.cells(workload, flavor)
            if self.tree.fits(workload.queue, cells):
                return cells
            first = first or cells
        return first

    def speed(self, workload: Workload, flavor: str) -> float:
        return self.speeds.of(workload.kind, workload.requests.cards, flavor)

    def fits(self, workload: Workload, flavor: str) -> Placement | None:
        """Where it would go now, if quotas and nodes have room."""
        if not self.tree.fits(workload.queue, self.cells(workload, flavor)):
            return None
        return self.place(workload, flavor)

    def place(self, workload: Workload, flavor: str) -> Placement | None:
        if self.places is None:
            return ANYWHERE
        pool = self.places.pools.get(flavor)
        return pool.place(workload.requests) if pool else None

    def is_anything_free(self) -> bool:
        """For all that one can tell without a search: a whole card, or whatever something smaller might find room in."""
        if self.places is None or any(pool.free_cards for pool in self.places.pools.values()):
            return True
        return any(shape[0].gpu_milli < CARD for line in self.lines.values() for shape in line.heaps)

    def take_out(self, workload: Workload) -> None:
        """Out of the books, to see what would fit; `put_back` undoes it."""
        self._unbook(workload)

    def put_back(self, workload: Workload) -> None:
        self._book(workload)

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

    # -- below -------------------------------------------------------------------------------------------------------

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

    def _book(self, workload: Workload) -> None:
        self.tree.add(workload.queue, workload.cells)
        if self.places is not None:
            self.places.take(workload.placement)

    def _unbook(self, workload: Workload) -> None:
        self.tree.remove(workload.queue, workload.cells)
        if self.places is not None:
            self.places.give_back(workload.placement)

    def _line(self, queue: ClusterQueue) -> Line:
        quota = self.tree.queues[queue.name]
        return Line(queue, quota, quota.root())

    def _is_given(self, line: Line, flavor: str) -> bool:
        """A queue with quotas gives nothing of a flavor that they do not name; one without gives all."""
        return not line.root.subtree or any(cell[0] == flavor for cell in line.root.subtree)

    def _book_promise(self, promise: Promise) -> None:
        """Again, whenever one of those that leave is gone."""
        self._unbook_promise(promise)
        promise.surplus = self._surplus(promise)
        for queue, cells in promise.surplus:
            self.tree.add(queue, cells)
        if self.places is not None:
            shares = [share for each in promise.leaving.values() for share in each.placement]
            promise.booked = larger(shares, promise.placement)
            self.places.take(promise.booked)

    def _unbook_promise(self, promise: Promise) -> None:
        for queue, cells in promise.surplus:
            self.tree.remove(queue, cells)
        if self.places is not None:
            self.places.give_back(promise.booked)
        promise.surplus, promise.booked = [], ()

    def _surplus(self, promise: Promise) -> list[tuple[str, dict[Cell, int]]]:
        """What those that leave hold of the quotas beyond what is promised, by their queues."""
        needed, mine = dict(promise.cells), self.tree.queues[promise.workload.queue]
        surplus = []
        for each in promise.leaving.values():
            more: dict[Cell, int] = {}
            for cell, amount in each.cells.items():
                covers = _is_linear(mine, self.tree.queues[each.queue], cell)
                covered = min(amount, needed.get(cell, 0)) if covers else 0
                needed[cell] = needed.get(cell, 0) - covered
                if amount > covered:
                    more[cell] = amount - covered
            if more:
                surplus.append((each.queue, more))
        return surplus

    def _all_flavors(self) -> tuple[str, ...]:
        if self.places is not None:
            return tuple(self.places.pools)
        roots = [line.root for line in self.lines.values()]
        return tuple(dict.fromkeys(cell[0] for root in roots for cell in root.subtree))


def _is_linear(mine: Quota, theirs: Quota, cell: Cell) -> bool:
    """What one holds counts for the other wherever it counts: in one queue, or where neither keeps anything to itself
    below what they have in common, and the other may borrow without limit."""
    if mine is theirs:
        return True
    common = next((node for node in mine.path() if node in set(theirs.path())), None)
    if common is None:  # of one that a policy stops elsewhere
        return False
    below = [node for start in (mine, theirs) for node in start.path() if node.depth > common.depth]
    limits = [node.limits[cell] for node in theirs.path() if node.depth > common.depth and cell in node.limits]
    return all(node.guaranteed(cell) == 0 for node in below) and all(limit.borrowing is None for limit in limits)
