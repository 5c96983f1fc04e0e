"""Use cases: deployments, and what becomes of them. How their split changes is in rollouts/, what was asked and
answered in traces/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gyre.inference_gateway.v1 import deployment_pb2, events_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, NotFound, Precondition
from gyre_kit.names import slug
from gyre_kit.states import transition

from services.inference_gateway import store
from services.inference_gateway.comparing import experiments
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.deployments import Deployment, DeploymentState, Target, TargetState
from services.inference_gateway.models.rollouts import Rollout
from services.inference_gateway.policies import regions
from services.inference_gateway.replicas import service as replicas
from services.inference_gateway.replicas.scaling import ONE, Bounds, check_scale
from services.inference_gateway.replicas.schedule import ALWAYS, Schedule, check_schedule
from services.inference_gateway.rollouts import service as rollouts
from services.inference_gateway.rollouts import splits
from services.inference_gateway.rollouts.plan import AT_ONCE, Plan
from services.inference_gateway.rollouts.watching import News
from services.inference_gateway.targets import (
    Sighting,
    Wanted,
    adapters_of,
    bounds,
    check_weights,
    drain,
    see,
    takes_requests,
)

COMING = (TargetState.PENDING, TargetState.STARTING)
MOST_FALLBACKS, LONGEST_PATIENCE = 5, 600.0  # deployments, seconds
NOT_SERVING = (TargetState.STANDBY, TargetState.DRAINING)


class DeploymentExists(AlreadyExists):
    """There is a deployment of that name already; shift its traffic, or choose another name."""


class TargetsRequired(Invalid):
    """A deployment needs at least one target, or an alias to follow."""


class FieldImmutable(Invalid):
    """Only display_name, alias, fallbacks and fallback_after can be changed here; the split by ShiftTraffic."""


class BadFallbacks(Invalid):
    """Fallbacks are at most 5 other deployments of this project, each named once; they take over after 0 to 600 s."""


async def create(
    session: Session,
    project: str,
    deployment_id: str,
    wanted: Sequence[Wanted],
    *,
    display_name: str = "",
    alias: str = "",
    queue: str = "",
    scale: Bounds = ONE,
    schedule: Schedule = ALWAYS,
    request_id: str = "",
) -> Deployment:
    """Raises: BadName; DeploymentExists; TargetsRequired; BadWeights; BadScale; BadSchedule; RegionRefused."""
    if earlier := await resources.by_request(session, Deployment, project, request_id):
        return earlier
    if not wanted:
        raise TargetsRequired(field="targets")
    check_weights(wanted)
    check_scale(scale)
    check_schedule(schedule)
    await check_regions(session, project, wanted)
    name = f"projects/{project}/deployments/{slug(deployment_id)}"
    existing: Deployment | None = await session.get(Deployment, name, with_for_update=True)
    if existing is not None and existing.state != DeploymentState.DELETED:
        raise DeploymentExists(name=name)
    if existing is not None:
        await store.forget_rollouts(session, name)
        await traffic_store.forget(session, name)
        await session.delete(existing)
        await session.flush()
    deployment = Deployment(
        name=name,
        project=project,
        display_name=display_name or deployment_id,
        alias=alias,
        queue=queue,
        min_replicas=scale.least,
        max_replicas=scale.most,
        idle_seconds=scale.idle_seconds,
        schedule=schedule.to_json(),
        request_id=request_id or None,
    )
    session.add(deployment)
    await rollouts.begin(session, deployment, wanted)
    return deployment


async def update(session: Session, given: deployment_pb2.Deployment, fields: Sequence[str]) -> Deployment:
    """Raises: NotFound; FieldImmutable; EtagMismatch; BadFallbacks."""
    if wrong := set(fields) - {"display_name", "alias", "fallbacks", "fallback_after"}:
        raise FieldImmutable(fields=", ".join(sorted(wrong)))
    deployment = await existing(session, given.name)
    resources.check_etag(deployment, given.etag)
    follows_another = "alias" in fields and given.alias != deployment.alias
    if "display_name" in fields:
        deployment.display_name = given.display_name
    if "alias" in fields:
        deployment.alias = given.alias
    if "fallbacks" in fields:
        await _check_fallbacks(session, deployment, given.fallbacks)
        deployment.fallbacks = list(given.fallbacks)
    if "fallback_after" in fields:
        seconds = given.fallback_after.ToTimedelta().total_seconds()
        if not 0 <= seconds <= LONGEST_PATIENCE:
            raise BadFallbacks(field="fallback_after", given=f"{seconds:g} s")
        deployment.fallback_seconds = seconds
    await session.flush()
    if follows_another:
        await splits.say_split(session, deployment, await store.targets_of(session, deployment.name))
    return deployment


async def _check_fallbacks(session: Session, deployment: Deployment, names: Sequence[str]) -> None:
    """Raises: BadFallbacks. A fallback's own fallbacks are not asked, so that no circle can be made of them."""
    others = {f"projects/{deployment.project}/deployments/{name}": name for name in names} if names else {}
    if len(others) < len(names) or len(names) > MOST_FALLBACKS or deployment.name in others:
        raise BadFallbacks(field="fallbacks", given=", ".join(names)[:200])
    there = await store.existing_deployments(session, list(others))
    if missing := [name for resource, name in others.items() if resource not in there]:
        raise BadFallbacks(field="fallbacks", unknown=", ".join(missing)[:200])


async def shift(
    session: Session,
    name: str,
    wanted: Sequence[Wanted],
    plan: Plan = AT_ONCE,
    *,
    etag: str = "",
    request_id: str = "",
) -> Deployment:
    """Asks for a split; it comes into force step by step when every target in it is READY.

    Raises: NotFound; BadWeights; BadSteps; BadGuard; EtagMismatch; ShiftInProgress; ExperimentRunning; RegionRefused.
    """
    check_weights(wanted)
    plan.check()
    deployment = await existing(session, name)
    if await resources.by_request(session, Rollout, deployment.project, request_id):
        return deployment
    resources.check_etag(deployment, etag)
    await check_regions(session, deployment.project, wanted)
    wanted = await keep_adapters(session, name, wanted)
    await rollouts.begin(session, deployment, wanted, plan, request_id=request_id)
    return deployment


async def keep_adapters(session: Session, deployment: str, wanted: Sequence[Wanted]) -> list[Wanted]:
    """A split that says nothing of adapters has those that its bases have now."""
    known = [each for each in await store.targets_of(session, deployment) if each.weight_percent]
    on_base = {each.model_version: adapters_of(each) for each in known if each.adapters}
    return [
        replace(each, adapters=on_base.get(each.model_version)) if each.adapters is None else each for each in wanted
    ]


async def refuse_alias(session: Session, name: str, variant: str, refusal: Precondition) -> None:
    """Its alias points to what may not be deployed: that is not followed, and a rollout that FAILED says why."""
    deployment = await existing(session, name)
    if deployment.alias_variant == variant and not deployment.rollout:
        await rollouts.refuse_alias(session, deployment, refusal)


async def scale(
    session: Session, name: str, wanted: Bounds, schedule: Schedule = ALWAYS, *, etag: str = ""
) -> Deployment:
    """Sets how many replicas each target may have; one that sleeps wakes if it may do so no more.

    Raises: NotFound; BadScale; BadSchedule; EtagMismatch.
    """
    check_scale(wanted)
    check_schedule(schedule)
    deployment = await existing(session, name)
    resources.check_etag(deployment, etag)
    deployment.min_replicas, deployment.max_replicas = wanted.least, wanted.most
    deployment.idle_seconds, deployment.due = wanted.idle_seconds, None
    deployment.schedule = schedule.to_json()
    for target in await store.targets_of(session, name, lock=True):
        limits = bounds(deployment, session.clock.now(), target.cold_start_seconds)
        if target.state == TargetState.ASLEEP and limits.least:
            await replicas.wake(session, target.id)
        if target.replicas:
            target.replicas = limits.clip(target.replicas)
    await session.flush()
    return deployment


async def roll_back(
    session: Session, name: str, *, message: str = "", etag: str = "", request_id: str = ""
) -> Deployment:
    """Raises: NotFound; EtagMismatch; MessageTooLong; NothingToRollBack."""
    deployment = await existing(session, name)
    if await resources.by_request(session, Rollout, deployment.project, request_id):
        return deployment
    resources.check_etag(deployment, etag)
    await experiments.stop_of(session, deployment, "The traffic was rolled back.")
    await rollouts.roll_back(session, deployment, message, request_id)
    return deployment


async def delete(session: Session, name: str, etag: str) -> Deployment:
    """Gone for callers at once; its targets drain and stop. Raises: NotFound; EtagMismatch."""
    deployment = await existing(session, name)
    resources.check_etag(deployment, etag)
    for target in await store.targets_of(session, name, lock=True):
        await drain(session, target)
    await experiments.stop_of(session, deployment, "The deployment was deleted.")
    deployment.rollout, deployment.due = "", None
    deleted = events_pb2.DeploymentDeleted(name=name)
    deleted.delete_time.FromDatetime(session.clock.now())
    await transition(session, deployment, DeploymentState.DELETED, deleted)
    return deployment


async def check_regions(session: Session, project: str, wanted: Sequence[Wanted]) -> None:
    """Raises: RegionRefused."""
    allowed = await store.regions_of(session, project)
    for each in wanted:
        regions.check(each.upstream_url, each.region, allowed)


async def existing(session: Session, name: str) -> Deployment:
    """Locked. Raises: NotFound, for a deleted one too."""
    deployment = await resources.get(session, Deployment, name, lock=True)
    if deployment.state == DeploymentState.DELETED:
        raise NotFound(f"There is no deployment {name}.", name=name)
    return deployment


async def apply(
    session: Session,
    deployment: Deployment,
    seen: Mapping[str, Sighting],
    news: Mapping[str, News] = rollouts.NO_NEWS,
    look: replicas.Look = replicas.NOT_LOOKED,
    *,
    in_force: bool = False,
) -> None:
    """1 what was seen of each target and its replicas, 2 the split that is on its way, 3 the state that follows."""
    targets = await store.targets_of(session, deployment.name, lock=True)
    rows = await store.replicas_of(session, [target.id for target in targets], lock=True)
    for target in targets:
        sighting = seen.get(target.id)
        if target.variant:
            limits = bounds(deployment, session.clock.now(), target.cold_start_seconds)
            of_replicas = await replicas.keep(session, target, rows[target.id], look, limits)
            sighting = sighting or of_replicas
        if sighting:
            await see(session, target, sighting)
    if deployment.state == DeploymentState.DELETED:
        return
    if deployment.rollout:
        await rollouts.advance(session, deployment, targets, news, in_force=in_force)
    serving = [target for target in targets if target.state not in NOT_SERVING and not target.shadow_percent]
    await _conclude(session, deployment, serving)


async def _conclude(session: Session, deployment: Deployment, targets: Sequence[Target]) -> None:
    """The deployment's state follows from its targets."""
    serving = [target for target in targets if target.weight_percent]
    ready = [target for target in serving if takes_requests(target)]
    coming = [target for target in targets if target.state in COMING]
    if ready:
        state = DeploymentState.READY if len(ready) == len(serving) else DeploymentState.DEGRADED
    else:
        state = DeploymentState.PENDING if coming else DeploymentState.FAILED
    failed = next((target for target in targets if target.failure_reason), None)
    deployment.failure_reason = failed.failure_reason if failed else ""
    deployment.failure_message = failed.failure_message if failed else ""
    if state != deployment.state:
        await transition(session, deployment, state, _state_event(session, deployment, state, ready))


def _state_event(
    session: Session, deployment: Deployment, state: DeploymentState, ready: Sequence[Target]
) -> events_pb2.DeploymentReady | events_pb2.DeploymentFailed | None:
    if state == DeploymentState.READY:
        event = events_pb2.DeploymentReady(
            name=deployment.name, shares=splits.event_shares(ready), alias=deployment.alias
        )
        event.ready_time.FromDatetime(session.clock.now())
        return event
    if state == DeploymentState.FAILED:
        failed = events_pb2.DeploymentFailed(name=deployment.name, failure_reason=deployment.failure_reason)
        failed.fail_time.FromDatetime(session.clock.now())
        return failed
    return None
