"""Nodes of a launcher that has a cluster of its own: they join as ours, and are lost when it no longer counts them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from gyre_kit.db import Session
from gyre_kit.outbox import emit

from services.gpu_scheduler import facts, nodes, store_nodes
from services.gpu_scheduler.launchers.base import RemoteNode
from services.gpu_scheduler.models import Node, NodeState
from services.gpu_scheduler.settings import Settings

log = logging.getLogger(__name__)


async def heard_of(session: Session, launcher: str, alive: Sequence[RemoteNode], settings: Settings) -> None:
    """Writes down those that are alive; one with the name of another launcher's node is none of ours. Nodes of `launcher` that are not among them are lost at once."""
    heard = set()
    for remote in sorted(alive, key=lambda each: each.machine.id):
        known = await store_nodes.find_node(session, f"nodes/{remote.machine.id}")
        if known is not None and known.launcher != launcher:
            log.warning("a node has the name of another launcher's", extra={"node": known.name, "launcher": launcher})
            continue
        node = await nodes.heard_of(session, remote.machine, settings)
        node.launcher, node.place, node.address = launcher, remote.place, remote.host
        node.labels = {**node.labels, **remote.labels}
        heard.add(node.name)
    for node in await store_nodes.nodes(session):
        if node.launcher == launcher and node.name not in heard and node.state != NodeState.LOST:
            await _lose(session, node)


async def _lose(session: Session, node: Node) -> None:
    now = session.clock.now()
    node.state, node.update_time = NodeState.LOST, now
    node.revision += 1
    await session.flush()
    await emit(session, node.name, facts.node_lost(node, await store_nodes.workloads_on(session, node.name), now))
