"""Every query of this service."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from gyre_kit.names import project_of
from gyre_kit.periods import Period
from sqlalchemy.dialects.postgresql import insert

from services.inference_gateway.models.deployments import (
    Deployment,
    DeploymentState,
    Replica,
    ReplicaState,
    Target,
    TargetState,
)
from services.inference_gateway.models.projects import KnownKey, KnownProject
from services.inference_gateway.models.rollouts import Rollout, RolloutState
from services.inference_gateway.models.traces import Completion
from services.inference_gateway.models.usage import Usage, UsageSegment


async def deployment_page(session: Session, request: Any) -> pages.Page[Deployment]:
    query = sa.select(Deployment).where(Deployment.project == project_of(request.parent))
    if "state" not in request.filter:
        query = query.where(Deployment.state != DeploymentState.DELETED)
    return await resources.listed(
        session, query, Deployment, request, allowed=("state",), text_in=("name", "display_name")
    )


async def completion_page(session: Session, request: Any) -> pages.Page[Completion]:
    query = sa.select(Completion).where(Completion.project == project_of(request.parent))
    if "shadow_of" not in request.filter:
        query = query.where(Completion.shadow_of == "")
    allowed = ("deployment", "model_version", "variant", "shadow_of", "prompt")
    return await resources.listed(session, query, Completion, request, allowed=allowed, text_in=("messages", "answer"))


async def existing_deployments(session: Session, names: Sequence[str]) -> set[str]:
    """Those of `names` that there are."""
    query = sa.select(Deployment.name).where(Deployment.name.in_(names), Deployment.state != DeploymentState.DELETED)
    return set(await session.scalars(query))


async def targets_of(session: Session, deployment: str, *, lock: bool = False) -> Sequence[Target]:
    """All but the stopped ones, oldest first."""
    query = sa.select(Target).where(Target.deployment == deployment, Target.state != TargetState.STOPPED)
    if lock:
        query = query.with_for_update(key_share=True)
    return (await session.scalars(query.order_by(Target.create_time, Target.name))).all()


async def replicas_that_served(session: Session) -> Sequence[str]:
    """Ids of replicas that answered once and are to go on."""
    gone = (TargetState.STANDBY, TargetState.DRAINING, TargetState.FAILED, TargetState.STOPPED)
    goes_on = sa.select(Target.id).where(Target.state.not_in(gone))
    query = sa.select(Replica.id).where(
        Replica.ready_time.is_not(None),
        Replica.state.in_((ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.READY)),
        Replica.target.in_(goes_on),
    )
    return (await session.scalars(query)).all()


async def lock_target(session: Session, target_id: str) -> Target | None:
    query = sa.select(Target).where(Target.id == target_id).with_for_update(key_share=True)
    found: Target | None = await session.scalar(query.execution_options(populate_existing=True))
    return found


async def replicas_of(
    session: Session, targets: Collection[str], *, lock: bool = False
) -> defaultdict[str, list[Replica]]:
    """All but the stopped ones, oldest first, by target id."""
    query = sa.select(Replica).where(Replica.target.in_(targets), Replica.state != ReplicaState.STOPPED)
    if lock:
        query = query.with_for_update(key_share=True)
    found: defaultdict[str, list[Replica]] = defaultdict(list)
    for replica in await session.scalars(query.order_by(Replica.create_time, Replica.name)):
        found[replica.target].append(replica)
    return found


async def leaving(session: Session) -> Sequence[str]:
    """Ids of all engines that drain: of replicas, and of targets that are engines themselves."""
    engines = sa.select(Target.id).where(Target.state == TargetState.DRAINING, Target.variant == "")
    own = sa.select(Replica.id).where(Replica.state == ReplicaState.DRAINING)
    return (await session.scalars(engines.union_all(own))).all()


async def replica_with_target(session: Session, replica_id: str) -> tuple[Replica, Target] | None:
    query = sa.select(Replica, Target).join(Target, Target.id == Replica.target).where(Replica.id == replica_id)
    found = (await session.execute(query)).one_or_none()
    return (found[0], found[1]) if found else None


async def unsettled(session: Session, deployment: str) -> bool:
    """Whether any target or replica of it comes or goes."""
    targets = sa.select(Target.id).where(
        Target.deployment == deployment,
        Target.state.in_((TargetState.PENDING, TargetState.STARTING, TargetState.DRAINING)),
    )
    own = sa.select(Replica.id).where(
        Replica.deployment == deployment,
        Replica.state.in_((ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.DRAINING)),
    )
    return (await session.scalar(targets.union_all(own).limit(1))) is not None


async def forget_stopped_replicas(session: Session, before: datetime) -> None:
    old = sa.and_(Replica.state == ReplicaState.STOPPED, Replica.update_time < before)
    await session.execute(sa.delete(Replica).where(old))


async def replica_page(session: Session, request: Any) -> pages.Page[Replica]:
    query = sa.select(Replica).where(Replica.deployment == request.parent, Replica.state != ReplicaState.STOPPED)
    return await resources.listed(session, query, Replica, request, order_by="create_time")


async def targets_by_id(session: Session, ids: Sequence[str]) -> dict[str, Target]:
    """Stopped ones too."""
    return {target.id: target for target in await session.scalars(sa.select(Target).where(Target.id.in_(ids)))}


async def count_rating(session: Session, completion: str, *, liked: bool) -> None:
    """For the target that gave the completion; for none if that was not kept."""
    column = Target.liked if liked else Target.disliked
    answered = sa.select(Completion.target).where(Completion.name == completion).scalar_subquery()
    await session.execute(sa.update(Target).where(Target.id == answered).values({column: column + 1}))


def versions_of(target: Target) -> set[str]:
    """Registry versions whose bytes it needs, those of its adapters included."""
    return {target.model_version, *(each["model_version"] for each in target.adapters)} - {""}


async def versions_only_of(session: Session, target: Target) -> set[str]:
    """Those that no other target of its deployment needs."""
    others = await targets_of(session, target.deployment)
    return versions_of(target).difference(*(versions_of(each) for each in others if each.id != target.id))


async def shown_targets(session: Session, deployments: Sequence[str]) -> dict[str, list[Target]]:
    """Of several deployments at once."""
    query = sa.select(Target).where(Target.deployment.in_(deployments), Target.state != TargetState.STOPPED)
    found: dict[str, list[Target]] = {name: [] for name in deployments}
    for target in await session.scalars(query.order_by(Target.create_time, Target.name)):
        found[target.deployment].append(target)
    return found


async def rollout(session: Session, name: str) -> Rollout:
    return await resources.get(session, Rollout, name, lock=True)


async def next_rollout_number(session: Session, deployment: str) -> int:
    """Counted from 1 in each deployment, whose row the caller has locked."""
    newest = await session.scalar(sa.select(sa.func.max(Rollout.number)).where(Rollout.deployment == deployment))
    return (newest or 0) + 1


async def last_forward_rollout(session: Session, deployment: str) -> Rollout | None:
    """The newest that is in force and took nothing back."""
    query = sa.select(Rollout).where(
        Rollout.deployment == deployment, Rollout.state == RolloutState.SUCCEEDED, Rollout.reverts == ""
    )
    found: Rollout | None = await session.scalar(query.order_by(Rollout.number.desc()).limit(1).with_for_update())
    return found


async def newest_rollouts(session: Session, deployments: Sequence[str]) -> dict[str, Rollout]:
    """Of several deployments at once."""
    newest = (
        sa.select(Rollout)
        .where(Rollout.deployment.in_(deployments))
        .order_by(Rollout.deployment, Rollout.number.desc())
        .distinct(Rollout.deployment)
    )
    return {row.deployment: row for row in await session.scalars(newest)}


async def rollout_page(session: Session, request: Any) -> pages.Page[Rollout]:
    query = sa.select(Rollout).where(Rollout.deployment == request.parent)
    return await resources.listed(session, query, Rollout, request, order_by="")


async def forget_rollouts(session: Session, deployment: str) -> None:
    """For a deployment whose name is taken anew."""
    await session.execute(sa.delete(Rollout).where(Rollout.deployment == deployment))


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
        Target.shadow_percent == 0,
        Target.state != TargetState.STOPPED,
    )
    query = sa.select(Deployment).where(
        Deployment.alias_variant != "",
        Deployment.alias_variant != Deployment.alias_refused,
        Deployment.rollout == "",
        Deployment.experiment == "",
        Deployment.state != DeploymentState.DELETED,
        ~sa.exists(there),
    )
    found: Deployment | None = await session.scalar(query.limit(1))
    return found


async def due_for_workload(session: Session, workload: str) -> None:
    """The deployment of a replica is looked at now."""
    owner = sa.select(Replica.deployment).where(Replica.workload == workload)
    await session.execute(sa.update(Deployment).where(Deployment.name.in_(owner)).values(due=None))


async def due_for_target(session: Session, target_id: str) -> None:
    """The same by one of its targets."""
    owner = sa.select(Target.deployment).where(Target.id == target_id)
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


async def regions_of(session: Session, project: str) -> Sequence[str]:
    """Where rented engines may compute for it."""
    query = sa.select(KnownProject.regions).where(KnownProject.project == project)
    return await session.scalar(query) or ()


async def project(session: Session, slug: str) -> KnownProject | None:
    found: KnownProject | None = await session.get(KnownProject, slug)
    return found


async def rollout_counts(session: Session) -> dict[str, int]:
    rows = await session.execute(sa.select(Rollout.state, sa.func.count()).group_by(Rollout.state))
    return dict(rows.tuples().all())


async def put_key(session: Session, key: KnownKey) -> None:
    await _put(session, key, ["name"])


async def put_project(session: Session, project: KnownProject) -> None:
    await _put(session, project, ["project"])


async def forget_keys_but(session: Session, names: Sequence[str]) -> None:
    await session.execute(sa.delete(KnownKey).where(KnownKey.name.not_in(names)))


async def consents(session: Session) -> Mapping[str, bool]:
    return {row.project: row.consent_to_keep and row.active for row in await projects(session)}


async def retentions(session: Session) -> Mapping[str, int]:
    """Days, of each project that does not keep things for ever."""
    query = sa.select(KnownProject).where(KnownProject.retention_days > 0)
    return {row.project: row.retention_days for row in await session.scalars(query)}


async def is_new_segment(session: Session, id: str, now: datetime, remembered: timedelta) -> bool:
    """Notes that a segment of usage is stored; False where it was before. Older ones are forgotten."""
    await session.execute(sa.delete(UsageSegment).where(UsageSegment.store_time < now - remembered))
    statement = insert(UsageSegment).values(id=id, store_time=now).on_conflict_do_nothing()
    return (await session.scalar(statement.returning(UsageSegment.id))) is not None


async def add_usage(session: Session, rows: Sequence[Usage]) -> None:
    """Adds each to what is there of its hour. No two of `rows` have the same key."""
    statement = insert(Usage).values([row.model_dump() for row in rows])
    sums = ("request_count", "prompt_tokens", "completion_tokens", "cost_picousd")
    added = {name: getattr(Usage, name) + statement.excluded[name] for name in sums}
    key = ["hour", "project", "api_key", "deployment", "target"]
    await session.execute(statement.on_conflict_do_update(index_elements=key, set_=added))


async def usage_sums(session: Session, project: str, period: Period, columns: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Sums by `columns` (of Usage, or `day`): groups, then requests, tokens in and out, picodollars."""
    day = sa.func.date_trunc("day", Usage.hour, "UTC").label("day")
    groups = [day if name == "day" else getattr(Usage, name) for name in columns]
    sums = [
        sa.func.coalesce(sa.func.sum(column), 0)
        for column in (Usage.request_count, Usage.prompt_tokens, Usage.completion_tokens, Usage.cost_picousd)
    ]
    query = sa.select(*groups, *sums).where(
        Usage.project == project, Usage.hour >= period.start, Usage.hour < period.end
    )
    return (await session.execute(query.group_by(*groups))).all()


async def _put(session: Session, row: Any, key: list[str]) -> None:
    statement = insert(type(row)).values(**row.model_dump())
    changed = {name: statement.excluded[name] for name in row.model_dump() if name not in key}
    await session.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
