"""Nodes join and are heard of. How they get lost is in `silence`, what operators do with them in `maintenance`."""

from __future__ import annotations

from gyre_kit.db import Session
from gyre_kit.errors import Conflict

from services.gpu_scheduler import flavors, silence, store_nodes
from services.gpu_scheduler.hardware import CPU_FLAVOR, Machine
from services.gpu_scheduler.health import write_cards
from services.gpu_scheduler.models import AWAY, Node, NodeState
from services.gpu_scheduler.settings import Settings


class NodeNameTaken(Conflict):
    """Another machine has that name: give this one another (GYRE_NODE_ID), or forget the other when it is gone."""


async def heard_of(session: Session, machine: Machine, settings: Settings) -> Node:
    """Writes down how `machine` is now, whoever read it. A node that is new, or was away, joins.

    1 flavors, 2 whose name it is, 3 what it has, 4 its cards, 5 it joins. Raises: NodeNameTaken.
    """
    now = session.clock.now()
    for slug in sorted({CPU_FLAVOR, machine.flavor}):
        await flavors.ensure(
            session, slug, machine.cards[0] if machine.cards and slug == machine.flavor else None, settings
        )
    node = await store_nodes.locked_node(session, f"nodes/{machine.id}")
    if node is None:
        node = Node(
            name=f"nodes/{machine.id}", display_name=machine.hostname, state=NodeState.GONE, create_time=now,
            update_time=now, hostname=machine.hostname, flavor="", cpu_milli=0, memory_bytes=0, gpu=0, last_seen_time=now,
        )  # fmt: skip
        session.add(node)
    _check_owner(node, machine)
    joins = node.state in AWAY
    swapped = joins or node.boot_id != machine.boot_id
    await _configure(session, node, machine, swapped=swapped)
    node.last_seen_time = node.look_time = now
    node.silent_seconds = 0.0
    node.cpu_percent, node.memory_used_bytes = machine.cpu_percent, machine.memory_used_bytes
    await session.flush()
    _count_cards(node, await write_cards(session, node, machine.cards, swapped=swapped), session)
    if joins:
        await silence.welcome(session, node)
    return node


def _check_owner(node: Node, machine: Machine) -> None:
    """The first machine has the name until it is gone for good. Raises: NodeNameTaken."""
    is_another = bool(node.machine_id and machine.machine_id and node.machine_id != machine.machine_id)
    if is_another and node.state != NodeState.GONE:
        raise NodeNameTaken(name=node.name, of=node.hostname, claimed_by=machine.hostname)
    node.machine_id = machine.machine_id or node.machine_id


async def _configure(session: Session, node: Node, machine: Machine, *, swapped: bool) -> None:
    """`revision` moves only when what the node has is another than before.

    Cards that are suddenly all gone make no CPU node of it: they are a fault, and may be back in a moment.
    """
    keeps_flavor = not machine.cards and not swapped and node.flavor != "" and await _had_real_cards(session, node)
    has = {
        "hostname": machine.hostname,
        "flavor": node.flavor if keeps_flavor else f"flavors/{machine.flavor}",
        "cpu_milli": machine.cpu_milli,
        "memory_bytes": machine.memory_bytes,
        "simulated": machine.simulated,
    }
    if any(getattr(node, name) != value for name, value in has.items()):
        for name, value in has.items():
            setattr(node, name, value)
        node.update_time = session.clock.now()
        node.revision += 1
    node.boot_id = machine.boot_id


async def _had_real_cards(session: Session, node: Node) -> bool:
    cards = await store_nodes.cards(session, [node.name])
    return any(card.present or card.missing_looks for card in cards if not card.simulated)


def _count_cards(node: Node, healthy: int, session: Session) -> None:
    """What is sick cannot be given to work: it is no capacity."""
    if node.gpu != healthy:
        node.gpu, node.update_time = healthy, session.clock.now()
        node.revision += 1
