"""Every query of this service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlmodel import col

from services.gpu_scheduler.models import (
    ENDED,
    HOLDING,
    Attempt,
    Card,
    ClusterQueue,
    Flavor,
    Node,
    NodeState,
    Queue,
    Workload,
    WorkloadState,
)

FILTERS = ("state", "kind", "owner", "queue", "node", "flavor")


async def make_due(session: Session, workload: str) -> bool:
    """Has work that runs looked at now. True if somebody looks at it this moment, and will put off the next look."""
    living = col(Workload.state).in_([WorkloadState.STARTING, WorkloadState.RUNNING])
    update = sa.update(Workload).where(col(Workload.name) == workload, living).values(due=None)
    return await session.scalar(update.returning(col(Workload.lease_token))) is not None


EVERY_PROJECT = "-"  # that the caller may see


async def workload_page(session: Session, project: str, request: Any) -> pages.Page[Workload]:
    workloads = sa.select(Workload)
    if project != EVERY_PROJECT:
        workloads = workloads.where(col(Workload.project) == project)
    text_in = ("display_name", "owner", "number")
    return await resources.listed(session, workloads, Workload, request, allowed=FILTERS, text_in=text_in)


async def queue_page(session: Session, project: str, request: Any) -> pages.Page[Queue]:
    query = sa.select(Queue).where(col(Queue.project) == project)
    allowed, text_in = ("state", "cluster_queue"), ("name", "display_name")
    return await resources.listed(session, query, Queue, request, allowed=allowed, text_in=text_in)


async def node_page(session: Session, request: Any) -> pages.Page[Node]:
    allowed, text_in = ("state", "flavor", "hostname", "simulated"), ("name", "hostname")
    return await resources.listed(session, sa.select(Node), Node, request, allowed=allowed, text_in=text_in)


async def flavor_page(session: Session, request: Any) -> pages.Page[Flavor]:
    return await resources.listed(session, sa.select(Flavor), Flavor, request, order_by="name")


async def serialise(session: Session, what: str) -> None:
    """Lets one transaction at a time do `what`; the others wait until it has ended."""
    key = {"key": f"gpu_scheduler/{what}"}
    await session.execute(sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), key)


async def find_workload(session: Session, name: str) -> Workload | None:
    found: Workload | None = await session.scalar(sa.select(Workload).where(col(Workload.name) == name))
    return found


async def queued_and_holding(session: Session) -> Sequence[Workload]:
    active = col(Workload.state).in_([WorkloadState.QUEUED, *HOLDING])
    return (await session.scalars(sa.select(Workload).where(active).order_by(col(Workload.queue_time)))).all()


async def nodes(session: Session) -> Sequence[Node]:
    return (await session.scalars(sa.select(Node).order_by(col(Node.name)))).all()


async def find_node(session: Session, name: str) -> Node | None:
    found: Node | None = await session.get(Node, name)
    return found


async def queues(session: Session) -> Sequence[Queue]:
    return (await session.scalars(sa.select(Queue))).all()


async def find_queue(session: Session, name: str) -> Queue | None:
    found: Queue | None = await session.scalar(sa.select(Queue).where(col(Queue.name) == name))
    return found


async def cluster_queues(session: Session) -> Sequence[ClusterQueue]:
    return (await session.scalars(sa.select(ClusterQueue))).all()


async def queue_counts(session: Session, names: Collection[str]) -> dict[str, tuple[int, int]]:
    """Queue → (workloads that wait, workloads that hold resources)."""
    waits = sa.func.count().filter(col(Workload.state) == WorkloadState.QUEUED)
    holds = sa.func.count().filter(col(Workload.state).in_(HOLDING))
    query = sa.select(col(Workload.queue), waits, holds).where(col(Workload.queue).in_(names))
    rows = await session.execute(query.group_by(col(Workload.queue)))
    return {queue: (waiting, holding) for queue, waiting, holding in rows}


async def held_by(session: Session, column: Any) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(value of `column`, flavor) → what is held: thousandths of a core, bytes, cards."""
    sums = [sa.func.sum(getattr(Workload, name)) for name in ("cpu_milli", "memory_bytes", "gpu")]
    joined = sa.join(Workload, Queue, col(Workload.queue) == Queue.name)
    query = sa.select(column, col(Workload.flavor), *sums).select_from(joined)
    query = query.where(col(Workload.state).in_(HOLDING)).group_by(column, col(Workload.flavor))
    return {(row[0], row[1]): (int(row[2]), int(row[3]), int(row[4])) for row in await session.execute(query)}


async def state_counts(session: Session) -> dict[str, int]:
    rows = await session.execute(sa.select(col(Workload.state), sa.func.count()).group_by(col(Workload.state)))
    return dict(rows.tuples().all())


async def attempt(session: Session, workload: str, number: int) -> Attempt | None:
    found: Attempt | None = await session.get(Attempt, attempt_name(workload, number), populate_existing=True)
    return found


async def attempts_of(session: Session, workloads: Collection[str]) -> dict[str, list[Attempt]]:
    query = sa.select(Attempt).where(col(Attempt.workload).in_(workloads)).order_by(col(Attempt.number))
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in await session.scalars(query):
        found[row.workload].append(row)
    return found


def attempt_name(workload: str, number: int) -> str:
    return f"{workload}/attempts/{number}"


async def cards(session: Session, nodes: Collection[str]) -> Sequence[Card]:
    query = sa.select(Card).where(col(Card.node).in_(nodes)).order_by(col(Card.node), col(Card.index))
    return (await session.scalars(query)).all()


async def free_cards(session: Session, node: str, count: int) -> Sequence[Card]:
    query = sa.select(Card).where(col(Card.node) == node, col(Card.workload) == "", col(Card.present))
    return (await session.scalars(query.order_by(col(Card.index)).limit(count).with_for_update())).all()


async def release_cards(session: Session, workload: str) -> None:
    await session.execute(sa.update(Card).where(col(Card.workload) == workload).values(workload=""))


async def set_waiting_reason(session: Session, workload: str, reason: str) -> None:
    changed = sa.update(Workload).where(
        col(Workload.name) == workload,
        col(Workload.state) == WorkloadState.QUEUED,
        col(Workload.waiting_reason) != reason,
    )
    values = {"waiting_reason": reason, "update_time": session.clock.now(), "revision": col(Workload.revision) + 1}
    await session.execute(changed.values(**values).execution_options(synchronize_session=False))


async def silent_nodes(session: Session, before: datetime) -> Sequence[Node]:
    """Nodes not heard of since `before` that are not lost yet."""
    query = sa.select(Node).where(col(Node.last_seen_time) < before, col(Node.state) != NodeState.LOST)
    return (await session.scalars(query.with_for_update(skip_locked=True))).all()


async def workloads_on(session: Session, node: str) -> Sequence[str]:
    query = sa.select(col(Workload.name)).where(col(Workload.node) == node, col(Workload.state).in_(HOLDING))
    return (await session.scalars(query)).all()


async def ended_before(session: Session, uids: Collection[str], before: datetime) -> Sequence[str]:
    """Which of `uids` are workloads that ended before that time."""
    query = sa.select(col(Workload.uid)).where(
        col(Workload.uid).in_(uids), col(Workload.state).in_(ENDED), col(Workload.end_time) < before
    )
    return (await session.scalars(query)).all()
