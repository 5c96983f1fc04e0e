"""Every query of this service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.periods import Period
from sqlalchemy.dialects.postgresql import JSONB
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


async def attempts_within(session: Session, project: str, period: Period) -> list[tuple[str, Attempt]]:
    """Attempts of a project that held something in `period`, each with its workload's kind."""
    query = (
        sa.select(col(Workload.kind), Attempt)
        .join(Workload, col(Workload.name) == Attempt.workload)
        .where(
            col(Attempt.project) == project,
            col(Attempt.admit_time) < period.end,
            sa.or_(col(Attempt.end_time).is_(None), col(Attempt.end_time) > period.start),
        )
    )
    return [(kind, attempt) for kind, attempt in await session.execute(query)]


def attempt_name(workload: str, number: int) -> str:
    return f"{workload}/attempts/{number}"


async def cards(session: Session, nodes: Collection[str]) -> Sequence[Card]:
    query = sa.select(Card).where(col(Card.node).in_(nodes)).order_by(col(Card.node), col(Card.index))
    return (await session.scalars(query)).all()


async def free_cards(session: Session, node: str, count: int) -> Sequence[Card]:
    is_well = sa.and_(col(Card.present), col(Card.fault_code) == "")
    query = sa.select(Card).where(col(Card.node) == node, col(Card.workload) == "", is_well)
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


async def add_silence(session: Session, longest_step: float) -> None:
    """Adds to the silence of each node the seconds since the last look, at most `longest_step` and at least 0."""
    now = session.clock.now()
    since = sa.extract("epoch", sa.literal(now) - sa.func.coalesce(col(Node.look_time), col(Node.last_seen_time)))
    step = sa.func.least(sa.func.greatest(since, 0.0), longest_step)
    values = {"silent_seconds": col(Node.silent_seconds) + step, "look_time": now}
    update = sa.update(Node).where(col(Node.state) != NodeState.GONE).values(values)
    await session.execute(update.execution_options(synchronize_session=False))


async def silent_nodes(session: Session, states: Collection[str], seconds: float) -> Sequence[Node]:
    """Nodes in one of `states` that have been silent for so long, locked."""
    query = sa.select(Node).where(col(Node.state).in_(states), col(Node.silent_seconds) >= seconds)
    query = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    return (await session.scalars(query)).all()


async def locked_node(session: Session, name: str) -> Node | None:
    found: Node | None = await session.get(Node, name, with_for_update=True, populate_existing=True)
    return found


async def delete_node(session: Session, node: Node) -> None:
    await session.execute(sa.delete(Card).where(col(Card.node) == node.name))
    await session.delete(node)
    await session.flush()


async def is_unconfirmed(session: Session, node: str) -> bool:
    """True while an attempt that ended without its node may still run there."""
    query = sa.select(col(Attempt.name)).where(col(Attempt.node) == node, col(Attempt.unconfirmed)).limit(1)
    return await session.scalar(query) is not None


async def unconfirmed_on(session: Session, node: str) -> Sequence[tuple[str, str, int]]:
    """Attempts that ended without their node: name, uid of the workload, number."""
    query = sa.select(col(Attempt.name), col(Workload.uid), col(Attempt.number))
    query = query.join(Workload, col(Workload.name) == Attempt.workload)
    rows = await session.execute(query.where(col(Attempt.node) == node, col(Attempt.unconfirmed)))
    return [(name, uid, number) for name, uid, number in rows]


async def confirm(session: Session, attempt: str) -> None:
    await session.execute(sa.update(Attempt).where(col(Attempt.name) == attempt).values(unconfirmed=False))


async def died_on(session: Session, card: Card, since: datetime) -> Sequence[Workload]:
    """Workloads that wait after a fault counted against them, whose last attempt had this card and ended since then.

    One that is just being given cards is passed over: it waits for this card's row, and holds what is wanted here.
    """
    last = sa.and_(col(Attempt.workload) == Workload.name, col(Attempt.number) == Workload.attempt)
    had_it = sa.cast(col(Attempt.card_uuids), JSONB).contains([card.uuid])
    query = (
        sa.select(Workload)
        .join(Attempt, last)
        .where(
            col(Attempt.node) == card.node,
            col(Attempt.end_time) >= since,
            had_it,
            col(Workload.state) == WorkloadState.QUEUED,
            col(Workload.faults) > 0,
            col(Workload.not_before).is_not(None),
        )
    )
    return (await session.scalars(query.with_for_update(of=Workload, key_share=True, skip_locked=True))).all()


async def workloads_to_move(session: Session) -> Sequence[tuple[str, str]]:
    """Work that must leave where it is, and is not on its way: (workload, state of its node)."""
    card_is_out = sa.or_(col(Card.fault_code) != "", sa.and_(~col(Card.present), col(Card.missing_looks) == 0))
    holds_it = sa.select(col(Card.workload)).where(card_is_out, col(Card.workload) != "")
    query = sa.select(col(Workload.name), col(Node.state)).join(Node, col(Node.name) == Workload.node)
    query = query.where(
        col(Workload.state).in_(HOLDING - {WorkloadState.STOPPING}),
        sa.or_(col(Node.state) == NodeState.DRAINING, col(Workload.name).in_(holds_it)),
    )
    return [(name, state) for name, state in await session.execute(query.order_by(col(Workload.name)))]


async def holding_counts(session: Session) -> dict[str, int]:
    """Node → workloads that hold something of it."""
    query = sa.select(col(Workload.node), sa.func.count()).where(col(Workload.state).in_(HOLDING))
    return dict((await session.execute(query.group_by(col(Workload.node)))).tuples().all())


async def node_counts(session: Session) -> dict[str, int]:
    rows = await session.execute(sa.select(col(Node.state), sa.func.count()).group_by(col(Node.state)))
    return dict(rows.tuples().all())


async def card_counts(session: Session) -> dict[str, int]:
    """FREE, BUSY, SICK → cards; what was taken out of its machine is not counted."""
    state = sa.case((col(Card.fault_code) != "", "SICK"), (col(Card.workload) != "", "BUSY"), else_="FREE")
    query = sa.select(state, sa.func.count()).where(sa.or_(col(Card.present), col(Card.fault_code) != ""))
    return dict((await session.execute(query.group_by(state))).tuples().all())


async def present_models(session: Session) -> dict[str, int]:
    """What drivers call the cards that are there → how many."""
    query = sa.select(col(Card.model), sa.func.count()).where(col(Card.present), ~col(Card.simulated))
    return dict((await session.execute(query.group_by(col(Card.model)))).tuples().all())


async def workloads_on(session: Session, node: str) -> Sequence[str]:
    query = sa.select(col(Workload.name)).where(col(Workload.node) == node, col(Workload.state).in_(HOLDING))
    return (await session.scalars(query)).all()


async def ended_before(session: Session, uids: Collection[str], before: datetime) -> Sequence[str]:
    """Which of `uids` are workloads that ended before that time."""
    query = sa.select(col(Workload.uid)).where(
        col(Workload.uid).in_(uids), col(Workload.state).in_(ENDED), col(Workload.end_time) < before
    )
    return (await session.scalars(query)).all()
