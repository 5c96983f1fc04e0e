"""Use cases of a person who steers a run: pause, resume, stop and keep. `service.cancel` throws it away."""

from __future__ import annotations

from gyre.training_scheduler.v1 import events_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Precondition
from gyre_kit.states import transition

from services.training_scheduler import store
from services.training_scheduler.models import RUN_GOES_ON, RUN_HELD, Run, RunState
from services.training_scheduler.service import AlreadyEnded


class CannotPause(Precondition):
    """It is being stopped or cancelled; wait for its end."""


class CannotResume(Precondition):
    """It is being stopped or cancelled, and does not go on; fork it from a checkpoint to train further."""


class CannotStop(Precondition):
    """It is being cancelled, which keeps nothing; wait for its end, then fork it from a checkpoint."""


class NothingLearnt(Precondition):
    """It has no checkpoint to make a result of; cancel it, or let it run to its first checkpoint."""


async def pause(session: Session, name: str, *, etag: str = "") -> Run:
    """Asks for its cards back; pausing again changes nothing. Raises: NotFound; EtagMismatch; AlreadyEnded; CannotPause."""
    run = await _open(session, name, etag)
    if run.state in RUN_HELD:
        return run
    if run.state not in RUN_GOES_ON:
        raise CannotPause(name=name, state=run.state)
    run.due = None
    await transition(session, run, RunState.PAUSING)
    return run


async def resume(session: Session, name: str, *, etag: str = "") -> Run:
    """Has it wait for its cards again. Raises: NotFound; EtagMismatch; AlreadyEnded; CannotResume."""
    run = await _open(session, name, etag)
    if run.state in RUN_GOES_ON:
        return run
    if run.state not in RUN_HELD:
        raise CannotResume(name=name, state=run.state)
    run.due, run.pace_time = None, None
    resumed = events_pb2.RunResumed(name=run.name, step=run.step)
    resumed.resume_time.FromDatetime(session.clock.now())
    await transition(session, run, RunState.QUEUED, resumed)
    return run


async def stop(session: Session, name: str, *, etag: str = "") -> Run:
    """Has its trainer make the result of what is done. A trainer that runs can always do so; another needs a checkpoint.

    Raises: NotFound; EtagMismatch; AlreadyEnded; CannotStop; NothingLearnt.
    """
    run = await _open(session, name, etag)
    if run.state == RunState.STOPPING:
        return run
    if run.state == RunState.CANCELLING:
        raise CannotStop(name=name)
    if run.state != RunState.RUNNING and await store.latest_checkpoint(session, name) is None:
        raise NothingLearnt(name=name)
    run.due, run.pace_time = None, None
    await transition(session, run, RunState.STOPPING)
    return run


async def _open(session: Session, name: str, etag: str) -> Run:
    run = await resources.get(session, Run, name, lock=True)
    resources.check_etag(run, etag)
    if run.ended:
        raise AlreadyEnded(name=name, state=run.state)
    return run
