"""How much of what was free in a period was of no use, because it lay in pieces: from what nodes had and work held.

The definition is the replays' (`simulation.fragmentation`), on nodes that come and go: over time, free cards on nodes
with fewer of them than the smallest gang that waits asks for, over free cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from gyre_kit.periods import Period

from services.gpu_scheduler.accounting.amounts import MICROSECOND, MILLI_US

Change = tuple[datetime, str, int]  # time, node, thousandths of a card; or the size of a gang


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `begin` to `end`, None while it goes on: thousandths of a card of a node, or that a gang waits for."""

    begin: datetime
    end: datetime | None
    card_milli: int
    node: str = ""


@dataclass(frozen=True, slots=True)
class Stranded:
    """Seconds times cards that were free, and of these those that were of no use."""

    free_card_seconds: float = 0.0
    stranded_card_seconds: float = 0.0

    @property
    def ratio(self) -> float | None:
        return self.stranded_card_seconds / self.free_card_seconds if self.free_card_seconds else None


def over_time(
    period: Period, there: Iterable[Stretch], held: Iterable[Stretch], waits: Iterable[Stretch], now: datetime
) -> Stranded:
    """Up to `now`. `there`: what nodes had; `held`: what attempts held of them; `waits`: what asked for cards, and waited."""
    until = min(period.end, now)
    state, free, stranded, before = _State(), 0, 0, period.start
    changes = [
        *((time, "there", node, milli) for time, node, milli in _changes(period.start, until, there)),
        *((time, "held", node, milli) for time, node, milli in _changes(period.start, until, held)),
        *((time, "waits", node, milli) for time, node, milli in _changes(period.start, until, waits)),
        (until, "", "", 0),
    ]
    for time, same_time in groupby(sorted(changes), key=lambda change: change[0]):
        lasted = (time - before) // MICROSECOND
        free += lasted * state.free
        stranded += lasted * state.stranded()
        before = time
        for _, what, node, milli in same_time:
            state.change(what, node, milli)
    return Stranded(free / MILLI_US, stranded / MILLI_US)


def _changes(start: datetime, until: datetime, stretches: Iterable[Stretch]) -> Iterator[Change]:
    for each in stretches:
        begin, end = max(each.begin, start), min(each.end or until, until)
        if begin < end and each.card_milli:
            yield begin, each.node, each.card_milli
            yield end, each.node, -each.card_milli


class _State:
    """Free room by node and by level, and the sizes of those that wait: what `stranded` needs, kept up to date."""

    def __init__(self) -> None:
        self._has: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._levels: Counter[int] = Counter()  # free thousandths → nodes
        self._sizes: Counter[int] = Counter()  # thousandths that a node has → nodes
        self._waiting: Counter[int] = Counter()
        self.free = 0

    def change(self, what: str, node: str, milli: int) -> None:
        if what == "waits":
            self._waiting[abs(milli)] += 1 if milli > 0 else -1
        elif what:
            self._count(node, -1)
            (self._has if what == "there" else self._held)[node] += milli
            self._count(node, 1)

    def stranded(self) -> int:
        asked = min((size for size, count in self._waiting.items() if count > 0), default=0)
        largest = max((size for size, count in self._sizes.items() if count > 0), default=0)
        smallest = min(asked, largest)  # a gang that spans nodes asks for a whole one
        return sum(level * count for level, count in self._levels.items() if level < smallest)

    def _count(self, node: str, sign: int) -> None:
        """A node that is lost has nothing free, also while its work still holds what it had."""
        has = self._has[node]
        free = max(0, has - self._held[node])
        self._levels[free] += sign
        self._sizes[has] += sign
        self.free += sign * free
