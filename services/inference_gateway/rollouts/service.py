"""Use cases: how a deployment's split changes, in steps, and back.

A rollout goes from one split to another. Nothing of it is in force before all of its targets answer; then it goes step
by step; a target that breaks on the way calls it off. What it leaves out stands by, so that the way back is short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType

from gyre.inference_gateway.v1 import events_pb2, rollout_pb2
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, Precondition
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.inference_gateway import store
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.models.rollouts import Rollout, RolloutState
from services.inference_gateway.rollouts import guard, splits, watching
from services.inference_gateway.rollouts.guard import Evidence
from services.inference_gateway.rollouts.plan import AT_ONCE, Plan
from services.inference_gateway.rollouts.watching import News
from services.inference_gateway.targets import (
    LEAVING,
    Wanted,
    bounds,
    come_back,
    drain,
    identity,
    new_target,
    price_anew,
    share,
    stand_by,
    takes_requests,
    wanted_again,
)

LONGEST_MESSAGE = 500  # characters
NO_NEWS: Mapping[str, News] = MappingProxyType({})


class ShiftInProgress(Precondition):
    """Another split is coming into force; wait until it is, or take it back (`gyre deployments rollback`)."""


class ExperimentRunning(Precondition):
    """An experiment needs this deployment's split as it is; stop it first (`gyre experiments stop`)."""


class MessageTooLong(Invalid):
    """The message of a roll-back has at most 500 characters."""


class NothingToRollBack(Precondition):
    """No rollout of this deployment can be taken back: it has served nothing else."""


async def begin(
    session: Session,
    deployment: Deployment,
    wanted: Sequence[Wanted],
    plan: Plan = AT_ONCE,
    *,
    reverts: str = "",
    request_id: str = "",
) -> Rollout:
    """Asks for a split. What it needs comes up, or comes back from standby; what failed before is let go.

    Raises: ShiftInProgress; ExperimentRunning.
    """
    check_none_runs(deployment)
    known = await store.targets_of(session, deployment.name, lock=True)
    if deployment.rollout:
        await end_of_way(session, deployment, known)
    before = [share(target, target.weight_percent) for target in known if target.weight_percent]
    usable = {identity(target): target for target in known if target.state not in LEAVING}
    after = []
    most = max((target.replicas for target in known if target.weight_percent), default=1)
    as_many = bounds(deployment, session.clock.now()).clip(most)
    for each in wanted:
        target = usable.pop(each.identity, None) or new_target(deployment, each, as_many)
        if target.standby_time:
            await come_back(session, target)
        price_anew(target, each)
        target.shadow_percent = 0  # what was a shadow until now answers
        session.add(target)
        after.append(share(target, each.weight_percent))
    for target in usable.values():
        if target.state == TargetState.FAILED and not target.weight_percent:
            await drain(session, target)
    number = await store.next_rollout_number(session, deployment.name)
    rollout = Rollout(
        name=f"{deployment.name}/rollouts/{number}",
        project=deployment.project,
        deployment=deployment.name,
        number=number,
        before=before,
        after=after,
        steps=list(plan.steps) if before else [100],
        step_seconds=plan.step_time.total_seconds(),
        guard=plan.guard,
        reverts=reverts,
        request_id=request_id or None,
    )
    session.add(rollout)
    deployment.rollout, deployment.due = rollout.name, None
    await session.flush()
    return rollout


async def refuse_alias(session: Session, deployment: Deployment, refusal: Precondition) -> None:
    """What the alias points to is refused until the alias moves; the traffic stays where it is."""
    deployment.alias_refused = deployment.alias_variant
    known = await store.targets_of(session, deployment.name, lock=True)
    number = await store.next_rollout_number(session, deployment.name)
    rollout = Rollout(
        name=f"{deployment.name}/rollouts/{number}",
        project=deployment.project,
        deployment=deployment.name,
        number=number,
        before=[share(target, target.weight_percent) for target in known if target.weight_percent],
        after=[],
        steps=[100],
        guard=AT_ONCE.guard,
    )
    session.add(rollout)
    await session.flush()
    await _finish(session, deployment, rollout, RolloutState.FAILED, refusal.reason, refusal.message)


async def advance(
    session: Session,
    deployment: Deployment,
    targets: Sequence[Target],
    news: Mapping[str, News] = NO_NEWS,
    *,
    in_force: bool = False,
) -> None:
    """1 does anything break, 2 is it worse, 3 can all answer, 4 is it done, 5 is the next step due, 6 put it in force.

    `in_force`: the data plane goes by the split of now; only then is a rollout over.
    """
    rollout = await store.rollout(session, deployment.rollout)
    new = splits.those_of(targets, rollout.after)
    broken = next((target for target in new if target.state == TargetState.FAILED), None)
    if broken is not None:
        message = f"{broken.failure_reason}: {broken.failure_message}"
        await _back_to_before(session, deployment, rollout, targets)
        await _finish(session, deployment, rollout, RolloutState.FAILED, "TARGET_FAILED", message)
        return
    if rollout.step_times and (worse := _worse(rollout, news)):
        _refuse_alias(deployment, rollout)
        await _back_to_before(session, deployment, rollout, targets)
        reason = f"WORSE_{worse.measure.upper()}"
        await _finish(session, deployment, rollout, RolloutState.ROLLED_BACK, reason, guard.sentence(worse))
        return
    if not all(takes_requests(target) for target in new):
        return
    if len(rollout.step_times) == len(rollout.steps):
        if in_force:
            await _succeed(session, deployment, rollout, targets)
        return
    if not _is_due(rollout, session.clock.now()):
        return
    percent = rollout.steps[len(rollout.step_times)]
    rollout.step_times = [*rollout.step_times, session.clock.now().isoformat()]
    await splits.put_in_force(
        session,
        deployment,
        targets,
        splits.between(splits.weights_of(rollout.before), splits.weights_of(rollout.after), percent),
    )


async def roll_back(session: Session, deployment: Deployment, message: str, request_id: str) -> Rollout:
    """Takes back the rollout on the way, or else the newest that succeeded and went forward.

    Raises: MessageTooLong; NothingToRollBack.
    """
    if len(message) > LONGEST_MESSAGE:
        raise MessageTooLong(field="message", length=str(len(message)))
    targets = await store.targets_of(session, deployment.name, lock=True)
    if deployment.rollout:
        rollout = await store.rollout(session, deployment.rollout)
        if not rollout.before:
            raise NothingToRollBack(name=deployment.name)
        _refuse_alias(deployment, rollout)
        await _back_to_before(session, deployment, rollout, targets)
        await _finish(session, deployment, rollout, RolloutState.ROLLED_BACK, "ROLLED_BACK", message)
        return rollout
    last = await store.last_forward_rollout(session, deployment.name)
    if last is None or not last.before:
        raise NothingToRollBack(name=deployment.name)
    _refuse_alias(deployment, last)
    wanted = await _as_before(session, last)
    back = await begin(session, deployment, wanted, reverts=last.name, request_id=request_id)
    back.failure_message = message
    targets = await store.targets_of(session, deployment.name, lock=True)
    await advance(session, deployment, targets)
    if (
        back.step_times
    ):  # over at once, so that a second roll-back goes one further; who asked hears when it is in force
        await advance(session, deployment, targets, in_force=True)
    return back


def check_none_runs(deployment: Deployment) -> None:
    """Raises: ExperimentRunning."""
    if deployment.experiment:
        raise ExperimentRunning(name=deployment.name, experiment=deployment.experiment)


def _worse(rollout: Rollout, news: Mapping[str, News]) -> Evidence | None:
    """The measure by which the new version is worse than it may be, if there is one; notes what was seen."""
    evidences = watching.weigh(rollout, news)
    rollout.evidence = [guard.to_json(each) for each in evidences]
    return guard.alarm(evidences, rollout.guard["false_alarm"])


def _is_due(rollout: Rollout, now: datetime) -> bool:
    if not rollout.step_times:
        return True
    since = datetime.fromisoformat(rollout.step_times[-1])
    return now - since >= timedelta(seconds=rollout.step_seconds)


async def end_of_way(session: Session, deployment: Deployment, targets: Sequence[Target]) -> None:
    """Another rollout may follow one whose last step is made, whether all workers heard of it or not.

    Raises: ShiftInProgress.
    """
    rollout = await store.rollout(session, deployment.rollout)
    if len(rollout.step_times) < len(rollout.steps):
        raise ShiftInProgress(name=deployment.name, rollout=deployment.rollout)
    await _succeed(session, deployment, rollout, targets)


async def _succeed(session: Session, deployment: Deployment, rollout: Rollout, targets: Sequence[Target]) -> None:
    await _leave_behind(session, rollout, targets)
    await _finish(session, deployment, rollout, RolloutState.SUCCEEDED)


async def _leave_behind(session: Session, rollout: Rollout, targets: Sequence[Target]) -> None:
    """What was replaced stands by; what was rolled back is not wanted any more, and goes with its sessions."""
    kept = {each["target"] for each in rollout.after}
    for target in splits.those_of(targets, rollout.before):
        if target.id not in kept:
            await (drain if rollout.reverts else stand_by)(session, target)


async def _back_to_before(
    session: Session, deployment: Deployment, rollout: Rollout, targets: Sequence[Target]
) -> None:
    """The split before, at once; a target that failed stays to be seen, other new ones drain."""
    if rollout.step_times:
        await splits.put_in_force(session, deployment, targets, splits.weights_of(rollout.before))
    kept = {each["target"] for each in rollout.before}
    for target in splits.those_of(targets, rollout.after):
        if target.id not in kept and target.state != TargetState.FAILED:
            await drain(session, target)


async def _finish(
    session: Session,
    deployment: Deployment,
    rollout: Rollout,
    state: RolloutState,
    reason: str = "",
    message: str = "",
) -> None:
    deployment.rollout = ""
    rollout.end_time = session.clock.now()
    rollout.failure_reason = reason
    rollout.failure_message = message or rollout.failure_message
    await transition(session, rollout, state, _finished(rollout, state))
    if state == RolloutState.SUCCEEDED and rollout.reverts:
        reverted = await store.rollout(session, rollout.reverts)
        reverted.failure_reason, reverted.failure_message = "ROLLED_BACK", rollout.failure_message
        await transition(session, reverted, RolloutState.ROLLED_BACK, _finished(reverted, RolloutState.ROLLED_BACK))


def _finished(rollout: Rollout, state: RolloutState) -> events_pb2.RolloutFinished:
    event = events_pb2.RolloutFinished(
        name=rollout.name,
        deployment=rollout.deployment,
        state=enum_number(rollout_pb2.Rollout.State.DESCRIPTOR, state),
        failure_reason=rollout.failure_reason,
        reverts=rollout.reverts,
    )
    if rollout.end_time:
        event.end_time.FromDatetime(rollout.end_time)
    return event


def _refuse_alias(deployment: Deployment, rollout: Rollout) -> None:
    """An alias that still points to what is taken back is followed again when it moves, not before."""
    if any(each["variant"] == deployment.alias_variant for each in rollout.after):
        deployment.alias_refused = deployment.alias_variant


async def _as_before(session: Session, rollout: Rollout) -> list[Wanted]:
    rows = await store.targets_by_id(session, [each["target"] for each in rollout.before])
    return [wanted_again(rows[each["target"]], each["weight_percent"]) for each in rollout.before]
