"""Which workload is looked at next: between cohorts and within a queue by rank, within a cohort by borrowing or share."""

from __future__ import annotations

import heapq
from typing import Any

from services.gpu_scheduler.decisions.cluster import Cluster
from services.gpu_scheduler.decisions.line import Entry, Line, Shape
from services.gpu_scheduler.decisions.quotas import Quota

Head = tuple[tuple[float, ...], int, Shape, Entry]  # rank and serial decide, both are unlike


class Contest:
    """The heads of one cycle. Queues that share fairly take turns after each admission, not once a cycle.

    `_turns`: each queue's place in the order, found out once for each head: it depends on what its own queue uses.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._heads: dict[str, list[Head]] = {}  # by queue: the first of each shape
        self._turns: dict[str, tuple[Any, ...]] = {}
        groups: dict[Quota, list[str]] = {}
        for name in sorted(cluster.dirty):
            line = cluster.lines[name]
            self._heads[name] = heads = self._heads_of(line)
            if heads:
                groups.setdefault(line.root, []).append(name)
        cluster.dirty.clear()
        self._groups = list(groups.values())
        self._order = [(*self._best(group)[:2], number) for number, group in enumerate(self._groups)]
        heapq.heapify(self._order)

    def next(self) -> tuple[Line, Shape, Entry] | None:
        """The workload that is up; call `served` or `failed` before the next."""
        while self._order:
            number = self._order[0][2]
            group = self._groups[number]
            if not group:
                heapq.heappop(self._order)
                continue
            rank, serial, _, _ = self._best(group)
            if (rank, serial) > self._order[0][:2]:
                heapq.heapreplace(self._order, (rank, serial, number))
                continue
            name = self._first_of(group)
            _, _, shape, entry = heapq.heappop(self._heads[name])
            self._turns.pop(name, None)
            if not self._heads[name]:
                group.remove(name)
            return self._cluster.lines[name], shape, entry
        return None

    def served(self, line: Line, shape: Shape) -> None:
        """The next of its shape is up."""
        heads = self._heads[line.queue.name]
        was_empty = not heads
        self._push(heads, line, shape)
        if was_empty and heads:
            self._groups[self._order[0][2]].append(line.queue.name)

    def failed(self, line: Line) -> None:
        """Where order is strict, nobody passes."""
        heads = self._heads[line.queue.name]
        if heads and self._cluster.is_strict(line):
            heads.clear()
            self._groups[self._order[0][2]].remove(line.queue.name)

    def leave(self) -> None:
        """The cycle has decided enough: who had no turn has it in the next."""
        for group in self._groups:
            self._cluster.dirty.update(group)

    def _heads_of(self, line: Line) -> list[Head]:
        heads: list[Head] = []
        for shape in list(line.heaps):
            if shape not in line.parked or self._cluster.is_strict(line):
                self._push(heads, line, shape)
        return heads

    def _push(self, heads: list[Head], line: Line, shape: Shape) -> None:
        entry = self._cluster.head(line, shape)
        if entry is not None:
            heapq.heappush(heads, (entry[0], entry[1], shape, entry))

    def _best(self, group: list[str]) -> Head:
        return min([self._heads[name][0] for name in group])

    def _first_of(self, group: list[str]) -> str:
        if len(group) == 1:
            return group[0]
        return self._fairest(group) if self._cluster.policy.fair else min(group, key=self._turn)

    def _turn(self, name: str) -> tuple[Any, ...]:
        """Those that stay within their own first, then by rank."""
        turn = self._turns.get(name)
        if turn is None:
            rank, serial, _, entry = self._heads[name][0]
            borrows = self._cluster.lines[name].quota.borrows(self._cluster.nominal_cells(entry[2]))
            turn = self._turns[name] = (borrows, rank, serial)
        return turn

    def _fairest(self, group: list[str]) -> str:
        """From the leaves up, the branch whose share would be the smallest stands for its cohort."""
        branches: dict[Quota, dict[Quota, str]] = {}  # cohort → its branches that have somebody, each with its first
        for name in group:
            quota = self._cluster.lines[name].quota
            branches.setdefault(_cohort(quota), {})[quota] = name
        while True:
            cohort = max(branches, key=lambda each: each.depth)
            rivals = branches.pop(cohort)
            name = rivals[min(rivals, key=lambda quota: self._fair_turn(quota, rivals[quota]))]
            if cohort.parent is None:
                return name
            branches.setdefault(cohort.parent, {})[cohort] = name

    def _fair_turn(self, quota: Quota, name: str) -> tuple[Any, ...]:
        """The smallest share with its first workload first, then by rank."""
        is_queue = self._cluster.lines[name].quota is quota
        turn = self._turns.get(name) if is_queue else None
        if turn is None:
            rank, serial, _, entry = self._heads[name][0]
            turn = (quota.share(self._cluster.nominal_cells(entry[2])), rank, serial)
            if is_queue:
                self._turns[name] = turn
        return turn


def _cohort(quota: Quota) -> Quota:
    assert quota.parent is not None, "a queue without a cohort is alone in its group"
    return quota.parent
