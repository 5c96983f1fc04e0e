"""Cards: written down as they were read, taken out when they have a fault, put back by an operator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from gyre_kit.db import Session
from gyre_kit.errors import NotFound, Precondition
from gyre_kit.outbox import emit

from services.gpu_scheduler import facts, service, store_nodes
from services.gpu_scheduler.cards import CardReading, Finding
from services.gpu_scheduler.models import Card, Node

MISSING_LOOKS = 3  # readings in a row without a card before that is a fault: a driver may stumble once
DEATH_SECONDS = 30.0  # so long before its fault is seen may a card have killed what ran on it
MISSING = Finding(
    "CARD_MISSING", "Its node does not find it any more: it may have fallen off the bus; start the machine anew."
)
MEASURED = ("memory_used_bytes", "utilisation_percent", "temperature_celsius", "power_watts")
READ = (
    "index",
    "model",
    "memory_bytes",
    "simulated",
    "maker",
    "link_group",
    "driver_version",
    "mig_enabled",
    *MEASURED,
)


class CardNotFound(NotFound):
    """The node has no card in that place."""


class CardNotSick(Precondition):
    """Only a card that was taken out can be put back."""


async def write_cards(session: Session, node: Node, readings: Sequence[CardReading], *, swapped: bool) -> int:
    """Writes down the cards of a node; returns how many may be given to work.

    A card is known by its uuid, whatever place it is in. `swapped`: the machine was away or started anew since it was
    last read, so that what is not there was taken out by somebody and is no fault.
    """
    known = list(await store_nodes.cards(session, [node.name]))
    names = {card.name for card in known}
    absent = {card.uuid: card for card in known}
    present = []
    for reading in readings:
        card = absent.pop(reading.uuid, None)
        if card is None:
            card = _new(node, reading, names)
            session.add(card)
            names.add(card.name)
        await _write(session, card, reading)
        present.append(card)
    for card in absent.values():
        await _miss(session, card, is_fault=not (swapped or card.simulated))
    await session.flush()
    return sum(not card.fault_code for card in present)


async def reset(session: Session, node: Node, index: int | None) -> Card:
    """Puts a sick card back. What it was taken out for is not held against it again; what comes after it is.

    Raises: CardNotFound; CardNotSick.
    """
    places = [card for card in await store_nodes.cards(session, [node.name]) if card.index == index]
    card = next((card for card in places if card.fault_code), next((card for card in places if card.present), None))
    if card is None:
        raise CardNotFound(name=f"{node.name}/cards/{index}")
    if not card.fault_code:
        raise CardNotSick(name=card.name)
    card.acknowledged = sorted({*card.acknowledged, *card.fault_keys})
    card.fault_code, card.fault_message, card.fault_time, card.fault_keys = "", "", None, []
    node.gpu += card.present
    await session.flush()
    return card


def _new(node: Node, reading: CardReading, taken: set[str]) -> Card:
    """The first card in a place has the place as its name; those that follow it count on."""
    name, number = f"{node.name}/cards/{reading.index}", 1
    while name in taken:
        number += 1
        name = f"{node.name}/cards/{reading.index}.{number}"
    return Card(name=name, node=node.name, index=reading.index, uuid=reading.uuid, model="", memory_bytes=0)


async def _write(session: Session, card: Card, reading: CardReading) -> None:
    for field in READ:
        setattr(card, field, getattr(reading, field))
    card.present, card.missing_looks = True, 0
    card.warnings = [finding.message for finding in reading.findings if not finding.fatal]
    reported = {finding.occurrence for finding in reading.findings}
    card.acknowledged = [key for key in card.acknowledged if key in reported]
    for finding in reading.findings:
        if finding.fatal and finding.occurrence not in card.acknowledged:
            await _hold_against(session, card, finding)


async def _miss(session: Session, card: Card, *, is_fault: bool) -> None:
    """It takes no new work at once; what it does is moved when it is sure that it is gone."""
    if not is_fault:
        card.missing_looks = 0
    elif card.present or card.missing_looks:
        card.missing_looks += 1
    card.present = False
    if card.missing_looks >= MISSING_LOOKS and MISSING.occurrence not in card.acknowledged:
        await _hold_against(session, card, MISSING)


async def _hold_against(session: Session, card: Card, finding: Finding) -> None:
    """Takes the card out. Of several faults, the first one is shown and all are remembered."""
    if finding.occurrence in card.fault_keys:
        return
    card.fault_keys = [*card.fault_keys, finding.occurrence]
    if card.fault_code:
        return
    now = session.clock.now()
    card.fault_code, card.fault_message, card.fault_time = finding.code, finding.message, now
    await session.flush()
    await emit(session, card.name, facts.card_failed(card, now))
    for workload in await store_nodes.died_on(session, card, now - timedelta(seconds=DEATH_SECONDS)):
        service.forgive(workload)
