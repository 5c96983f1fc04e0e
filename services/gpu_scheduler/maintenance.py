"""What operators do with nodes: label, cordon, drain and give back; and moving the work that must leave its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound
from gyre_kit.outbox import emit
from gyre_kit.resources import EtagMismatch

from services.gpu_scheduler import facts, service, store, store_nodes
from services.gpu_scheduler.cluster_queues import FieldImmutable
from services.gpu_scheduler.models import HOLDING, Node, NodeState, StopReason, Workload, WorkloadState

UPDATABLE = ("display_name", "labels")
MOST_LABELS = 64
# As Kubernetes has them: an optional DNS prefix, then up to 63 letters, digits, hyphens, dots and underscores.
LABEL_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
FOLLOWS_WISH = frozenset({NodeState.READY, NodeState.CORDONED, NodeState.DRAINING})


class NodeNotFound(NotFound):
    """There is no node of that name; `gyre nodes list` shows those that there are."""


class BadNodeLabel(Invalid):
    """A label is NAME=VALUE: up to 63 letters, digits, hyphens, dots or underscores each; the name may have a DNS prefix and a slash."""


async def get(session: Session, name: str, etag: str = "") -> Node:
    """The node, locked. Raises: NodeNotFound; EtagMismatch."""
    node = await store_nodes.locked_node(session, name)
    if node is None:
        raise NodeNotFound(name=name)
    if etag and etag != str(node.revision):
        raise EtagMismatch(name=name, given=etag, current=str(node.revision))
    return node


async def update(
    session: Session, name: str, fields: Collection[str], *, etag: str, display_name: str, labels: Mapping[str, str]
) -> Node:
    """Changes `fields` and nothing else. Raises: NodeNotFound; EtagMismatch; FieldImmutable; BadNodeLabel."""
    for field in fields:
        if field not in UPDATABLE:
            raise FieldImmutable(field=field, changeable="|".join(UPDATABLE))
    if "labels" in fields:
        _check_labels(labels)
    node = await get(session, name, etag)
    if "display_name" in fields:
        node.display_name = display_name
    if "labels" in fields:
        node.labels = dict(labels)
    node.update_time = session.clock.now()
    node.revision += 1
    await session.flush()
    return node


async def want(session: Session, name: str, state: NodeState, *, etag: str = "") -> Node:
    """Cordons, drains or gives back a node, now or as soon as it is heard of. Raises: NodeNotFound; EtagMismatch.

    No admission is under way meanwhile, so that nothing is put on a node after its operator was told that it is closed.
    """
    await store.serialise(session, "admission")
    node = await get(session, name, etag)
    if node.wanted_state == state:
        return node
    now = session.clock.now()
    node.wanted_state, node.update_time = state, now
    node.revision += 1
    if node.state in FOLLOWS_WISH:
        node.state = state
        await session.flush()
        await emit(session, node.name, facts.node_changed(node, now))
    await session.flush()
    return node


async def move_work(session: Session) -> list[str]:
    """Asks what works on a draining node, or on a card that was taken out, to stop; it waits again with no fault counted.

    Done over and over, so that nothing is forgotten whatever was killed in between. Returns the names.
    """
    moved = []
    for name, state in await store_nodes.workloads_to_move(session):
        workload = await resources.get(session, Workload, name, lock=True)
        if workload.state in HOLDING - {WorkloadState.STOPPING}:
            is_drained = state == NodeState.DRAINING
            await service.ask_to_stop(
                session, workload, StopReason.NODE_DRAINED if is_drained else StopReason.CARD_FAILED
            )
            moved.append(name)
    return moved


def _check_labels(labels: Mapping[str, str]) -> None:
    """Raises: BadNodeLabel."""
    if len(labels) > MOST_LABELS:
        raise BadNodeLabel(field="node.labels", given=len(labels), most=MOST_LABELS)
    for name, value in labels.items():
        if not LABEL_NAME.fullmatch(name) or not LABEL_VALUE.fullmatch(value):
            raise BadNodeLabel(field="node.labels", given=f"{name}={value}"[:120])
