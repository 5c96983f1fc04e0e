"""How fast which work goes on which flavor: measured, and until then taken from what vendors publish of the cards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, Precondition

from services.gpu_scheduler import store
from services.gpu_scheduler.cards import catalogue
from services.gpu_scheduler.decisions.policies.base import Speeds
from services.gpu_scheduler.models import HOLDING, Card, Throughput, Workload

NEWEST = 0.3  # weight of what was measured last: a class is not all alike, and drivers change
FASTEST = 1e12


class BadThroughput(Invalid):
    """A throughput is more than 0 units a second, and finite."""


class NotThatAttempt(Precondition):
    """That attempt does not hold resources: nobody knows what it was measured on."""


async def report(session: Session, name: str, attempt: int, rate: float) -> None:
    """Raises: NotFound; BadThroughput; NotThatAttempt. Work without a class is not learnt from."""
    if not isfinite(rate) or not 0 < rate <= FASTEST:
        raise BadThroughput(field="units_per_second", given=rate)
    workload = await resources.get(session, Workload, name)
    if workload.state not in HOLDING or workload.attempt != attempt:
        raise NotThatAttempt(name=name, attempt=attempt, current=workload.attempt, state=workload.state)
    if workload.throughput_class:
        await store.measured(session, workload, rate, NEWEST)


def speeds(measured: Iterable[Throughput], cards: Iterable[Card], flavor_of: Mapping[str, str]) -> Speeds:
    """Of each class on each flavor, as a multiple of the fastest that it was measured on.

    `flavor_of`: node → flavor. What was never measured is as fast as its card's bf16 throughput says, where that is
    known (`cards.catalogue`), and as fast as any where it is not.
    """
    known: dict[tuple[str, int], dict[str, float]] = {}
    for row in measured:
        known.setdefault((row.throughput_class, row.cards), {})[row.flavor] = row.rate
    relative = {
        key: {flavor: rate / max(rates.values()) for flavor, rate in rates.items()} for key, rates in known.items()
    }
    return Speeds(relative, _published(cards, flavor_of))


def _published(cards: Iterable[Card], flavor_of: Mapping[str, str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for card in cards:
        model = catalogue.find(card.model) if not card.simulated else None
        if model is not None and (flops := model.bf16 or model.fp16):
            found[flavor_of.get(card.node, "")] = flops
    return {flavor: flops / max(found.values()) for flavor, flops in found.items()}
