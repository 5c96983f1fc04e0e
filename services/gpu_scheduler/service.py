"""Use cases: ask for a workload, cancel it, and what its life brings. Admission is in `admission`, queues in `queues`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gyre_kit import resources
from gyre_kit.auth import caller
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, Precondition
from gyre_kit.names import last, project_of
from gyre_kit.outbox import emit
from gyre_kit.states import transition
from gyre_kit.telemetry import current_traceparent
from sqlalchemy.exc import IntegrityError

from services.gpu_scheduler import facts, outcome, queues, store
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.launchers.base import LOCAL, Ended, Handle
from services.gpu_scheduler.models import AWAY, ENDED, HOLDING, Attempt, StopReason, Workload, WorkloadState
from services.gpu_scheduler.outcome import Next, Outcome
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.usage import usage_of

NAME = re.compile(r"projects/[^/]+/workloads/[0-9A-Za-z]{1,63}")
MAX_SPEC_CHARACTERS = 1_000_000
LONGEST_RUN = 366 * 86_400.0
VANISHED = -9  # who goes without a word was killed hard
MOST = Amount(1_000_000_000, 1 << 60, 1_000_000 * CARD)  # a million cores, an exbibyte, a million cards: more is a slip
NOT_LAUNCHED = 71  # EX_OSERR
NODE_LOST = "NODE_LOST"


class BadWorkloadName(Invalid):
    """A workload is named projects/{project}/workloads/{ulid}; choose a new ULID for each."""


class ModuleNotAllowed(Invalid):
    """Only modules of the allow-list may be run (GYRE_WORKLOAD_MODULES)."""


class BadSpec(Invalid):
    """The workload's specification is not usable: correct the field that is named."""


class SpecDiffers(AlreadyExists):
    """There is a workload of that name with another specification; choose a new ULID."""


class NameTaken(AlreadyExists):
    """That ULID is in use; choose a new one."""


class AlreadyEnded(Precondition):
    """It has ended: there is nothing to hold or to release."""


class FitsNowhere(Precondition):
    """No node is large enough for it, however long it waits: ask for less, or add a node."""


@dataclass(frozen=True)
class Wanted:
    """What a caller wants to be run. `spec_json` is a JSON object; `max_attempts` 0 takes the default of its kind.

    `user` is who caused it, for accounting; empty means the caller.
    """

    kind: str
    module: str
    spec_json: str
    requests: Amount
    queue: str = ""
    priority: int = 0
    max_attempts: int = 0
    owner: str = ""
    display_name: str = ""
    only_flavor: str = ""
    max_run_seconds: float = 0.0
    throughput_class: str = ""
    user: str = ""


async def ensure(session: Session, name: str, wanted: Wanted, settings: Settings) -> Workload:
    """The workload of that name, made if it is not there yet. The name is the key of idempotence.

    Raises: BadWorkloadName; BadSpec; ModuleNotAllowed; QueueNotFound; FitsNowhere; SpecDiffers; NameTaken.
    """
    if not NAME.fullmatch(name):
        raise BadWorkloadName(given=name[:120])
    if existing := await store.find_workload(session, name):
        return _same(existing, wanted)
    _check(wanted, settings)
    project = project_of(name)
    number = await resources.next_number(session, Workload, project)  # from here on one Ensure a project at a time
    if existing := await store.find_workload(session, name):
        return _same(existing, wanted)
    queue = await queues.of_workload(session, project, wanted.queue)
    await _check_capacity(session, wanted.requests)
    workload = Workload(
        name=name,
        uid=last(name),
        project=project,
        number=number,
        display_name=wanted.display_name,
        state=WorkloadState.QUEUED,
        kind=wanted.kind,
        module=wanted.module,
        spec_json=wanted.spec_json,
        cpu_milli=wanted.requests.cpu_milli,
        memory_bytes=wanted.requests.memory_bytes,
        gpu=wanted.requests.cards,
        gpu_milli=wanted.requests.gpu_milli % CARD,
        queue=queue.name,
        priority=wanted.priority,
        max_attempts=wanted.max_attempts,
        owner=wanted.owner,
        only_flavor=wanted.only_flavor,
        max_run_seconds=wanted.max_run_seconds,
        throughput_class=wanted.throughput_class,
        user=wanted.user or caller().subject,
        traceparent=current_traceparent(),
        waiting_reason=Reason.NOT_CONSIDERED_YET,
        queue_time=session.clock.now(),
    )
    await _insert(session, workload)
    await emit(session, workload.name, facts.queued(workload))
    return workload


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
    """Asks those to stop that ran for as long as they may; returns their names."""
    overdue = await store.overdue(session)
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
    await store.release_cards(session, workload.name)
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


def amount_of(row: Any) -> Amount:
    """Of anything that has the columns: what a workload asks for, what a node has."""
    return Amount(row.cpu_milli, row.memory_bytes, row.gpu * CARD + getattr(row, "gpu_milli", 0))


async def node_gone(session: Session, workload: Workload, attempt: Attempt) -> None:
    """Its node is gone for good, so the attempt ends with no fault counted, and what it held is free.

    Whatever of it still runs there is ended before that node takes work again: the attempt stays unconfirmed until then.
    """
    attempt.end_time, attempt.end_reason, attempt.unconfirmed = session.clock.now(), StopReason.NODE_LOST, True
    workload.lease_token, workload.lease_until, workload.due = None, None, None
    workload.address = ""
    await store.release_cards(session, workload.name)
    if workload.stop_reason == StopReason.CANCEL:
        await _cancelled(session, workload)
    else:
        workload.stop_reason = StopReason.NODE_LOST
        await _preempted(session, workload)


def forgive(workload: Workload) -> None:
    """It waits after a fault that was its card's and not its own: the fault does not count, and it need not back off."""
    workload.faults -= 1
    workload.not_before = None


def _same(existing: Workload, wanted: Wanted) -> Workload:
    """Raises: SpecDiffers. What only people see (display_name, user) may differ."""
    spec = (existing.kind, existing.module, json.loads(existing.spec_json), existing.priority, existing.owner)
    given = (wanted.kind, wanted.module, _parsed(wanted.spec_json), wanted.priority, wanted.owner)
    places = existing.only_flavor == wanted.only_flavor and wanted.queue in ("", existing.queue)
    places = places and existing.max_run_seconds == wanted.max_run_seconds
    amounts = amount_of(existing)
    if spec != given or amounts != wanted.requests or not places:
        raise SpecDiffers(name=existing.name)
    return existing


def _check(wanted: Wanted, settings: Settings) -> None:
    if not wanted.kind:
        raise BadSpec(field="spec.kind", allowed="TRAINER|REPLICA|JOB")
    if wanted.module not in settings.workload_modules:
        raise ModuleNotAllowed(
            field="spec.module", given=wanted.module[:80], allowed="|".join(settings.workload_modules)
        )
    if len(wanted.spec_json) > MAX_SPEC_CHARACTERS or not isinstance(_parsed(wanted.spec_json), dict):
        raise BadSpec(field="spec.spec_json", wanted=f"a JSON object of at most {MAX_SPEC_CHARACTERS} characters")
    if any("\0" in text for text in (wanted.owner, wanted.display_name, wanted.queue, wanted.user)):
        raise BadSpec(field="spec", wanted="text without NUL")
    asked = wanted.requests
    if asked.cpu_milli < 1 or asked.memory_bytes < 0 or asked.gpu_milli < 0:
        raise BadSpec(field="spec.requests", wanted="cpu_milli of at least 1, and nothing below 0")
    if not asked.fits_in(MOST):
        most = f"{MOST.cpu_milli} cpu_milli, {MOST.memory_bytes} memory_bytes and {MOST.cards} gpu"
        raise BadSpec(field="spec.requests", wanted=f"at most {most}")
    if asked.gpu_milli > CARD and asked.gpu_milli % CARD:
        raise BadSpec(field="spec.requests", wanted="whole cards in gpu, or a share of one in gpu_milli, not both")
    if not 0 <= wanted.max_run_seconds <= LONGEST_RUN:
        raise BadSpec(field="spec.max_run_seconds", wanted=f"0 to {LONGEST_RUN:.0f} seconds")
    if wanted.max_attempts < 0:
        raise BadSpec(field="spec.max_attempts", wanted="0 or more")


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if "\0" not in text else None
    except ValueError:
        return None


async def _check_capacity(session: Session, requests: Amount) -> None:
    """Raises: FitsNowhere. A node that is away may come back; where none was ever seen, it waits. Whole cards may be those
    of several nodes of one flavor, where a launcher can start a gang there."""
    nodes = [node for node in await store.nodes(session) if node.state not in AWAY]
    sizes = [amount_of(node) for node in nodes]
    together: dict[tuple[str, str], int] = {}
    for node in nodes:
        if node.launcher != LOCAL:
            key = (node.flavor, node.launcher)
            together[key] = together.get(key, 0) + node.gpu
    fits = any(requests.fits_in(size) for size in sizes) or 1 < requests.cards <= max(together.values(), default=0)
    if sizes and not fits:
        largest = max(sizes, key=lambda size: (size.gpu_milli, size.cpu_milli, size.memory_bytes))
        raise FitsNowhere(
            asked=f"{requests.cpu_milli}m cpu, {requests.memory_bytes} bytes, {requests.gpu_milli / CARD:g} gpu",
            largest_node=f"{largest.cpu_milli}m cpu, {largest.memory_bytes} bytes, {largest.cards} gpu",
        )


async def _insert(session: Session, workload: Workload) -> None:
    """Raises: NameTaken, for the ULID of a workload that this project cannot see."""
    try:
        async with session.begin_nested():
            session.add(workload)
            await session.flush()
    except IntegrityError as error:
        raise NameTaken(name=workload.name) from error


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
