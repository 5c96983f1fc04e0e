"""Use cases: deployments, their split, and what becomes of their targets. Completions are in completions.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gyre.inference_gateway.v1 import deployment_pb2, events_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, NotFound, Precondition
from gyre_kit.names import last, new_id, project_of, slug
from gyre_kit.outbox import emit
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.inference_gateway import store
from services.inference_gateway.models import Deployment, DeploymentState, Target, TargetState


class DeploymentExists(AlreadyExists):
    """There is a deployment of that name already; shift its traffic, or choose another name."""


class TargetsRequired(Invalid):
    """A deployment needs at least one target, or an alias to follow."""


class BadWeights(Invalid):
    """The weights of a deployment's targets are 0 to 100 and sum to 100, and no target is named twice."""


class FieldImmutable(Invalid):
    """Of a deployment only display_name and alias can be changed here; its split is changed by ShiftTraffic."""


class ShiftInProgress(Precondition):
    """Another split is coming into force; wait until it is, or its new target has failed."""


@dataclass(frozen=True)
class Wanted:
    """A target that is asked for, looked up: a variant to launch, or an upstream that runs."""

    weight_percent: int
    engine: str
    variant: str = ""
    model_version: str = ""
    variant_uri: str = ""
    variant_digest: str = ""
    upstream_url: str = ""
    upstream_model: str = ""
    upstream_key_ref: str = ""
    input_price_microusd: int = 0
    output_price_microusd: int = 0
    places: int = 0

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.variant, self.upstream_url, self.upstream_model


@dataclass(frozen=True)
class Sighting:
    """How a target was found just now; what is empty stays as it was."""

    state: TargetState
    address: str = ""
    workload: str = ""
    failure_reason: str = ""
    failure_message: str = ""


async def create(
    session: Session,
    project: str,
    deployment_id: str,
    wanted: Sequence[Wanted],
    *,
    display_name: str = "",
    alias: str = "",
    queue: str = "",
    request_id: str = "",
) -> Deployment:
    """Raises: BadName; DeploymentExists; TargetsRequired; BadWeights."""
    if earlier := await resources.by_request(session, Deployment, project, request_id):
        return earlier
    if not wanted:
        raise TargetsRequired(field="targets")
    _check(wanted)
    name = f"projects/{project}/deployments/{slug(deployment_id)}"
    existing: Deployment | None = await session.get(Deployment, name, with_for_update=True)
    if existing is not None and existing.state != DeploymentState.DELETED:
        raise DeploymentExists(name=name)
    if existing is not None:
        await session.delete(existing)
        await session.flush()
    deployment = Deployment(
        name=name,
        project=project,
        display_name=display_name or deployment_id,
        alias=alias,
        queue=queue,
        shifting=True,
        request_id=request_id or None,
    )
    session.add(deployment)
    for each in wanted:
        session.add(_target(deployment, each))
    await session.flush()
    return deployment


async def update(session: Session, given: deployment_pb2.Deployment, fields: Sequence[str]) -> Deployment:
    """Raises: NotFound; FieldImmutable; EtagMismatch."""
    if wrong := set(fields) - {"display_name", "alias"}:
        raise FieldImmutable(fields=", ".join(sorted(wrong)))
    deployment = await existing(session, given.name)
    resources.check_etag(deployment, given.etag)
    for name in fields:
        setattr(deployment, name, getattr(given, name))
    await session.flush()
    return deployment


async def shift(
    session: Session, name: str, wanted: Sequence[Wanted], *, etag: str = "", request_id: str = ""
) -> Deployment:
    """Asks for a split; it comes into force when every target in it is READY.

    Raises: NotFound; BadWeights; EtagMismatch; ShiftInProgress.
    """
    _check(wanted)
    deployment = await existing(session, name)
    resources.check_etag(deployment, etag)
    if request_id and deployment.shift_request == request_id:
        return deployment
    if deployment.shifting:
        raise ShiftInProgress(name=name)
    targets = [t for t in await store.targets_of(session, name, lock=True) if t.state != TargetState.DRAINING]
    known = {(t.variant, t.upstream_url, t.upstream_model): t for t in targets}
    for target in targets:
        target.wanted_percent = 0
    for each in wanted:
        target = known.get(each.identity) or _target(deployment, each)
        target.wanted_percent = each.weight_percent
        target.input_price_microusd = each.input_price_microusd
        target.output_price_microusd = each.output_price_microusd
        target.places = each.places
        session.add(target)
    deployment.shifting, deployment.shift_request, deployment.due = True, request_id, None
    await session.flush()
    return deployment


async def delete(session: Session, name: str, etag: str) -> Deployment:
    """Gone for callers at once; its targets drain and stop. Raises: NotFound; EtagMismatch."""
    deployment = await existing(session, name)
    resources.check_etag(deployment, etag)
    for target in await store.targets_of(session, name, lock=True):
        await _drain(session, target)
    deployment.shifting, deployment.due = False, None
    await transition(session, deployment, DeploymentState.DELETED)
    return deployment


async def existing(session: Session, name: str) -> Deployment:
    """Locked. Raises: NotFound, for a deleted one too."""
    deployment = await resources.get(session, Deployment, name, lock=True)
    if deployment.state == DeploymentState.DELETED:
        raise NotFound(f"There is no deployment {name}.", name=name)
    return deployment


async def apply(session: Session, deployment: Deployment, seen: dict[str, Sighting]) -> None:
    """1 what was seen of each target, 2 the split that was waited for, 3 the state that follows."""
    targets = await store.targets_of(session, deployment.name, lock=True)
    for target in targets:
        if target.id in seen:
            await _see(session, target, seen[target.id])
    if deployment.state == DeploymentState.DELETED:
        return
    if deployment.shifting:
        await _settle(session, deployment, targets)
    await _conclude(session, deployment, [target for target in targets if target.state != TargetState.DRAINING])


async def _see(session: Session, target: Target, seen: Sighting) -> None:
    target.address = seen.address or target.address
    target.workload = seen.workload or target.workload
    target.failure_reason, target.failure_message = seen.failure_reason, seen.failure_message
    if target.state == seen.state or (target.state == TargetState.DRAINING and seen.state != TargetState.STOPPED):
        return
    if seen.state == TargetState.READY:
        target.ready_time = session.clock.now()
    await transition(session, target, seen.state)


async def _settle(session: Session, deployment: Deployment, targets: Sequence[Target]) -> None:
    """The new split comes into force as a whole, when all of it can answer; a failed target calls it off."""
    wanted = [target for target in targets if target.wanted_percent]
    if any(target.state == TargetState.FAILED for target in wanted):
        deployment.shifting = False
        return
    if not all(target.state == TargetState.READY for target in wanted):
        return
    for target in targets:
        target.weight_percent = target.wanted_percent
        if not target.wanted_percent:
            await _drain(session, target)
    deployment.shifting = False
    await session.flush()
    shifted = events_pb2.TrafficShifted(name=deployment.name, shares=_shares(wanted))
    shifted.shift_time.FromDatetime(session.clock.now())
    await emit(session, deployment.name, shifted)


async def _conclude(session: Session, deployment: Deployment, targets: Sequence[Target]) -> None:
    """The deployment's state follows from its targets."""
    serving = [target for target in targets if target.weight_percent]
    ready = [target for target in serving if target.state == TargetState.READY]
    coming = [target for target in targets if target.state in (TargetState.PENDING, TargetState.STARTING)]
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
        event = events_pb2.DeploymentReady(name=deployment.name, shares=_shares(ready))
        event.ready_time.FromDatetime(session.clock.now())
        return event
    if state == DeploymentState.FAILED:
        failed = events_pb2.DeploymentFailed(name=deployment.name, failure_reason=deployment.failure_reason)
        failed.fail_time.FromDatetime(session.clock.now())
        return failed
    return None


def _shares(targets: Sequence[Target]) -> list[events_pb2.TrafficShare]:
    return [
        events_pb2.TrafficShare(
            target=target.id,
            engine=enum_number(deployment_pb2.Engine.DESCRIPTOR, target.engine),
            model_version=target.model_version,
            variant=target.variant,
            weight_percent=target.weight_percent,
        )
        for target in targets
    ]


async def _drain(session: Session, target: Target) -> None:
    target.weight_percent = target.wanted_percent = 0
    if target.state not in (TargetState.DRAINING, TargetState.STOPPED):
        target.drain_time = session.clock.now()
        await transition(session, target, TargetState.DRAINING)


def _target(deployment: Deployment, wanted: Wanted) -> Target:
    target_id = new_id()
    return Target(
        name=f"{deployment.name}/targets/{target_id}",
        project=deployment.project,
        id=target_id,
        deployment=deployment.name,
        engine=wanted.engine,
        model_version=wanted.model_version,
        variant=wanted.variant,
        variant_uri=wanted.variant_uri,
        variant_digest=wanted.variant_digest,
        wanted_percent=wanted.weight_percent,
        workload=f"projects/{project_of(deployment.name)}/workloads/{target_id}" if wanted.variant else "",
        upstream_url=wanted.upstream_url,
        upstream_model=wanted.upstream_model,
        upstream_key_ref=wanted.upstream_key_ref,
        input_price_microusd=wanted.input_price_microusd,
        output_price_microusd=wanted.output_price_microusd,
        places=wanted.places,
    )


def _check(wanted: Sequence[Wanted]) -> None:
    weights = [each.weight_percent for each in wanted]
    repeated = len({each.identity for each in wanted}) < len(wanted)
    if repeated or sum(weights) != 100 or min(weights) < 1:
        raise BadWeights(field="targets", weights="+".join(map(str, weights)))


def short_version(target: Target) -> str:
    """What a client writes after `@`: the number of the version."""
    return last(target.model_version) if target.model_version else ""
