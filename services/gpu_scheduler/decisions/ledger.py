"""What is held of quotas and nodes, and what would fit beside it.

What is **held in the books** is enough for now and for when all that was decided has happened: for a promise that is the
larger of what those hold that leave for it, and of what it will take. So nobody else is given what is promised, nor what
somebody has not left yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.decisions.line import Line
from services.gpu_scheduler.decisions.places import ANYWHERE, Node, Places, larger
from services.gpu_scheduler.decisions.policies.base import Speeds
from services.gpu_scheduler.decisions.promise import Promise, surplus
from services.gpu_scheduler.decisions.quotas import Cell, ClusterQueue, Cohort, QuotaTree
from services.gpu_scheduler.decisions.work import Placement, Workload


class Ledger:
    """`nodes` None: the quotas alone bound what runs. Raises: quotas.BadTree."""

    def __init__(
        self,
        queues: Mapping[str, ClusterQueue],
        cohorts: Mapping[str, Cohort],
        nodes: Iterable[Node] | None,
        speeds: Speeds,
    ) -> None:
        self.tree = QuotaTree(queues, cohorts)
        self.places = None if nodes is None else Places(nodes)
        self.speeds = speeds
        self.lines = {name: self._line(queue) for name, queue in queues.items()}
        flavors = self._all_flavors()
        for line in self.lines.values():
            line.given = tuple(flavor for flavor in flavors if self._is_given(line, flavor))

    # -- into the books and out of them ------------------------------------------------------------------------------

    def put_back(self, workload: Workload) -> None:
        self.tree.add(workload.queue, workload.cells)
        if self.places is not None:
            self.places.take(workload.placement)

    def take_out(self, workload: Workload) -> None:
        """To see what would fit; `put_back` undoes it."""
        self.tree.remove(workload.queue, workload.cells)
        if self.places is not None:
            self.places.give_back(workload.placement)

    def put_promise(self, promise: Promise) -> None:
        """Again, whenever one of those that leave is gone."""
        self.take_out_promise(promise)
        promise.surplus = surplus(self.tree, promise)
        for queue, cells in promise.surplus:
            self.tree.add(queue, cells)
        if self.places is not None:
            shares = [share for each in promise.leaving.values() for share in each.placement]
            promise.booked = larger(shares, promise.placement)
            self.places.take(promise.booked)

    def take_out_promise(self, promise: Promise) -> None:
        for queue, cells in promise.surplus:
            self.tree.remove(queue, cells)
        if self.places is not None:
            self.places.give_back(promise.booked)
        promise.surplus, promise.booked = [], ()

    def put_as_it_is(self, promise: Promise, sign: int) -> None:
        """Of the quotas, what those hold that leave for it instead of what is booked for it (1), or back again (-1)."""
        held = [(each.queue, each.cells, sign) for each in promise.leaving.values()]
        booked = [(queue, cells, -sign) for queue, cells in [(promise.workload.queue, promise.cells), *promise.surplus]]
        for queue, cells, times in [*held, *booked]:
            self.tree.add(queue, {cell: times * amount for cell, amount in cells.items()})

    def settle(self, promise: Promise) -> None:
        """As if all that leave for it were gone; `unsettle` undoes it."""
        self.take_out_promise(promise)
        if self.places is not None:
            promise.booked = promise.placement
            self.places.take(promise.booked)

    def unsettle(self, promise: Promise) -> None:
        self.put_promise(promise)

    def try_out(self, promise: Promise, sign: int) -> None:
        """What it will hold, into the books (1) or out of them (-1)."""
        cells = self.cells(promise.workload, promise.flavor)
        self.tree.add(promise.workload.queue, {cell: sign * amount for cell, amount in cells.items()})
        if self.places is not None:
            (self.places.take if sign > 0 else self.places.give_back)(promise.placement)

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

    # -- below -------------------------------------------------------------------------------------------------------

    def _line(self, queue: ClusterQueue) -> Line:
        quota = self.tree.queues[queue.name]
        return Line(queue, quota, quota.root())

    def _is_given(self, line: Line, flavor: str) -> bool:
        """A queue with quotas gives nothing of a flavor that they do not name; one without gives all."""
        return not line.root.subtree or any(cell[0] == flavor for cell in line.root.subtree)

    def _all_flavors(self) -> tuple[str, ...]:
        if self.places is not None:
            return tuple(self.places.pools)
        roots = [line.root for line in self.lines.values()]
        return tuple(dict.fromkeys(cell[0] for root in roots for cell in root.subtree))
