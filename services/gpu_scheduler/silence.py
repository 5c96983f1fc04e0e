"""Nodes that fall silent: lost, then gone for good; and what happens when one comes back after that.

    heard of ──silent for node_lost_seconds──► LOST ──for node_gone_seconds, or ForgetNode──► GONE
        ▲                                       │                                              │
        └── heard of again: its work goes on ───┘                heard of again: FENCING ◄─────┘

LOST takes no work, and what runs there keeps its resources: it may be well, and only the line may be down. GONE ends
its attempts (NODE_LOST, no fault counted) and their work is queued again. What may still run on such a node is ended
before it takes work again: it is FENCING until each of those attempts is confirmed to have nobody left.

Silence is no difference of two times of day. Each look adds the seconds since the look before, never less than 0 and
never more than LONGEST_STEP: a clock that is set forward by an hour, or a scheduler that was off for one, adds one
step, and so cannot lose every node at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Precondition
from gyre_kit.outbox import emit

from services.gpu_scheduler import facts, service, store, store_nodes
from services.gpu_scheduler.models import AWAY, Node, NodeState, Workload
from services.gpu_scheduler.settings import Settings

LONGEST_STEP = 15.0  # seconds; looks are 5 s apart
HEARD = frozenset(NodeState) - AWAY


class NodeStillHeard(Precondition):
    """A node that is heard of cannot be forgotten: drain it, stop its machine, and wait until it is lost."""


@dataclass
class Silence:
    """What one look came to: names of nodes."""

    lost: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


async def look(session: Session, settings: Settings) -> Silence:
    """Which nodes are lost now, and which are gone for good."""
    await store.serialise(session, "silence")
    await store_nodes.add_silence(session, LONGEST_STEP)
    found = Silence()
    for node in await store_nodes.silent_nodes(session, HEARD, settings.node_lost_seconds):
        await _lose(session, node)
        found.lost.append(node.name)
    for node in await store_nodes.silent_nodes(session, {NodeState.LOST}, settings.node_gone_seconds):
        await end_work_of(session, node)
        found.gone.append(node.name)
    return found


async def forget(session: Session, node: Node) -> None:
    """Ends what is left on a node that is away, and deletes it; another machine may take its name.

    Raises: NodeStillHeard.
    """
    if node.state not in AWAY:
        raise NodeStillHeard(name=node.name, state=node.state)
    if node.state != NodeState.GONE:
        await end_work_of(session, node)
    await store_nodes.delete_node(session, node)


async def end_work_of(session: Session, node: Node) -> None:
    """The node is gone for good: its attempts end, and their work is queued again."""
    now = session.clock.now()
    workloads = await store_nodes.workloads_on(session, node.name)
    for name in workloads:
        workload = await resources.get(session, Workload, name, lock=True)
        attempt = await store.attempt(session, name, workload.attempt)
        if attempt is not None:
            await service.node_gone(session, workload, attempt)
    _enter(node, NodeState.GONE, session)
    await session.flush()
    await emit(session, node.name, facts.node_gone(node, workloads, now))


async def welcome(session: Session, node: Node) -> None:
    """A node that is new, or was away, is heard of: it joins at once, or when it was fenced."""
    if await store_nodes.is_unconfirmed(session, node.name):
        _enter(node, NodeState.FENCING, session)
        await session.flush()
        return
    _enter(node, NodeState(node.wanted_state), session)
    await session.flush()
    await emit(session, node.name, facts.node_joined(node, session.clock.now()))


async def fenced(session: Session, name: str) -> None:
    """Nobody of an ended attempt is left on the node: it joins. Does nothing while somebody is, or it is not fencing."""
    node = await store_nodes.locked_node(session, name)
    if node is not None and node.state == NodeState.FENCING:
        await welcome(session, node)


async def _lose(session: Session, node: Node) -> None:
    now = session.clock.now()
    _enter(node, NodeState.LOST, session)
    await session.flush()
    await emit(session, node.name, facts.node_lost(node, await store_nodes.workloads_on(session, node.name), now))


def _enter(node: Node, state: NodeState, session: Session) -> None:
    if node.state != state:
        node.state, node.update_time = state, session.clock.now()
        node.revision += 1
