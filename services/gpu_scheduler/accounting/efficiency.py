"""How well the machines were used in a period: what was held of what there was, by flavor or by node."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gyre_kit.db import Session
from gyre_kit.pages import BadOrder
from gyre_kit.periods import Period

from services.gpu_scheduler.accounting import store
from services.gpu_scheduler.accounting.capacity import Step as Sums
from services.gpu_scheduler.accounting.capacity import last_known, seconds, with_capacity
from services.gpu_scheduler.accounting.fragmentation import Stranded, Stretch, over_time
from services.gpu_scheduler.decisions.amounts import CARD
from services.gpu_scheduler.models import CapacitySpan

MOST_STRETCHES = 200_000  # of what was held, and of what waited
MEASURES = (
    "core_capacity_seconds", "core_held_seconds", "card_capacity_seconds", "card_held_seconds",
    "simulated_card_capacity_seconds", "core_utilisation", "card_utilisation",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """Of the flavor or node `name`; all together where it is empty."""

    name: str
    sums: Sums

    def value(self, measure: str) -> float | None:
        if measure.endswith("_utilisation"):
            found: float | None = getattr(self.sums, measure)
            return found
        return seconds(getattr(self.sums, measure.removesuffix("_seconds")))


async def rows(session: Session, period: Period, by: str) -> tuple[list[Row], Row]:
    """One for each that was there or held, by name, and their sum. `by`: flavor or node. For the system's eyes."""
    now = session.clock.now()
    spans = await store.spans_within(session, period)
    held = await store.held_by(session, period, by)
    there: dict[str, list[CapacitySpan]] = defaultdict(list)
    for span in spans:
        there[getattr(span, by)].append(span)
    found = [_row(name, period, there[name], held, now) for name in sorted(there.keys() | held.keys())]
    cores, cards = (sum(getattr(row.sums, each) for row in found) for each in ("core_held", "card_held"))
    return found, Row("", with_capacity(Sums(period, core_held=cores, card_held=cards), spans, now))


async def stranded(session: Session, period: Period) -> Stranded | None:
    """None where there is more to look at than `MOST_STRETCHES`. The sweep has a thread of its own: it takes a second."""
    held = await store.cards_held(session, period, MOST_STRETCHES + 1)
    waits = await store.card_waits(session, period, MOST_STRETCHES + 1)
    if max(len(held), len(waits)) > MOST_STRETCHES:
        return None
    now = session.clock.now()
    there = [
        Stretch(span.start_time, last_known(span, now), span.cards * CARD, span.node)
        for span in await store.spans_within(session, period)
    ]
    return await asyncio.to_thread(over_time, period, there, held, waits, now)


def ordered(found: Sequence[Row], by: str, order_by: str) -> list[Row]:
    """By name unless `order_by` says otherwise; what is not known comes last. Raises: BadOrder."""
    words = order_by.split() or [by]
    if words[0] not in (by, *MEASURES) or words[1:] not in ([], ["asc"], ["desc"]):
        raise BadOrder(given=order_by[:80], columns="|".join((by, *MEASURES)))
    backwards = words[1:] == ["desc"]
    if words[0] == by:
        return sorted(found, key=lambda row: row.name, reverse=backwards)
    known = [(value, row) for row in found if (value := row.value(words[0])) is not None]
    unknown = [row for row in found if row.value(words[0]) is None]
    return [row for _, row in sorted(known, key=lambda pair: pair[0], reverse=backwards)] + unknown


def _row(
    name: str, period: Period, spans: Iterable[CapacitySpan], held: Mapping[str, tuple[int, int]], now: datetime
) -> Row:
    cores, cards = held.get(name, (0, 0))
    return Row(name, with_capacity(Sums(period, core_held=cores, card_held=cards), spans, now))
