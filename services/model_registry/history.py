"""Every query of the lineage: edges that hold for good, and where aliases pointed and deployments served at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from gyre_kit.db import Session
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased

from services.model_registry.models import AliasMove, Edge, KnownData, Serving


@dataclass(frozen=True)
class Link:
    """An edge as it is shown. `time`: since when it holds."""

    source: str
    target: str
    relation: str
    time: datetime | None = None
    weight_percent: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        return self.source, self.target, self.relation


async def add_edges(
    session: Session, project: str, edges: Iterable[tuple[str, str, str]], time: datetime | None = None
) -> None:
    """(source, target, relation); what is known already is passed over, or made as old as it is by the older news."""
    since = time or session.clock.now()
    rows = [
        {"source": source, "target": target, "relation": relation, "project": project, "time": since}
        for source, target, relation in dict.fromkeys(edges)
        if source and target
    ]
    if not rows:
        return
    new = insert(Edge).values(rows)
    older = {"time": sa.func.least(Edge.time, new.excluded.time)}
    await session.execute(new.on_conflict_do_update(index_elements=["source", "target", "relation"], set_=older))


async def put_split(
    session: Session, deployment: str, project: str, time: datetime, alias: str, shares: dict[str, int]
) -> None:
    """The whole split that came into force at `time`: per cent by variant or version. Heard again, nothing changes."""
    rows = [
        {
            "deployment": deployment,
            "time": time,
            "served": served,
            "project": project,
            "alias": alias,
            "weight_percent": weight,
        }
        for served, weight in (shares or {"": 0}).items()
    ]
    await session.execute(insert(Serving).values(rows).on_conflict_do_nothing())


async def put_data(session: Session, data: KnownData) -> None:
    """Said once of each version; a correction that was heard first stays."""
    new = insert(KnownData).values(**data.model_dump())
    is_news = new.excluded.licence_time >= KnownData.licence_time
    latest = {
        "licence": sa.case((is_news, new.excluded.licence), else_=KnownData.licence),
        "origin": sa.case((is_news, new.excluded.origin), else_=KnownData.origin),
        "licence_time": sa.func.greatest(KnownData.licence_time, new.excluded.licence_time),
        "time": sa.func.least(KnownData.time, new.excluded.time),
        "row_count": sa.func.greatest(KnownData.row_count, new.excluded.row_count),
        "adds_rows": sa.and_(KnownData.adds_rows, new.excluded.adds_rows),
    }
    await session.execute(new.on_conflict_do_update(index_elements=["name"], set_=latest))


async def known_data(session: Session, names: Sequence[str]) -> dict[str, KnownData]:
    rows = await session.scalars(sa.select(KnownData).where(KnownData.name.in_(names)))
    return {row.name: row for row in rows}


async def links_at(session: Session, names: Sequence[str], time: datetime, *, upstream: bool) -> list[Link]:
    """All that led to `names` at `time`, or that they led to."""
    column = Edge.target if upstream else Edge.source
    lasting = sa.select(Edge).where(column.in_(names), Edge.time <= time).order_by(Edge.time, Edge.source, Edge.target)
    links = [Link(it.source, it.target, it.relation, it.time) for it in await session.scalars(lasting)]
    for move in await _moves_in_force(session, names, time, upstream=upstream):
        links += _links_of_move(move)
    for share in await _shares_in_force(session, names, time, upstream=upstream):
        links += _links_of_share(share)
    wanted = set(names)
    return [link for link in links if (link.target if upstream else link.source) in wanted]


async def parents_of(session: Session, names: Sequence[str], relations: Iterable[str]) -> list[tuple[str, str]]:
    """(child, parent) by the given relations, whenever they came about."""
    query = sa.select(Edge.target, Edge.source).where(Edge.target.in_(names), Edge.relation.in_(list(relations)))
    return [(row[0], row[1]) for row in await session.execute(query)]


async def _moves_in_force(
    session: Session, names: Sequence[str], time: datetime, *, upstream: bool
) -> Sequence[AliasMove]:
    later = aliased(AliasMove)
    is_last = ~sa.exists().where(
        later.alias == AliasMove.alias, later.number > AliasMove.number, later.create_time <= time
    )
    concerned = (
        AliasMove.alias.in_(names)
        if upstream
        else sa.or_(*(it.in_(names) for it in (AliasMove.to_version, AliasMove.to_variant, AliasMove.verdict)))
    )
    query = sa.select(AliasMove).where(concerned, AliasMove.create_time <= time, is_last)
    return (await session.scalars(query.order_by(AliasMove.alias))).all()


def _links_of_move(move: AliasMove) -> list[Link]:
    links = [Link(move.to_variant or move.to_version, move.alias, "promoted_to", move.create_time)]
    if move.verdict:
        links.append(Link(move.verdict, move.alias, "allowed", move.create_time))
    return links


async def _shares_in_force(
    session: Session, names: Sequence[str], time: datetime, *, upstream: bool
) -> Sequence[Serving]:
    later = aliased(Serving)
    is_last = ~sa.exists().where(later.deployment == Serving.deployment, later.time > Serving.time, later.time <= time)
    concerned = (
        Serving.deployment.in_(names) if upstream else sa.or_(Serving.served.in_(names), Serving.alias.in_(names))
    )
    query = sa.select(Serving).where(concerned, Serving.time <= time, is_last)
    return (await session.scalars(query.order_by(Serving.deployment, Serving.served))).all()


def _links_of_share(share: Serving) -> list[Link]:
    links = []
    if share.served:
        links.append(Link(share.served, share.deployment, "served_by", share.time, share.weight_percent))
    if share.served and share.alias:
        links.append(Link(share.alias, share.deployment, "followed_by", share.time))
    return links
