"""What there was to give over time, how much of it was held, and what of it nobody can use.

Capacity is kept as spans: one for each node and each time that what it has stayed the same. A node counts from when it
is first seen until it was heard of last; a card counts while it is present.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.periods import Period, midnight_before

from services.gpu_scheduler import store as scheduler_store
from services.gpu_scheduler import store_nodes, store_queues
from services.gpu_scheduler.accounting import service, store
from services.gpu_scheduler.accounting.amounts import MICROSECOND, MILLI_US, Held, Sums
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.models import AWAY, CapacitySpan, Node, NodeState, Workload

LONGEST_GAP = timedelta(minutes=10)  # between two looks; after a longer one nobody knows what there was
HOUR = timedelta(hours=1)
MOST_HOURS = timedelta(days=8)
HOURS_UP_TO = timedelta(days=2)


class TooManySteps(Invalid):
    """Hours are given for at most 8 days; ask for days."""


@dataclass(frozen=True)
class Size:
    """What a node has to give: thousandths of a core, cards, and how many of these are made up."""

    flavor: str
    cpu_milli: int
    cards: int
    simulated_cards: int


@dataclass(frozen=True)
class Step:
    """Capacity and what was held of it: thousandths times microseconds."""

    period: Period
    core_capacity: int = 0
    card_capacity: int = 0
    simulated_card_capacity: int = 0
    core_held: int = 0
    card_held: int = 0

    @property
    def core_utilisation(self) -> float | None:
        return self.core_held / self.core_capacity if self.core_capacity else None

    @property
    def card_utilisation(self) -> float | None:
        return self.card_held / self.card_capacity if self.card_capacity else None


@dataclass(frozen=True)
class Fragmentation:
    """Free cards in all, those where the smallest gang that waits does not fit, and that gang's cards."""

    free_cards: int = 0
    stranded_cards: int = 0
    smallest_gang_cards: int = 0

    @property
    def ratio(self) -> float:
        return self.stranded_cards / self.free_cards if self.free_cards else 0.0


async def look(session: Session) -> None:
    """Writes down what the nodes have, where it is not what the last look saw."""
    await scheduler_store.serialise(session, "capacity")
    now = session.clock.now()
    nodes = await store_nodes.nodes(session)
    cards = await store.card_counts(session)
    open_spans = await store.open_spans(session)
    for node in nodes:
        present, simulated, _ = cards.get(node.name, (0, 0, 0))
        size = None if node.state in AWAY else Size(node.flavor, node.cpu_milli, present, simulated)
        _continue(session, open_spans.pop(node.name, None), node, size, now)
    for gone in open_spans.values():
        gone.end_time = gone.seen_time


def _continue(session: Session, span: CapacitySpan | None, node: Node, size: Size | None, now: datetime) -> None:
    """Lengthens the span of a node, or ends it and begins the next."""
    if span is not None and size == Size(span.flavor, span.cpu_milli, span.cards, span.simulated_cards):
        if now - span.seen_time <= LONGEST_GAP:
            span.seen_time = max(span.seen_time, now)
            return
        span.end_time = span.seen_time
    elif span is not None:
        span.end_time = max(span.start_time, min(node.last_seen_time, now) if size is None else now)
    if size is not None and (span is None or now > span.start_time):
        session.add(CapacitySpan(node=node.name, start_time=now, seen_time=now, **vars(size)))


async def utilisation(session: Session, period: Period, step: str) -> list[Step]:
    """`step`: HOUR, DAY or empty. Raises: TooManySteps."""
    length = period.end - period.start
    if step == "HOUR" and length > MOST_HOURS:
        raise TooManySteps(field="step", longest_hours=int(MOST_HOURS / HOUR))
    spans = await store.spans_within(session, period)
    if step == "HOUR" or (not step and length <= HOURS_UP_TO):
        held = await store.held_within(session, period, {})
        return by_hour(period, spans, held, session.clock.now())
    of_day = {row.group["day"]: row.sums for row in await service.usage(session, period, {}, ["day"])}
    now = session.clock.now()
    return [with_capacity(_held_step(day, of_day), spans, now) for day in period.days()]


def by_hour(period: Period, spans: Sequence[CapacitySpan], held: Sequence[Held], now: datetime) -> list[Step]:
    """What each attempt held is added to the hours that it touches, and to no others."""
    steps = list(hours(period))
    starts = [step.start for step in steps]
    cores, cards = [0] * len(steps), [0] * len(steps)
    for each in held:
        first = max(bisect_right(starts, each.begin) - 1, 0)
        last = bisect_right(starts, each.end or now)
        for at in range(first, last):
            sums = each.within(steps[at], now)
            cores[at] += sums.core_milli_us
            cards[at] += sums.card_milli_us
    filled = zip(steps, cores, cards, strict=True)
    return [with_capacity(Step(step, core_held=core, card_held=card), spans, now) for step, core, card in filled]


def hours(period: Period) -> Iterable[Period]:
    """Its parts, one for each hour of UTC that it touches."""
    start = period.start
    while start < period.end:
        end = min(start.replace(minute=0, second=0, microsecond=0) + HOUR, period.end)
        yield Period(start, end)
        start = end


def _held_step(day: Period, of_day: Mapping[datetime, Sums]) -> Step:
    sums = of_day.get(midnight_before(day.start), Sums())
    return Step(day, core_held=sums.core_milli_us, card_held=sums.card_milli_us)


def with_capacity(step: Step, spans: Iterable[CapacitySpan], now: datetime) -> Step:
    """Adds what nodes had to give, up to now."""
    cores = cards = simulated = 0
    for span in spans:
        end = min(last_known(span, now), step.period.end)
        present_us = max(0, (end - max(span.start_time, step.period.start)) // MICROSECOND)
        cores += present_us * span.cpu_milli
        cards += present_us * span.cards * 1000
        simulated += present_us * span.simulated_cards * 1000
    return replace(step, core_capacity=cores, card_capacity=cards, simulated_card_capacity=simulated)


def last_known(span: CapacitySpan, now: datetime) -> datetime:
    """Until when the node is known to have had that."""
    return span.end_time or min(now, span.seen_time + LONGEST_GAP)


def seconds(milli_us: int) -> float:
    return milli_us / MILLI_US


async def fragmentation(session: Session) -> Fragmentation:
    """As it is now, over all projects: for the system's eyes."""
    nodes = [node for node in await store_nodes.nodes(session) if node.state == NodeState.READY]
    cards = await store.card_counts(session)
    taken: dict[str, Amount] = defaultdict(Amount)
    for (node_name, _), amount in (await store_queues.held_by(session, Workload.node)).items():
        taken[node_name] = taken[node_name].plus(Amount(*amount))
    rooms = []
    for node in nodes:
        _, _, free = cards.get(node.name, (0, 0, 0))
        held = taken[node.name]
        rooms.append(Amount(node.cpu_milli - held.cpu_milli, node.memory_bytes - held.memory_bytes, free * CARD))
    gang = await store.smallest_gang(session)
    return fragments(rooms, Amount(gang.cpu_milli, gang.memory_bytes, gang.gpu * CARD) if gang else None)


def fragments(rooms: Sequence[Amount], smallest: Amount | None) -> Fragmentation:
    """Free cards on nodes where the smallest gang that waits does not fit, in cards, cores or memory.

    That a free card is only worth what the work at hand can do with it is the idea of FGD (Weng et al., "Beware of
    Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", USENIX ATC 2023), which takes
    the expectation over typical work; here it is the one that asks for least, so that it is a lower bound.
    """
    free = sum(room.cards for room in rooms)
    if smallest is None:
        return Fragmentation(free)
    return Fragmentation(free, sum(room.cards for room in rooms if not smallest.fits_in(room)), smallest.cards)
