"""What this service does by itself about nodes: hear of them, miss them, fence them before they take work again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from gyre_kit.app import Context

from services.gpu_scheduler import (
    maintenance,
    nodes,
    remote_nodes,
    silence,
    store,
    store_nodes,
)
from services.gpu_scheduler.hardware import own_id, read_machine
from services.gpu_scheduler.launchers.base import (
    LOCAL,
    KnowsNodes,
    Launcher,
    Unreachable,
)
from services.gpu_scheduler.metrics import ADMISSION, FLEET, FleetGauges, Gauges
from services.gpu_scheduler.models import NodeState
from services.gpu_scheduler.reconcile import LAUNCHERS, found

log = logging.getLogger(__name__)


async def hear_of_node(context: Context) -> None:
    """Writes down how this machine is, which others fell silent, and whose work must leave its place."""
    machine = await asyncio.to_thread(read_machine, context.settings)
    fleet: FleetGauges = context.state[FLEET]
    gauges: Gauges = context.state[ADMISSION]
    try:
        async with context.db.transaction() as session:
            node = await nodes.heard_of(session, machine, context.settings)
        if node.state == NodeState.FENCING:
            context.wake_event(fence.__name__).set()
    except nodes.NodeNameTaken as error:
        fleet.name_conflicts.inc()
        log.error("this machine is no node", extra={"reason": error.reason, "error": error.message})
    async with context.db.transaction() as session:
        silent = await silence.look(session, context.settings)
    async with context.db.transaction() as session:
        moved = await maintenance.move_work(session)
        fleet.show(await store_nodes.node_counts(session), await store_nodes.card_counts(session))
        gauges.show(await store.state_counts(session))
    if silent.lost or silent.gone or moved:
        log.warning("work must move", extra={"lost": silent.lost, "gone": silent.gone, "moved": moved})
        context.wake()


async def fence(context: Context) -> bool:
    """Ends what still runs under attempts that ended while their node was gone; then the node joins. Those of this
    machine, and of the clusters that it launches on."""
    own = f"nodes/{own_id(context.settings)}"
    launchers: Mapping[str, Launcher] = context.state[LAUNCHERS]
    async with context.db.transaction() as session:
        found = [node for node in await store_nodes.nodes(session) if node.state == NodeState.FENCING]
    for node in found:
        if node.name == own or (node.launcher != LOCAL and node.launcher in launchers):
            await _fence(context, node.name)
    return False


async def _fence(context: Context, node: str) -> None:
    async with context.db.transaction() as session:
        left = await store_nodes.unconfirmed_on(session, node)
    for row, attempt in left:
        work = found(context, row, attempt)
        try:
            ended = await asyncio.to_thread(work.launcher.stop, work.ref, ask=False, kill=True)
        except Unreachable as error:
            log.warning("a node is not fenced yet", extra={"node": node, "error": str(error)})
            return
        if ended is None:
            return
        async with context.db.transaction() as session:
            await store_nodes.confirm(session, attempt.name)
    async with context.db.transaction() as session:
        await silence.fenced(session, node)
    context.wake()


async def hear_of_clusters(context: Context) -> None:
    """Nodes of launchers that have a cluster of their own: which there are, and which are gone."""
    launchers: Mapping[str, Launcher] = context.state[LAUNCHERS]
    for name, launcher in launchers.items():
        if isinstance(launcher, KnowsNodes):
            await _hear_of_cluster(context, name, launcher)


async def _hear_of_cluster(context: Context, name: str, launcher: KnowsNodes) -> None:
    """Nodes of a cluster that does not answer are lost when they were silent for long enough, as any are."""
    try:
        alive = await asyncio.to_thread(launcher.nodes)
    except Unreachable as error:
        log.warning("a cluster does not answer", extra={"launcher": name, "error": str(error)})
        return
    async with context.db.transaction() as session:
        await remote_nodes.heard_of(session, name, alive, context.settings)
