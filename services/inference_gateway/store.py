"""Every query of this service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.names import project_of
from sqlalchemy.dialects.postgresql import insert

from services.inference_gateway.models import (
    Completion,
    Deployment,
    DeploymentState,
    KnownKey,
    KnownProject,
    Target,
    TargetState,
)


async def deployment_page(session: Session, request: Any) -> pages.Page[Deployment]:
    query = sa.select(Deployment).where(Deployment.project == project_of(request.parent))
    if "state" not in request.filter:
        query = query.where(Deployment.state != DeploymentState.DELETED)
    return await _page(session, Deployment, query, request, ("state",), ("name", "display_name"))


async def completion_page(session: Session, request: Any) -> pages.Page[Completion]:
    query = sa.select(Completion).where(Completion.project == project_of(request.parent))
    allowed = ("deployment", "model_version", "variant")
    return await _page(session, Completion, query, request, allowed, ("messages", "answer"))


async def targets_of(session: Session, deployment: str, *, lock: bool = False) -> Sequence[Target]:
    """All but the stopped ones, oldest first."""
    query = sa.select(Target).where(Target.deployment == deployment, Target.state != TargetState.STOPPED)
    if lock:
        query = query.with_for_update(key_share=True)
    return (await session.scalars(query.order_by(Target.create_time, Target.name))).all()


async def replicas_that_served(session: Session) -> Sequence[str]:
    """Ids of launched targets that answered once and are to go on."""
    gone = (TargetState.DRAINING, TargetState.FAILED, TargetState.STOPPED)
    query = sa.select(Target.id).where(Target.workload != "", Target.ready_time.is_not(None), Target.state.not_in(gone))
    return (await session.scalars(query)).all()


async def shown_targets(session: Session, deployments: Sequence[str]) -> dict[str, list[Target]]:
    """Of several deployments at once."""
    query = sa.select(Target).where(Target.deployment.in_(deployments), Target.state != TargetState.STOPPED)
    found: dict[str, list[Target]] = {name: [] for name in deployments}
    for target in await session.scalars(query.order_by(Target.create_time, Target.name)):
        found[target.deployment].append(target)
    return found


async def all_routes(session: Session) -> list[tuple[Deployment, Sequence[Target]]]:
    """What the snapshot is made of."""
    query = sa.select(Deployment).where(Deployment.state != DeploymentState.DELETED).order_by(Deployment.name)
    deployments = (await session.scalars(query)).all()
    targets = await shown_targets(session, [deployment.name for deployment in deployments])
    return [(deployment, targets[deployment.name]) for deployment in deployments]


async def deployments_following(session: Session, alias: str) -> Sequence[Deployment]:
    query = sa.select(Deployment).where(Deployment.alias == alias, Deployment.state != DeploymentState.DELETED)
    return (await session.scalars(query.with_for_update(key_share=True))).all()


async def first_behind_its_alias(session: Session) -> Deployment | None:
    """One that could be shifted now: nothing is under way, and no target of it is the alias's."""
    there = sa.select(Target.name).where(
        Target.deployment == Deployment.name,
        Target.variant == Deployment.alias_variant,
        Target.state != TargetState.STOPPED,
    )
    query = sa.select(Deployment).where(
        Deployment.alias_variant != "",
        Deployment.shifting.is_(False),
        Deployment.state != DeploymentState.DELETED,
        ~sa.exists(there),
    )
    found: Deployment | None = await session.scalar(query.limit(1))
    return found


async def due_for_workload(session: Session, workload: str) -> None:
    """The deployment of a replica is looked at now."""
    owner = sa.select(Target.deployment).where(Target.workload == workload)
    await session.execute(sa.update(Deployment).where(Deployment.name.in_(owner)).values(due=None))


async def keys(session: Session) -> Sequence[KnownKey]:
    return (await session.scalars(sa.select(KnownKey))).all()


async def keys_of(session: Session, project: str) -> Sequence[KnownKey]:
    return (await session.scalars(sa.select(KnownKey).where(KnownKey.project == project))).all()


async def is_key(session: Session, digest: str) -> bool:
    query = sa.select(KnownKey.name).where(KnownKey.secret_sha256 == digest, KnownKey.active)
    return (await session.scalar(query)) is not None


async def projects(session: Session) -> Sequence[KnownProject]:
    return (await session.scalars(sa.select(KnownProject))).all()


async def put_key(session: Session, key: KnownKey) -> None:
    await _put(session, key, ["name"])


async def put_project(session: Session, project: KnownProject) -> None:
    await _put(session, project, ["project"])


async def forget_keys_but(session: Session, names: Sequence[str]) -> None:
    await session.execute(sa.delete(KnownKey).where(KnownKey.name.not_in(names)))


async def consents(session: Session) -> Mapping[str, bool]:
    return {row.project: row.consent_to_keep and row.active for row in await projects(session)}


async def add_completions(session: Session, rows: Sequence[Completion]) -> list[str]:
    """Stores those that are new and returns their names."""
    if not rows:
        return []
    values = [row.model_dump() for row in rows]
    statement = insert(Completion).values(values).on_conflict_do_nothing().returning(Completion.name)
    return list(await session.scalars(statement))


async def _put(session: Session, row: Any, key: list[str]) -> None:
    statement = insert(type(row)).values(**row.model_dump())
    changed = {name: statement.excluded[name] for name in row.model_dump() if name not in key}
    await session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))


async def _page(
    session: Session, table: type[Any], query: Any, request: Any, allowed: tuple[str, ...], text_in: tuple[str, ...]
) -> pages.Page[Any]:
    found = resources.filtered(
        query, table, filter=request.filter, text=request.query, allowed=allowed, text_in=text_in
    )
    return await pages.page(
        session,
        found,
        table=table,
        page_size=request.page_size,
        page_token=request.page_token,
        order_by=request.order_by,
    )
