"""How much of what was free was of no use, because it lay in pieces: counted from where jobs sat."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from services.gpu_scheduler.simulation.model import WHOLE, Job, Replay, Trace

ARRIVE, START, STOP, LEAVE = range(4)
Change = tuple[float, int, int, tuple[str, ...]]  # (time, what, job's index, its nodes)


def fragmentation(replay: Replay, trace: Trace) -> float | None:
    """Over time, free cards on nodes with fewer of them than the smallest gang that waits asks for, over free cards.

    A gang that spans nodes asks for a whole one. While nothing waits, nothing is stranded. None where no place is known
    (count mode, quotas alone) or nothing was ever free.
    """
    sizes = {node.id: node.gpus * WHOLE for node in trace.nodes if node.gpus}
    if not sizes or not any(span.nodes for outcome in replay.outcomes for span in outcome.spans):
        return None
    jobs = [outcome.job for outcome in replay.outcomes]
    state = _State(sizes, jobs)
    free, stranded, before = [], [], 0.0
    for time, changes in groupby(sorted(_changes(replay)), key=lambda change: change[0]):
        free.append(state.free * (time - before))
        stranded.append(state.stranded() * (time - before))
        before = time
        for _, what, index, nodes in changes:
            state.change(what, index, nodes)
    total = math.fsum(free)
    return math.fsum(stranded) / total if total else None


def shares(job: Job, nodes: Sequence[str], sizes: dict[str, int]) -> Iterator[tuple[str, int]]:
    """What it holds on each of its nodes, in thousandths of a card: whole nodes first, the remainder on the last."""
    left = job.gpus * job.gpu_milli
    for node in nodes:
        share = min(left, sizes.get(node, 0))
        left -= share
        yield node, share


class _State:
    """Free room by node and by level, and the sizes of those that wait: what `stranded` needs, kept up to date."""

    def __init__(self, sizes: dict[str, int], jobs: Sequence[Job]) -> None:
        self._sizes, self._jobs = sizes, jobs
        self._largest = max(sizes.values())
        self._room = dict(sizes)
        self._levels = Counter(sizes.values())
        self._waiting: Counter[int] = Counter()
        self.free = sum(sizes.values())

    def change(self, what: int, index: int, nodes: tuple[str, ...]) -> None:
        job = self._jobs[index]
        asked = min(job.gpus * job.gpu_milli, self._largest)
        self._waiting[asked] += 1 if what in (ARRIVE, STOP) else -1
        for node, share in shares(job, nodes, self._sizes):
            self._give(node, share if what == STOP else -share)

    def stranded(self) -> int:
        smallest = min((size for size, count in self._waiting.items() if size and count > 0), default=0)
        return sum(level * count for level, count in self._levels.items() if level < smallest)

    def _give(self, node: str, amount: int) -> None:
        before = self._room[node]
        self._room[node] = before + amount
        self._levels[before] -= 1
        self._levels[before + amount] += 1
        self.free += amount


def _changes(replay: Replay) -> Iterator[Change]:
    """A job waits from its arrival, and from each stop, until it starts or leaves."""
    for index, outcome in enumerate(replay.outcomes):
        if outcome.refusal:
            continue
        yield outcome.job.submit, ARRIVE, index, ()
        for span in outcome.spans:
            yield span.start, START, index, span.nodes
            yield span.end, STOP, index, span.nodes
        if outcome.end is not None:
            yield outcome.end, LEAVE, index, ()
