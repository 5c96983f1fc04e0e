"""What is promised to somebody as soon as others are gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.gpu_scheduler.decisions.quotas import Cell, Quota, QuotaTree
from services.gpu_scheduler.decisions.work import Placement, Workload


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


def surplus(tree: QuotaTree, promise: Promise) -> list[tuple[str, dict[Cell, int]]]:
    """What those that leave hold of the quotas beyond what is promised, by their queues."""
    needed, mine = dict(promise.cells), tree.queues[promise.workload.queue]
    found = []
    for each in promise.leaving.values():
        more: dict[Cell, int] = {}
        for cell, amount in each.cells.items():
            covers = _is_linear(mine, tree.queues[each.queue], cell)
            covered = min(amount, needed.get(cell, 0)) if covers else 0
            needed[cell] = needed.get(cell, 0) - covered
            if amount > covered:
                more[cell] = amount - covered
        if more:
            found.append((each.queue, more))
    return found


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
