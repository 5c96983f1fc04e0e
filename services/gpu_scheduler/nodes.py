"""Nodes join, are heard of, and get lost."""

from __future__ import annotations

from datetime import timedelta

from gyre_kit.db import Session
from gyre_kit.outbox import emit

from services.gpu_scheduler import facts, store
from services.gpu_scheduler.hardware import CPU_FLAVOR, CardReading, Machine
from services.gpu_scheduler.models import Card, Flavor, Node, NodeState
from services.gpu_scheduler.settings import Settings


async def heard_of(session: Session, machine: Machine, settings: Settings) -> Node:
    """Writes down how `machine` is now. NodeJoined when it is new here, or was lost."""
    now = session.clock.now()
    for slug in {CPU_FLAVOR, machine.flavor}:
        await _ensure_flavor(session, slug, settings)
    node = await session.get(Node, f"nodes/{machine.id}", with_for_update=True)
    joins = node is None or node.state == NodeState.LOST
    if node is None:
        node = Node(
            name=f"nodes/{machine.id}", display_name=machine.hostname, state=NodeState.READY, create_time=now,
            update_time=now, hostname=machine.hostname, flavor="", cpu_milli=0, memory_bytes=0, gpu=0, last_seen_time=now,
        )  # fmt: skip
        session.add(node)
    _configure(node, machine, session)
    node.last_seen_time, node.cpu_percent, node.memory_used_bytes = now, machine.cpu_percent, machine.memory_used_bytes
    await session.flush()
    await _write_cards(session, node, machine.cards)
    if joins:
        node.state = NodeState.READY
        await emit(session, node.name, facts.node_joined(node, now))
    return node


async def lose_silent(session: Session, after_seconds: float) -> list[str]:
    """Nodes not heard of for so long take no work any more; returns their names.

    What runs on them keeps its resources: they are free when the stop is confirmed, or the node is gone for good.
    """
    now = session.clock.now()
    lost = await store.silent_nodes(session, now - timedelta(seconds=after_seconds))
    for node in lost:
        node.state, node.update_time = NodeState.LOST, now
        node.revision += 1
        await session.flush()
        await emit(session, node.name, facts.node_lost(node, await store.workloads_on(session, node.name), now))
    return [node.name for node in lost]


def _configure(node: Node, machine: Machine, session: Session) -> None:
    """`revision` moves only when what the node has is another than before."""
    has = {
        "hostname": machine.hostname,
        "flavor": f"flavors/{machine.flavor}",
        "cpu_milli": machine.cpu_milli,
        "memory_bytes": machine.memory_bytes,
        "gpu": len(machine.cards),
        "simulated": machine.simulated,
    }
    if any(getattr(node, name) != value for name, value in has.items()):
        for name, value in has.items():
            setattr(node, name, value)
        node.update_time = session.clock.now()
        node.revision += 1


async def _ensure_flavor(session: Session, slug: str, settings: Settings) -> None:
    """The price follows the settings; attempts keep that of their admission."""
    flavor = await session.get(Flavor, f"flavors/{slug}")
    if flavor is None:
        flavor = Flavor(name=f"flavors/{slug}", display_name=slug, node_labels={"gyre.dev/flavor": slug})
        session.add(flavor)
    flavor.cpu_hour_microusd = settings.cpu_hour_microusd
    flavor.gpu_hour_microusd = 0 if slug == CPU_FLAVOR else settings.gpu_hour_microusd
    await session.flush()


async def _write_cards(session: Session, node: Node, readings: list[CardReading]) -> None:
    known = {card.index: card for card in await store.cards(session, [node.name])}
    for reading in readings:
        card = known.pop(reading.index, None)
        if card is None:
            card = Card(
                name=f"{node.name}/cards/{reading.index}", node=node.name, index=reading.index, uuid="", model="",
                memory_bytes=0,
            )  # fmt: skip
            session.add(card)
        card.uuid, card.model, card.memory_bytes = reading.uuid, reading.model, reading.memory_bytes
        card.memory_used_bytes, card.utilisation_percent = reading.memory_used_bytes, reading.utilisation_percent
        card.temperature_celsius, card.power_watts = reading.temperature_celsius, reading.power_watts
        card.simulated, card.present = reading.simulated, True
    for gone in known.values():
        gone.present = False
    await session.flush()
