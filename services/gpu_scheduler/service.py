"""Use cases: cancel and hold a workload, and what its life brings. How one is asked for is in `submission`, admission in
`admission`, queues in `queues`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Precondition
from gyre_kit.states import transition

from services.gpu_scheduler import facts, outcome, store, store_bounds, store_nodes
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.launchers.base import Ended, Handle
from services.gpu_scheduler.models import ENDED, HOLDING, Attempt, StopReason, Workload, WorkloadState
from services.gpu_scheduler.outcome import Next, Outcome
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.usage import usage_of

LONGEST_STEP = 15.0  # seconds; looks are 1 s apart
VANISHED = -9  # who goes without a word was killed hard
NOT_LAUNCHED = 71  # EX_OSERR
NODE_LOST = "NODE_LOST"


class AlreadyEnded(Precondition):
    """It has ended: there is nothing to hold or to release."""


async def cancel(session: Session, name: str, *, etag: str = "") -> Workload:
    """CANCELLED at once while it waits, else STOPPING until its stop is confirmed. What has ended stays as it is.

    Raises: NotFound; EtagMismatch.
    """
    workload = await resources.get(session, Workload, name, lock=True)
    resources.check_etag(workload, etag)
    if workload.state in ENDED:
        return workload
    if workload.state == WorkloadState.QUEUED:
        await _cancelled(session, workload)
    elif workload.state == WorkloadState.STOPPING:
        workload.stop_reason = StopReason.CANCEL
    else:
        await ask_to_stop(session, workload, StopReason.CANCEL)
    return workload


async def hold(session: Session, name: str, *, etag: str = "") -> Workload:
    """It is not considered until it is released; one that holds resources is asked to stop first.

    Raises: NotFound; EtagMismatch; AlreadyEnded.
    """
    workload = await _open(session, name, etag)
    workload.held, workload.promised = True, {}
    if workload.state in HOLDING - {WorkloadState.STOPPING}:
        await ask_to_stop(session, workload, StopReason.HOLD)
    return workload


async def release(session: Session, name: str, *, etag: str = "") -> Workload:
    """It waits like others again. Raises: NotFound; EtagMismatch; AlreadyEnded."""
    workload = await _open(session, name, etag)
    workload.held = False
    return workload


async def end_overdue(session: Session) -> list[str]:
    """Asks those to stop that ran for as long as they may; returns their names.

    For how long is told by steady time, which a clock that is set forward moves by one step (as in `silence`): it ends
    no run early. What passes while no scheduler works counts as one step too, in favour of the run.
    """
    overdue = await store_bounds.overdue(session, await store_bounds.add_steady_time(session, LONGEST_STEP))
    for workload in overdue:
        await ask_to_stop(session, workload, StopReason.MAX_RUN)
    return [workload.name for workload in overdue]


async def _open(session: Session, name: str, etag: str) -> Workload:
    workload = await resources.get(session, Workload, name, lock=True)
    resources.check_etag(workload, etag)
    if workload.state in ENDED:
        raise AlreadyEnded(name=name, state=workload.state)
    return workload


async def ask_to_stop(session: Session, workload: Workload, reason: StopReason) -> None:
    """Its resources stay held until the stop is confirmed. Whoever has the lease loses it: what it does is void."""
    workload.stop_reason, workload.preempted_for, workload.preemption_rule = reason, "", ""
    workload.lease_token, workload.lease_until, workload.due = None, None, None
    workload.address = ""
    await transition(session, workload, WorkloadState.STOPPING)


async def launched(session: Session, workload: Workload, attempt: Attempt, handle: Handle) -> None:
    attempt.handle = dict(handle)
    attempt.launch_time = session.clock.now()
    await transition(session, workload, WorkloadState.STARTING)


async def running(session: Session, workload: Workload, address: str) -> None:
    """It works; a replica answers at `address`."""
    workload.address, workload.start_time = address, session.clock.now()
    await transition(session, workload, WorkloadState.RUNNING, facts.started(workload, session.clock.now()))


def sampled(session: Session, attempt: Attempt, cpu_seconds: float, resident_bytes: int) -> None:
    attempt.sample_time = session.clock.now()
    attempt.cpu_seconds = max(attempt.cpu_seconds, cpu_seconds)
    attempt.peak_memory_bytes = max(attempt.peak_memory_bytes, resident_bytes)


async def attempt_ended(
    session: Session, workload: Workload, attempt: Attempt, ended: Ended, settings: Settings
) -> None:
    """No process of `attempt` is left. Frees what it held, and says what comes of the workload."""
    if workload.state == WorkloadState.STARTING and ended.code is not None and workload.kind != "REPLICA":
        await running(session, workload, "")  # it was quicker than our look at it
    attempt.end_time = session.clock.now()
    attempt.exit_code = workload.exit_code = _exit_code(ended)
    held_for = (attempt.end_time - attempt.admit_time).total_seconds()
    workload.ran_seconds += max(0.0, held_for)  # less than nothing, where the clock was put back
    attempt.end_reason = NODE_LOST if ended.lost_node else ""
    sampled(session, attempt, ended.cpu_seconds, ended.peak_memory_bytes)
    workload.address = ""
    await store_nodes.release_cards(session, workload.name)
    is_done = ended.code == 0 and workload.kind != "REPLICA"
    if workload.state != WorkloadState.STOPPING or (is_done and workload.stop_reason != StopReason.CANCEL):
        await _after_attempt(session, workload, attempt, ended, settings)
    elif workload.stop_reason == StopReason.CANCEL:
        await _cancelled(session, workload)
    elif workload.stop_reason == StopReason.MAX_RUN:
        longest = f"It ran for as long as it may, {workload.max_run_seconds:g} s."
        await _failed(session, workload, "MAX_RUN_EXCEEDED", longest)
    else:
        attempt.preempted = workload.stop_reason != StopReason.HOLD
        if attempt.preempted and workload.stop_reason != StopReason.PREEMPTION:  # its node or card wanted it away
            workload.preempted_for, workload.preemption_rule = "", workload.stop_reason
        if attempt.preempted:
            attempt.end_reason, attempt.preempted_for = workload.preemption_rule, workload.preempted_for
        await _preempted(session, workload)


async def node_gone(session: Session, workload: Workload, attempt: Attempt) -> None:
    """Its node is gone for good, so the attempt ends with no fault counted, and what it held is free.

    Whatever of it still runs there is ended before that node takes work again: the attempt stays unconfirmed until then.
    """
    attempt.end_time, attempt.end_reason, attempt.unconfirmed = session.clock.now(), StopReason.NODE_LOST, True
    workload.lease_token, workload.lease_until, workload.due = None, None, None
    workload.address = ""
    await store_nodes.release_cards(session, workload.name)
    if workload.stop_reason == StopReason.CANCEL:
        await _cancelled(session, workload)
    else:
        workload.stop_reason = StopReason.NODE_LOST
        await _preempted(session, workload)


def forgive(workload: Workload) -> None:
    """It waits after a fault that was its card's and not its own: the fault does not count, and it need not back off."""
    workload.faults -= 1
    workload.not_before = None


def _exit_code(ended: Ended) -> int:
    if ended.error:
        return NOT_LAUNCHED
    return VANISHED if ended.code is None else ended.code


async def _after_attempt(
    session: Session, workload: Workload, attempt: Attempt, ended: Ended, settings: Settings
) -> None:
    now = session.clock.now()
    verdict = _verdict(workload, attempt, ended, settings, now)
    workload.faults = verdict.faults
    if verdict.next is Next.FINISH:
        workload.result_json, workload.end_time, workload.failure_message = ended.result, now, ""
        usage = await _usage(session, workload)
        await transition(session, workload, WorkloadState.FINISHED, facts.finished(workload, usage, now))
    elif verdict.next is Next.FAIL:
        await _failed(session, workload, verdict.reason, _sentence(workload, attempt, ended))
    else:
        workload.waiting_reason = attempt.end_reason or Reason.BACKING_OFF
        workload.not_before = now + timedelta(seconds=verdict.wait_seconds)
        workload.failure_message = _sentence(workload, attempt, ended)
        await transition(session, workload, WorkloadState.QUEUED)


def _verdict(workload: Workload, attempt: Attempt, ended: Ended, settings: Settings, now: datetime) -> Outcome:
    """A job that ended well but left what nobody can read has failed; it would leave the same again."""
    if ended.bad_result:
        return Outcome(Next.FAIL, "BAD_RESULT", workload.faults)
    if ended.lost_node:
        return Outcome(Next.RETRY, NODE_LOST, workload.faults)  # no fault of the work: at once, elsewhere
    default_attempts = 0 if workload.kind == "REPLICA" else settings.default_max_attempts
    return outcome.judge(
        workload.kind,
        _exit_code(ended),
        asked_to_stop=ended.asked_to_stop,
        faults=workload.faults,
        max_attempts=workload.max_attempts or default_attempts,
        lived_seconds=(now - (attempt.launch_time or now)).total_seconds(),
        backoff=outcome.Backoff(settings.backoff_seconds, settings.backoff_max_seconds),
    )


async def _failed(session: Session, workload: Workload, reason: str, message: str) -> None:
    now = session.clock.now()
    workload.failure_reason, workload.failure_message, workload.end_time = reason, message, now
    usage = await _usage(session, workload)
    await transition(session, workload, WorkloadState.FAILED, facts.failed(workload, usage, now))


async def _cancelled(session: Session, workload: Workload) -> None:
    now = session.clock.now()
    workload.waiting_reason, workload.end_time = "", now
    usage = await _usage(session, workload)
    await transition(session, workload, WorkloadState.CANCELLED, facts.cancelled(workload, usage, now))


async def _preempted(session: Session, workload: Workload) -> None:
    event = facts.preempted(workload, session.clock.now())
    workload.preemptions += workload.stop_reason != StopReason.HOLD  # a hold is no giving way
    workload.stop_reason, workload.waiting_reason = StopReason.NONE, Reason.PREEMPTED
    await transition(session, workload, WorkloadState.QUEUED, event)


async def _usage(session: Session, workload: Workload) -> Any:
    attempts = await store.attempts_of(session, [workload.name])
    return usage_of(attempts[workload.name], session.clock.now())


def _sentence(workload: Workload, attempt: Attempt, ended: Ended) -> str:
    """For people: how the attempt ended, and the last that it said."""
    if ended.lost_node:
        how = f"was lost with its node {ended.lost_node}"
    elif ended.error:
        how = f"could not be launched: {ended.error}"
    elif ended.bad_result:
        how = f"left a result that cannot be read: {ended.bad_result}"
    elif ended.code is None:
        how = "vanished without an exit code"
    elif ended.code < 0:
        how = f"was ended by signal {-ended.code}"
    else:
        how = f"ended with exit code {ended.code}"
    words = f" Its last words: {ended.last_words}" if ended.last_words else ""
    return f"Attempt {attempt.number} of {workload.name} {how}.{words}"
