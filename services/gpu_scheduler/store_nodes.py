"""Queries of nodes, their cards and flavors, and of the work that is on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import col

from services.gpu_scheduler.models import (
    HOLDING,
    Attempt,
    Card,
    Flavor,
    Node,
    NodeState,
    Workload,
    WorkloadState,
)


async def node_page(session: Session, request: Any) -> pages.Page[Node]:
    allowed, text_in = ("state", "flavor", "hostname", "simulated"), ("name", "hostname")
    return await resources.listed(session, sa.select(Node), Node, request, allowed=allowed, text_in=text_in)


async def flavor_page(session: Session, request: Any) -> pages.Page[Flavor]:
    return await resources.listed(session, sa.select(Flavor), Flavor, request, order_by="name")


async def flavor_prices(session: Session) -> dict[str, Flavor]:
    return {row.name: row for row in await session.scalars(sa.select(Flavor))}


async def nodes(session: Session) -> Sequence[Node]:
    return (await session.scalars(sa.select(Node).order_by(col(Node.name)))).all()


async def node_sizes(session: Session) -> Sequence[Any]:
    """Of each kind of node one row, and how many `nodes` it stands for."""
    kind = [col(each) for each in (Node.state, Node.flavor, Node.launcher, Node.cpu_milli, Node.memory_bytes, Node.gpu)]
    return (await session.execute(sa.select(*kind, sa.func.count().label("nodes")).group_by(*kind))).all()


async def flavors(session: Session) -> Sequence[Flavor]:
    return (await session.scalars(sa.select(Flavor))).all()


async def find_node(session: Session, name: str) -> Node | None:
    found: Node | None = await session.get(Node, name)
    return found


async def cards(session: Session, nodes: Collection[str] | None = None) -> Sequence[Card]:
    """Of all nodes, or of some."""
    query = sa.select(Card).order_by(col(Card.node), col(Card.index))
    if nodes is not None:
        query = query.where(col(Card.node).in_(nodes))
    return (await session.scalars(query)).all()


async def take_cards(session: Session, cards: Mapping[str, str]) -> int:
    """Card → who holds it from now on; how many of them were free."""
    taken = sa.text(
        """
        UPDATE gpu_scheduler.card AS c SET workload = g.workload
        FROM unnest(CAST(:cards AS text[]), CAST(:workloads AS text[])) AS g (name, workload)
        WHERE c.name = g.name AND c.workload = '' AND c.present AND c.fault_code = ''
        """
    )
    found = await session.execute(taken, {"cards": list(cards), "workloads": list(cards.values())})
    return int(getattr(found, "rowcount", 0))


async def release_cards(session: Session, workload: str) -> None:
    await session.execute(sa.update(Card).where(col(Card.workload) == workload).values(workload=""))


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


async def unconfirmed_on(session: Session, node: str) -> Sequence[tuple[Workload, Attempt]]:
    """Attempts that ended without their node."""
    query = sa.select(Workload, Attempt).join(Attempt, col(Workload.name) == Attempt.workload)
    rows = await session.execute(query.where(col(Attempt.node) == node, col(Attempt.unconfirmed)))
    return [(workload, attempt) for workload, attempt in rows]


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
