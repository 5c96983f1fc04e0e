"""Whose request is next when an engine is full: start-time fair queueing (Goyal, Vin, Cheng 1996) between projects.

Work is counted in tokens as the Virtual Token Counter does (Sheng et al., "Fairness in Serving Large Language Models",
OSDI 2024): one of an answer costs as much as two of a prompt. Estimates are put right when a request ends, so a project
gains nothing by asking for less than it takes. Pure: no clock, no coroutine.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")
ANSWER_WEIGHT = 2


def work(prompt_tokens: int, answer_tokens: int) -> int:
    return prompt_tokens + ANSWER_WEIGHT * answer_tokens


class _Line(Generic[T]):
    """One project's requests, first come first served. `start` is the virtual time at which its first one is due."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.waiting: deque[tuple[int, T]] = deque()
        self.work = 0


class FairQueue(Generic[T]):
    """Every project that waits gets the same share of the work, whatever the others send."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, _Line[T]] = OrderedDict()
        self._finish: dict[str, float] = {}  # of those that had more than their share of late
        self._virtual = 0.0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, project: str, cost: int, item: T) -> None:
        line = self._lines.get(project)
        if line is None:
            start = max(self._virtual, self._finish.get(project, 0.0))
            line = self._lines[project] = _Line(start)
        line.waiting.append((cost, item))
        line.work += cost
        self._count += 1

    def pop(self) -> tuple[str, T]:
        """The project whose turn it is, and its oldest request. Raises: IndexError where nobody waits."""
        if not self._lines:
            raise IndexError("nobody waits")
        project = min(self._lines, key=lambda name: self._lines[name].start)
        line = self._lines[project]
        cost, item = line.waiting.popleft()
        self._virtual = max(self._virtual, line.start)
        self._count -= 1
        line.work -= cost
        line.start += cost
        self._finish[project] = line.start
        if not line.waiting:
            del self._lines[project]
        if len(self._finish) > 2 * len(self._lines) + 64:
            self._forget()
        return project, item

    def ran(self, project: str, cost: int) -> None:
        """A request that did not wait counts as well."""
        start = max(self._virtual, self._finish.get(project, 0.0))
        self._finish[project] = start + cost

    def correct(self, project: str, difference: int) -> None:
        """A request took that much more (or less) than was estimated when its turn came."""
        if project in self._finish:
            self._finish[project] += difference
        line = self._lines.get(project)
        if line is not None:
            line.start += difference

    def remove(self, project: str, cost: int, item: T) -> None:
        """Somebody left. Does nothing where its turn has come already."""
        line = self._lines.get(project)
        if line is None or (cost, item) not in line.waiting:
            return
        line.waiting.remove((cost, item))
        line.work -= cost
        self._count -= 1
        if not line.waiting:
            del self._lines[project]

    def ahead_of(self, project: str, cost: int) -> int:
        """Work that would be done before a new request of `project` ends: its own line with it, and of every other line
        as much, for no other project gets more than that in the meantime."""
        own = self._lines.get(project)
        mine = cost + (own.work if own else 0)
        return mine + sum(min(line.work, mine) for name, line in self._lines.items() if name != project)

    def _forget(self) -> None:
        """Who is not ahead of the others any more begins like a newcomer."""
        self._finish = {name: at for name, at in self._finish.items() if at > self._virtual or name in self._lines}
