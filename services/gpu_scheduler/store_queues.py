"""Queries of queues, cluster queues and cohorts, and of what is held of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlmodel import col

from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.models import (
    HOLDING,
    ClusterQueue,
    Cohort,
    Queue,
    Workload,
    WorkloadState,
)
from services.gpu_scheduler.store import among


async def queue_page(session: Session, project: str, request: Any) -> pages.Page[Queue]:
    query = sa.select(Queue).where(col(Queue.project) == project)
    allowed, text_in = ("state", "cluster_queue"), ("name", "display_name")
    return await resources.listed(session, query, Queue, request, allowed=allowed, text_in=text_in)


async def queues(session: Session) -> Sequence[Queue]:
    return (await session.scalars(sa.select(Queue))).all()


async def find_queue(session: Session, name: str) -> Queue | None:
    found: Queue | None = await session.scalar(sa.select(Queue).where(col(Queue.name) == name))
    return found


async def queues_named(session: Session, project: str, names: Collection[str]) -> dict[str, tuple[Queue, ClusterQueue]]:
    """Those of them that `project` has, each with its cluster queue."""
    joined = sa.select(Queue, ClusterQueue).join(ClusterQueue, col(ClusterQueue.name) == Queue.cluster_queue)
    rows = await session.execute(joined.where(col(Queue.project) == project, among(Queue.name, names)))
    return {queue.name: (queue, shared) for queue, shared in rows}


async def cluster_queues(session: Session) -> Sequence[ClusterQueue]:
    return (await session.scalars(sa.select(ClusterQueue))).all()


async def cohorts(session: Session) -> Sequence[Cohort]:
    return (await session.scalars(sa.select(Cohort))).all()


async def cluster_queue_page(session: Session, request: Any) -> pages.Page[ClusterQueue]:
    query, order = sa.select(ClusterQueue), request.order_by or "name"
    return await resources.listed(
        session, query, ClusterQueue, request, allowed=("cohort", "strict"), text_in=("name",), order_by=order
    )


async def cohort_page(session: Session, request: Any) -> pages.Page[Cohort]:
    query, order = sa.select(Cohort), request.order_by or "name"
    return await resources.listed(
        session, query, Cohort, request, allowed=("parent",), text_in=("name",), order_by=order
    )


async def queues_of(session: Session, cluster_queue: str) -> Sequence[str]:
    """The local queues that point to it, of all projects that the caller may see."""
    return (await session.scalars(sa.select(col(Queue.name)).where(col(Queue.cluster_queue) == cluster_queue))).all()


async def members_of(session: Session, cohort: str) -> Sequence[str]:
    """Cluster queues and cohorts that are directly in it."""
    queues = sa.select(col(ClusterQueue.name)).where(col(ClusterQueue.cohort) == cohort)
    below = sa.select(col(Cohort.name)).where(col(Cohort.parent) == cohort)
    return (await session.scalars(sa.union_all(queues, below))).all()


async def cluster_queue_counts(session: Session, names: Collection[str]) -> dict[str, tuple[int, int, int]]:
    """Cluster queue → (local queues, workloads that wait, workloads that hold resources)."""
    waits = sa.func.count(col(Workload.name)).filter(col(Workload.state) == WorkloadState.QUEUED)
    holds = sa.func.count(col(Workload.name)).filter(col(Workload.state).in_(HOLDING))
    query = (
        sa.select(col(Queue.cluster_queue), sa.func.count(sa.distinct(col(Queue.name))), waits, holds)
        .outerjoin(Workload, col(Workload.queue) == Queue.name)
        .where(col(Queue.cluster_queue).in_(names))
        .group_by(col(Queue.cluster_queue))
    )
    return {name: (doors, waiting, holding) for name, doors, waiting, holding in await session.execute(query)}


async def held_by_cluster_queue(session: Session) -> dict[tuple[str, str], Amount]:
    """(cluster queue, flavor) → what is held of it."""
    return {key: Amount(*amounts) for key, amounts in (await held_by(session, Queue.cluster_queue)).items()}


async def queue_counts(session: Session, names: Collection[str]) -> dict[str, tuple[int, int]]:
    """Queue → (workloads that wait, workloads that hold resources)."""
    waits = sa.func.count().filter(col(Workload.state) == WorkloadState.QUEUED)
    holds = sa.func.count().filter(col(Workload.state).in_(HOLDING))
    query = sa.select(col(Workload.queue), waits, holds).where(col(Workload.queue).in_(names))
    rows = await session.execute(query.group_by(col(Workload.queue)))
    return {queue: (waiting, holding) for queue, waiting, holding in rows}


async def held_by(session: Session, column: Any) -> dict[tuple[str, str], tuple[int, int, int]]:
    """(value of `column`, flavor) → what is held: thousandths of a core, bytes, thousandths of a card."""
    cards = col(Workload.gpu) * CARD + col(Workload.gpu_milli)
    sums = [sa.func.sum(each) for each in (col(Workload.cpu_milli), col(Workload.memory_bytes), cards)]
    joined = sa.join(Workload, Queue, col(Workload.queue) == Queue.name)
    query = sa.select(column, col(Workload.flavor), *sums).select_from(joined)
    query = query.where(col(Workload.state).in_(HOLDING)).group_by(column, col(Workload.flavor))
    return {(row[0], row[1]): (int(row[2]), int(row[3]), int(row[4])) for row in await session.execute(query)}
