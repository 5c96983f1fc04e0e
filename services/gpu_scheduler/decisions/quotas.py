"""Quotas of cluster queues in nested cohorts: how much is left, who borrows, and how fair that is.

A node of the tree lends what it does not use, up to its lending limit, and borrows up to its borrowing limit from what
its cohort has left. The arithmetic is that of Kueue's KEP-79 (hierarchical cohorts) and KEP-1714 (fair sharing).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Cell = tuple[str, int]  # flavor, resource
UNLIMITED = 1 << 62


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one flavor's resource. None: no limit."""

    nominal: int
    borrowing: int | None = None
    lending: int | None = None


@dataclass(frozen=True, slots=True)
class Preemption:
    """Whom a queue's workloads may displace, each `Never`, `LowerPriority` or, where it makes sense, `Any`.

    `borrow_within_cohort`: also while borrowing itself, those of a priority of at most `threshold`.
    """

    within_cluster_queue: str = "LowerPriority"
    reclaim_within_cohort: str = "Any"
    borrow_within_cohort: str = "Never"
    threshold: int | None = None


@dataclass(frozen=True, slots=True)
class ClusterQueue:
    """`limits` empty: all that the nodes have. `strict`: nobody passes the first that does not fit (StrictFIFO)."""

    name: str
    cohort: str = ""
    limits: Mapping[Cell, Limit] = field(default_factory=dict)
    weight: float = 1.0
    strict: bool = False
    preemption: Preemption = field(default_factory=Preemption)


@dataclass(frozen=True, slots=True)
class Cohort:
    name: str
    parent: str = ""
    limits: Mapping[Cell, Limit] = field(default_factory=dict)
    weight: float = 1.0


class Quota:
    """A queue or cohort in the tree, with what is used below it."""

    __slots__ = ("children", "depth", "limits", "name", "parent", "subtree", "usage", "weight")

    def __init__(self, name: str, limits: Mapping[Cell, Limit], weight: float, parent: Quota | None) -> None:
        self.name = name
        self.limits = limits
        self.weight = weight
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.children: list[Quota] = []
        self.usage: dict[Cell, int] = {}
        self.subtree: dict[Cell, int] = {}

    def guaranteed(self, cell: Cell) -> int:
        """What it never lends."""
        limit = self.limits.get(cell)
        lending = limit.lending if limit else None
        return 0 if lending is None else max(0, self.subtree.get(cell, 0) - lending)

    def available(self, cell: Cell, *, unused: bool = False) -> int:
        """What could be added here now; `unused`: if nobody used anything. Below 0 where too much is used already."""
        usage = 0 if unused else self.usage.get(cell, 0)
        subtree = self.subtree.get(cell, 0)
        if self.parent is None:
            return subtree - usage
        kept = self.guaranteed(cell)
        above = self.parent.available(cell, unused=unused)
        limit = self.limits.get(cell)
        if limit is not None and limit.borrowing is not None:
            above = min(above, subtree - kept - max(0, usage - kept) + limit.borrowing)
        return max(0, kept - usage) + above

    def add(self, cell: Cell, amount: int) -> None:
        """Uses more, or less where `amount` is below 0; what is beyond the guaranteed counts above too."""
        before = self.usage.get(cell, 0)
        self.usage[cell] = before + amount
        if self.parent is not None:
            kept = self.guaranteed(cell)
            above = max(0, before + amount - kept) - max(0, before - kept)
            if above:
                self.parent.add(cell, above)

    def fits(self, cells: Mapping[Cell, int]) -> bool:
        return all(self.available(cell) >= amount for cell, amount in cells.items())

    def borrows(self, cells: Mapping[Cell, int]) -> bool:
        """Would it use more than its own with `cells` more?"""
        return any(self.usage.get(cell, 0) + amount > self.subtree.get(cell, 0) for cell, amount in cells.items())

    def share(self, more: Mapping[Cell, int] | None = None) -> float:
        """Its dominant resource share: of what its cohort can lend, the most of any resource that it borrows, by its
        weight. Not rounded: an integer share makes small borrowers look as if they did not borrow.
        """
        if self.parent is None:
            return 0.0
        borrowed: dict[int, int] = {}
        cells = self.usage.keys() | more.keys() if more else self.usage.keys()
        for cell in cells:
            over = self.usage.get(cell, 0) + (more.get(cell, 0) if more else 0) - self.subtree.get(cell, 0)
            if over > 0:
                borrowed[cell[1]] = borrowed.get(cell[1], 0) + over
        if not borrowed:
            return 0.0
        lendable: dict[int, int] = dict.fromkeys(borrowed, 0)
        for cell in self.root().subtree:
            if cell[1] in lendable:
                lendable[cell[1]] += self.parent.available(cell, unused=True)
        most = max(over / lendable[kind] if lendable[kind] > 0 else float("inf") for kind, over in borrowed.items())
        return most / self.weight if self.weight else float("inf")

    def root(self) -> Quota:
        return self.parent.root() if self.parent else self

    def path(self) -> Iterator[Quota]:
        """From here to the root."""
        at: Quota | None = self
        while at is not None:
            yield at
            at = at.parent


class BadTree(ValueError):
    """Cohorts that form a ring, or a parent that is not there."""


class QuotaTree:
    """Raises: BadTree."""

    def __init__(self, queues: Mapping[str, ClusterQueue], cohorts: Mapping[str, Cohort]) -> None:
        self.queues: dict[str, Quota] = {}
        self.cohorts: dict[str, Quota] = {}
        for name in cohorts:
            self._cohort(name, cohorts, ())
        for queue in queues.values():
            parent = self._cohort(queue.cohort, cohorts, ()) if queue.cohort else None
            self.queues[queue.name] = node = Quota(queue.name, queue.limits, queue.weight, parent)
            if parent is not None:
                parent.children.append(node)
        for root in self._roots():
            _sum_up(root)

    def fits(self, queue: str, cells: Mapping[Cell, int]) -> bool:
        return self.queues[queue].fits(cells)

    def add(self, queue: str, cells: Mapping[Cell, int]) -> None:
        node = self.queues[queue]
        for cell, amount in cells.items():
            node.add(cell, amount)

    def remove(self, queue: str, cells: Mapping[Cell, int]) -> None:
        node = self.queues[queue]
        for cell, amount in cells.items():
            node.add(cell, -amount)

    def queues_below(self, quota: Quota) -> Iterator[Quota]:
        """Those of a subtree, in order; a cohort may have none."""
        if self.queues.get(quota.name) is quota:
            yield quota
        for child in quota.children:
            yield from self.queues_below(child)

    def _cohort(self, name: str, cohorts: Mapping[str, Cohort], below: tuple[str, ...]) -> Quota:
        """A cohort that nobody described has no quota of its own, as in Kueue."""
        if name in below:
            raise BadTree(f"cohorts form a ring: {' in '.join((*below, name))}")
        if name not in self.cohorts:
            given = cohorts.get(name, Cohort(name))
            parent = self._cohort(given.parent, cohorts, (*below, name)) if given.parent else None
            self.cohorts[name] = node = Quota(name, given.limits, given.weight, parent)
            if parent is not None:
                parent.children.append(node)
        return self.cohorts[name]

    def _roots(self) -> Iterator[Quota]:
        return (node for node in (*self.cohorts.values(), *self.queues.values()) if node.parent is None)


def _sum_up(node: Quota) -> None:
    """What a subtree has: its own, and what its children lend."""
    node.subtree = {cell: limit.nominal for cell, limit in node.limits.items()}
    for child in node.children:
        _sum_up(child)
        for cell, amount in child.subtree.items():
            node.subtree[cell] = node.subtree.get(cell, 0) + amount - child.guaranteed(cell)
