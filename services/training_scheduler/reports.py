"""Use cases of a trainer that reports on its attempt. The attempt number is the fence: a lower one is turned away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from gyre.training_scheduler.v1 import events_pb2, run_pb2
from gyre_kit import resources
from gyre_kit.auth import Identity, Role
from gyre_kit.db import Session
from gyre_kit.errors import Conflict, Invalid, Precondition
from gyre_kit.outbox import emit
from gyre_kit.states import transition

from services.training_scheduler import store
from services.training_scheduler.models import RUN_GOES_ON, Alarm, Checkpoint, Run, RunState, Sample
from services.training_scheduler.service import WrongRun, output_prefix

LONGEST_DETAIL, LONGEST_TEXT = 500, 4000  # characters
Point = tuple[int, datetime, dict[str, float]]


class StaleAttempt(Conflict):
    """A newer attempt owns this run; this one must end at once."""


class ManifestOutsidePrefix(Invalid):
    """An attempt writes below its own folder of the run alone."""


class ManifestMissing(Precondition):
    """The manifest is not in the object store; it is written last, and before this call."""


class DigestMismatch(Precondition):
    """What the object store holds is not what was reported."""


async def heartbeat(
    session: Session, name: str, attempt: int, *, step: int, total_steps: int, resumed_from_step: int, by: Identity
) -> Run:
    """Takes a sign of life. While total_steps is 0 the trainer is loading; the first with more starts the attempt,
    for only then it is known from which checkpoint it goes on. Raises: NotFound; WrongRun; StaleAttempt.
    """
    run = await _fenced(session, name, attempt, by)
    if run.ended:
        return run
    has_begun = total_steps > 0 or step > 0
    if has_begun and attempt > run.started_attempt:
        await _start(session, run, resumed_from_step)
    if has_begun:
        _keep_pace(run, step, total_steps, session.clock.now())
    run.heartbeat_time = session.clock.now()
    return run


def must_stop(run: Run) -> bool:
    return run.ended or run.state == RunState.CANCELLING


async def report_metrics(session: Session, name: str, attempt: int, points: Sequence[Point], *, by: Identity) -> None:
    """Raises: NotFound; WrongRun; StaleAttempt."""
    run = await _fenced(session, name, attempt, by)
    await store.save_points(session, run, points)
    for _, _, metrics in sorted(points, key=lambda point: point[0]):
        run.metrics = {**run.metrics, **metrics}
    run.loss = run.metrics.get("loss", run.loss)


async def report_checkpoint(
    session: Session,
    name: str,
    attempt: int,
    *,
    step: int,
    uri: str,
    digest: str,
    size_bytes: int,
    by: Identity,
    kept_steps: Sequence[int] = (),
) -> Checkpoint:
    """Raises: NotFound; WrongRun; StaleAttempt; ManifestOutsidePrefix."""
    run = await _fenced(session, name, attempt, by)
    check_prefix(run, attempt, uri)
    if kept_steps:
        await store.forget_checkpoints(session, run, attempt, but=kept_steps)
    known = await store.checkpoint(session, f"{name}/checkpoints/{step}")
    if known is not None and known.attempt == attempt:
        return known
    checkpoint = known or Checkpoint(
        name=f"{name}/checkpoints/{step}",
        run=name,
        project=run.project,
        step=step,
        attempt=attempt,
        uri=uri,
        digest=digest,
        create_time=session.clock.now(),
    )
    checkpoint.attempt, checkpoint.uri, checkpoint.digest = attempt, uri, digest
    checkpoint.size_bytes, checkpoint.create_time = size_bytes, session.clock.now()
    session.add(checkpoint)
    await session.flush()
    event = events_pb2.RunCheckpointed(name=name, attempt=attempt, step=step, uri=uri, digest=digest)
    event.checkpoint_time.FromDatetime(session.clock.now())
    await emit(session, name, event)
    return checkpoint


async def report_sample(
    session: Session, name: str, attempt: int, *, step: int, number: int, texts: Mapping[str, str], by: Identity
) -> None:
    """`texts`: prompt, expected and answer. Raises: NotFound; WrongRun; StaleAttempt."""
    run = await _fenced(session, name, attempt, by)
    cut = {field: storable(text)[:LONGEST_TEXT] for field, text in texts.items()}
    sample = Sample(
        name=f"{name}/samples/{number}-{step}", run=name, project=run.project, step=step, number=number, **cut
    )
    await session.merge(sample)


def storable(text: str) -> str:
    """PostgreSQL takes no NUL."""
    return text.replace("\0", "\ufffd")


async def report_alarm(
    session: Session,
    name: str,
    attempt: int,
    *,
    step: int,
    kind: str,
    action: str,
    values: dict[str, float],
    detail: str,
    by: Identity,
) -> tuple[Alarm, bool]:
    """The alarm, and whether it is new. A detail may quote a library: it is cut, and goes into no event.

    Raises: NotFound; WrongRun; StaleAttempt.
    """
    run = await _fenced(session, name, attempt, by)
    of_alarm = f"{name}/alarms/{attempt}-{step}-{kind.lower().replace('_', '-')}"
    if (known := await store.alarm(session, of_alarm)) is not None:
        return known, False
    now = session.clock.now()
    alarm = Alarm(
        name=of_alarm,
        run=name,
        project=run.project,
        kind=kind,
        action=action,
        step=step,
        attempt=attempt,
        values=values,
        detail=detail[:LONGEST_DETAIL],
        create_time=now,
    )
    session.add(alarm)
    run.stopped_by = kind if action == "STOP" else run.stopped_by
    await session.flush()
    event = events_pb2.RunAlarmed(
        name=name,
        attempt=attempt,
        step=step,
        kind=run_pb2.Alarm.Kind.Value(f"KIND_{kind}"),
        action=run_pb2.Alarm.Action.Value(f"ACTION_{action}"),
    )
    event.alarm_time.FromDatetime(now)
    await emit(session, name, event)
    return alarm, True


async def complete(
    session: Session, name: str, attempt: int, *, digest: str, steps: int, metrics: dict[str, float], by: Identity
) -> Run:
    """Notes what the attempt says it made; the run succeeds once its workload has finished too.

    Raises: NotFound; WrongRun; StaleAttempt.
    """
    run = await _fenced(session, name, attempt, by)
    if not run.ended:
        run.completed_attempt, run.completed_digest = attempt, digest
        run.step = steps  # the total stays what was planned, until the result is verified
        run.metrics = {**run.metrics, **metrics}
        run.due = None
    return run


def check_token(name: str, attempt: int, by: Identity) -> None:
    """Raises: WrongRun unless the token is a worker's, for this run and attempt."""
    if by.role is not Role.WORKER or by.subject != name or by.attempt != attempt:
        raise WrongRun(name=name, attempt=attempt)


def check_prefix(run: Run, attempt: int, uri: str) -> None:
    if not uri.startswith(f"gyre://{output_prefix(run)}/{attempt}/"):
        raise ManifestOutsidePrefix(uri=uri[:200], prefix=f"gyre://{output_prefix(run)}/{attempt}/")


async def _fenced(session: Session, name: str, attempt: int, by: Identity) -> Run:
    """The run, locked, its fence raised to `attempt`."""
    check_token(name, attempt, by)
    run = await resources.get(session, Run, name, lock=True)
    if attempt < run.attempt:
        raise StaleAttempt(name=name, attempt=attempt, newest=run.attempt)
    run.attempt = attempt
    return run


async def _start(session: Session, run: Run, resumed_from_step: int) -> None:
    run.started_attempt, run.resumed_from_step = run.attempt, resumed_from_step
    run.pace_time, run.waiting_reason = None, ""
    run.start_time = run.start_time or session.clock.now()
    if run.state not in RUN_GOES_ON:
        return
    event = events_pb2.RunStarted(
        name=run.name, attempt=run.attempt, resumed_from_step=resumed_from_step, workload=run.workload
    )
    event.start_time.FromDatetime(session.clock.now())
    await transition(session, run, RunState.RUNNING, event)


def _keep_pace(run: Run, step: int, total_steps: int, now: datetime) -> None:
    """The speed is measured from the attempt's first step on, so that loading does not count."""
    run.step, run.total_steps = max(step, run.resumed_from_step), total_steps or run.total_steps
    if run.pace_time is None and step > run.resumed_from_step:
        run.pace_step, run.pace_time = step, now
