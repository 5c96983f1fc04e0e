"""Which workload is looked at next: between cohorts and within a queue by rank, within a cohort by borrowing or share."""

from __future__ import annotations

import heapq

from services.gpu_scheduler.decisions.cluster import Cluster, Entry, Line, Shape
from services.gpu_scheduler.decisions.quotas import Cell, Quota
from services.gpu_scheduler.decisions.work import Workload

Head = tuple[tuple[float, ...], int, Shape, Entry]  # rank and serial decide, both are unlike


class Contest:
    """The heads of one cycle. Queues that share fairly take turns after each admission, not once a cycle."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._heads: dict[str, list[Head]] = {}  # by queue: the first of each shape
        groups: dict[Quota, list[str]] = {}
        for name in sorted(cluster.dirty):
            line = cluster.lines[name]
            self._heads[name] = heads = self._heads_of(line)
            if heads:
                groups.setdefault(line.quota.root(), []).append(name)
        cluster.dirty.clear()
        self._groups = list(groups.values())
        self._order = [(*self._best(group)[:2], number) for number, group in enumerate(self._groups)]
        heapq.heapify(self._order)

    def next(self) -> tuple[Line, Shape, Entry] | None:
        """The workload that is up; call `served` or `failed` before the next."""
        while self._order:
            number = self._order[0][2]
            group = [name for name in self._groups[number] if self._heads[name]]
            self._groups[number] = group
            if not group:
                heapq.heappop(self._order)
                continue
            rank, serial, _, _ = self._best(group)
            if (rank, serial) > self._order[0][:2]:
                heapq.heapreplace(self._order, (rank, serial, number))
                continue
            name = self._first_of(group)
            _, _, shape, entry = heapq.heappop(self._heads[name])
            return self._cluster.lines[name], shape, entry
        return None

    def served(self, line: Line, shape: Shape) -> None:
        """The next of its shape is up."""
        self._push(self._heads[line.queue.name], line, shape)

    def failed(self, line: Line) -> None:
        """Where order is strict, nobody passes."""
        if self._is_strict(line):
            self._heads[line.queue.name].clear()

    def _heads_of(self, line: Line) -> list[Head]:
        heads: list[Head] = []
        for shape in list(line.heaps):
            if shape not in line.parked or self._is_strict(line):
                self._push(heads, line, shape)
        return heads

    def _push(self, heads: list[Head], line: Line, shape: Shape) -> None:
        entry = self._cluster.head(line, shape)
        if entry is not None:
            heapq.heappush(heads, (entry[0], entry[1], shape, entry))

    def _is_strict(self, line: Line) -> bool:
        return self._cluster.policy.strict or line.queue.strict

    def _best(self, group: list[str]) -> Head:
        return min(self._heads[name][0] for name in group)

    def _first_of(self, group: list[str]) -> str:
        if len(group) == 1:
            return group[0]
        return self._fairest(group) if self._cluster.policy.fair else min(group, key=self._turn)

    def _turn(self, name: str) -> tuple[bool, tuple[float, ...], int]:
        """Those that stay within their own first, then by rank."""
        rank, serial, _, entry = self._heads[name][0]
        return self._cluster.lines[name].quota.borrows(self._cells(entry[2])), rank, serial

    def _fairest(self, group: list[str]) -> str:
        """From the leaves up, the branch whose share would be the smallest with its first workload."""
        best = {self._cluster.lines[name].quota: name for name in group}
        while len(best) > 1 or next(iter(best)).parent is not None:
            deepest = max(best, key=lambda quota: sum(1 for _ in quota.path()))
            parent = deepest.parent
            rivals = [quota for quota in best if quota.parent is parent]
            name = best[min(rivals, key=lambda quota: self._share_with(quota, best[quota]))]
            for quota in rivals:
                del best[quota]
            assert parent is not None, "a root is alone"
            best[parent] = name
        return next(iter(best.values()))

    def _share_with(self, quota: Quota, name: str) -> tuple[float, tuple[float, ...], int]:
        rank, serial, _, entry = self._heads[name][0]
        return quota.share(self._cells(entry[2])), rank, serial

    def _cells(self, workload: Workload) -> dict[Cell, int]:
        """On the first flavor of which its queue has enough left, else on the first."""
        cluster = self._cluster
        given = [flavor for flavor in cluster.flavors(workload) if cluster.is_given(workload, flavor)]
        for flavor in given:
            cells = cluster.cells(workload, flavor)
            if cluster.tree.fits(workload.queue, cells):
                return cells
        return cluster.cells(workload, given[0]) if given else {}
