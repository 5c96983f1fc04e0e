"""What this service does by itself about work: give, launch, watch, stop. What it does about nodes is in `fleet`.

Each step reads in a short transaction, does the slow part with no session open, and writes only if its lease holds.
A cancel takes the lease away, so that whatever was under way is void.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from gyre_kit.app import Context
from gyre_kit.auth import Identity, Role
from gyre_kit.reconcile import Claim, LeaseLost, lease
from sqlmodel import col

from services.gpu_scheduler import (
    admission,
    members,
    service,
    store,
)
from services.gpu_scheduler.books import BOOKS, Books
from services.gpu_scheduler.launchers import remains
from services.gpu_scheduler.launchers.base import (
    LOCAL,
    Ended,
    Launcher,
    LaunchFailed,
    Order,
    Ref,
    TellsEnds,
    Unreachable,
)
from services.gpu_scheduler.launchers.ends import Ends
from services.gpu_scheduler.launchers.environment import worker_environment
from services.gpu_scheduler.launchers.local import CLAIM_SECONDS, answers
from services.gpu_scheduler.models import Attempt, Workload, WorkloadState

log = logging.getLogger(__name__)
LOOK_AGAIN = 0.5  # seconds between two looks at what is not ready yet
STOP_LOOK_AGAIN = 0.2
HELD_LOOK_AGAIN = 0.1
UNREACHABLE_AGAIN = 5.0
LAUNCH_SECONDS = 2 * CLAIM_SECONDS
SAMPLE_SECONDS = 5.0
LAUNCHERS = "launchers"  # where the context keeps them, by name
ENDS = "ends"  # where the context keeps the Ends of this process


@dataclass(frozen=True)
class Work:
    """A workload under lease, its attempt, and who runs that."""

    workload: Workload
    attempt: Attempt
    ref: Ref
    launcher: Launcher


async def admit(context: Context) -> None:
    """One admission cycle. What it could not write down it did not decide."""
    books: Books = context.state[BOOKS]
    try:
        async with context.db.transaction() as session:
            cycle = await admission.run_cycle(session, books, context.settings.cycle_idle_seconds)
    except BaseException:
        books.throw_away()
        raise
    if cycle.admitted or cycle.preempted or cycle.has_more:
        context.wake()


async def end_overdue(context: Context) -> None:
    """Ends what ran for as long as it may."""
    async with context.db.transaction() as session:
        overdue = await service.end_overdue(session)
    if overdue:
        context.wake()


async def launch(context: Context) -> bool:
    """Starts one admitted attempt. Its intent is in the database; its launcher lets no second one of it begin."""
    admitted = Workload.state == WorkloadState.ADMITTED
    async with lease(context.db, Workload, admitted, seconds=LAUNCH_SECONDS) as claim:
        if claim is None:
            return False
        with _put_off_if_unreachable(claim):
            await _launch(context, claim)
    context.wake()
    return True


async def _launch(context: Context, claim: Claim[Workload]) -> None:
    work = await _work(context, claim)
    try:
        work = await _prepared(context, claim, work)
        handle = await asyncio.to_thread(work.launcher.start, _order(context, work))
    except LaunchFailed as failure:
        await _apply_end(context, claim, work, Ended(error=str(failure)))
        return
    async with context.db.transaction() as session:
        workload, attempt = await _reload(context, session, claim)
        await service.launched(session, workload, attempt, handle)


async def watch(context: Context) -> bool:
    """Looks at one launched attempt: has it ended, is it ready, what does it use, does its token still hold."""
    living = col(Workload.state).in_([WorkloadState.STARTING, WorkloadState.RUNNING])
    async with lease(context.db, Workload, living, again_in=LOOK_AGAIN) as claim:
        if claim is None:
            return False
        with _put_off_if_unreachable(claim):
            await _watch(context, claim)
    _look_again(context, watch, claim.again_in)
    return True


async def _watch(context: Context, claim: Claim[Workload]) -> None:
    work = await _work(context, claim)
    ended = await asyncio.to_thread(work.launcher.look, work.ref)
    if ended is not None:
        await _apply_end(context, claim, work, ended)
        context.wake()
        return
    await asyncio.to_thread(work.launcher.renew, work.ref, partial(_token, context, work))
    claim.again_in = _rest(context, work)
    if work.workload.state == WorkloadState.STARTING:
        await _when_ready(context, claim, work)
    elif _sample_is_due(context, work):
        await _sample(context, claim, work)


@contextmanager
def _put_off_if_unreachable(claim: Claim[Workload]) -> Iterator[None]:
    """Who does not answer keeps nobody else's work from being looked at."""
    try:
        yield
    except Unreachable as error:
        claim.again_in = UNREACHABLE_AGAIN
        log.warning("a launcher does not answer", extra={"workload": claim.row.name, "error": str(error)})


def _rest(context: Context, work: Work) -> float:
    """Seconds until the next look. Work that runs is left alone when the kernel tells its end."""
    if work.workload.state != WorkloadState.RUNNING:
        return LOOK_AGAIN
    ends: Ends = context.state[ENDS]
    if isinstance(work.launcher, TellsEnds) and ends.follow(work.workload.name, work.launcher.leader(work.ref)):
        return SAMPLE_SECONDS
    return work.launcher.look_again


async def look_at_once(context: Context, workload: str) -> None:
    """Makes one workload due; a look that is under way may have been a moment too early, so it is waited for."""
    try:
        while await _make_due(context, workload):  # noqa: ASYNC110 - another process may hold it
            await asyncio.sleep(HELD_LOOK_AGAIN)
    except (OSError, sa.exc.SQLAlchemyError) as error:
        log.warning("the end of work will be seen at its next look", extra={"workload": workload, "error": str(error)})


async def _make_due(context: Context, workload: str) -> bool:
    async with context.db.transaction() as session:
        is_held = await store.make_due(session, workload)
    context.wake_event(watch.__name__).set()
    return is_held


async def stop(context: Context) -> bool:
    """Brings one stop a step further: asked by SIGTERM, killed when its grace is over, confirmed when nobody is left."""
    stopping = Workload.state == WorkloadState.STOPPING
    async with lease(context.db, Workload, stopping, again_in=STOP_LOOK_AGAIN) as claim:
        if claim is None:
            return False
        with _put_off_if_unreachable(claim):
            await _stop(context, claim)
    _look_again(context, stop, claim.again_in)
    return True


async def _stop(context: Context, claim: Claim[Workload]) -> None:
    work = await _work(context, claim)
    asked = work.attempt.term_time
    is_over = asked is not None and _is_over(context, asked, context.settings.stop_grace_seconds)
    ended = await asyncio.to_thread(work.launcher.stop, work.ref, ask=asked is None, kill=is_over)
    if ended is not None:
        await _apply_end(context, claim, work, ended)
        context.wake()
    elif asked is None:
        async with context.db.transaction() as session:
            _, attempt = await _reload(context, session, claim)
            attempt.term_time = session.clock.now()


async def sweep(context: Context) -> None:
    """Deletes the work folders of workloads that ended long ago; those that no row names are left alone."""
    folder: Path = context.settings.work_folder
    if not folder.is_dir():
        return
    uids = await asyncio.to_thread(os.listdir, folder)
    before = context.clock.now() - timedelta(days=context.settings.work_retention_days)
    async with context.db.transaction() as session:
        old = await store.ended_before(session, uids, before)
    for uid in old:
        await asyncio.to_thread(remains.delete_folder, folder / uid)


def _look_again(context: Context, step: Callable[[Context], Any], seconds: float) -> None:
    """Wakes a step when what it has given back is due, so that it can rest for longer while there is nothing."""
    asyncio.get_running_loop().call_later(seconds, context.wake_event(step.__name__).set)


async def _work(context: Context, claim: Claim[Workload]) -> Work:
    row = claim.row
    async with context.db.transaction() as session:
        attempt = await store.attempt(session, row.name, row.attempt)
    if attempt is None:
        raise LookupError(f"{row.name} is {row.state} without an attempt {row.attempt}")
    return found(context, row, attempt)


def found(context: Context, row: Workload, attempt: Attempt) -> Work:
    folder = context.settings.work_folder / row.uid / str(attempt.number)
    name = attempt.launcher or LOCAL
    launchers: Mapping[str, Launcher] = context.state[LAUNCHERS]
    if name not in launchers:
        raise Unreachable(f"no launcher {name} is set up here, and attempt {attempt.name} is with it")
    ref = Ref(row.uid, attempt.number, folder, members.of(attempt), attempt.handle)
    return Work(row, attempt, ref, launchers[name])


async def _reload(context: Context, session: Any, claim: Claim[Workload]) -> tuple[Workload, Attempt]:
    """Both rows, the workload's locked, if it still is as it was claimed. Raises: LeaseLost."""
    workload = await claim.reload(session)
    attempt = await store.attempt(session, workload.name, claim.row.attempt)
    if workload.state != claim.row.state or workload.attempt != claim.row.attempt or attempt is None:
        raise LeaseLost(workload.name)
    return workload, attempt


async def _prepared(context: Context, claim: Claim[Workload], work: Work) -> Work:
    """Who runs it, on which nodes, and a replica's port: written down before there is a process, so that a repeated
    launch tells the same. Raises: LaunchFailed.
    """
    if not work.attempt.launcher:
        async with context.db.transaction() as session:
            _, attempt = await _reload(context, session, claim)
            await members.place(session, attempt)
        work = found(context, work.workload, attempt)
    if work.workload.kind == "REPLICA" and not work.attempt.port:
        port = await asyncio.to_thread(work.launcher.reserve, work.ref)
        async with context.db.transaction() as session:
            _, attempt = await _reload(context, session, claim)
            attempt.port = port
        work = found(context, work.workload, attempt)
    return work


def _order(context: Context, work: Work) -> Order:
    settings, row = context.settings, work.workload
    added: dict[str, Any] = {
        "attempt": row.attempt,
        "object_store": settings.object_store_url,
        "report_address": settings.grpc_address("training_scheduler"),
    }
    if row.kind == "REPLICA":
        added |= {"host": work.launcher.endpoint(work.ref, work.attempt.port).listen, "port": work.attempt.port}
    return Order(
        ref=work.ref,
        module=row.module,
        spec=json.loads(row.spec_json) | added,
        token=_token(context, work),
        environment=worker_environment(os.environ, settings, cpu_milli=row.cpu_milli, traceparent=row.traceparent),
    )


def _token(context: Context, work: Work) -> str:
    """Worth nothing but for calls of Role.WORKER about its owner; the attempt in it is the fence."""
    row = work.workload
    identity = Identity(
        subject=row.owner or row.name, project=row.project, role=Role.WORKER, workload=row.name, attempt=row.attempt
    )
    return context.signer.token(identity, context.settings.credential_seconds)


async def _when_ready(context: Context, claim: Claim[Workload], work: Work) -> None:
    """A replica is ready when it answers; other work as soon as its process is there."""
    address = ""
    if work.workload.kind == "REPLICA":
        endpoint = work.launcher.endpoint(work.ref, work.attempt.port)
        address = endpoint.address
        if not await asyncio.to_thread(answers, endpoint.probe, work.attempt.port):
            await _give_up_if_late(context, work)
            return
    async with context.db.transaction() as session:
        workload, _ = await _reload(context, session, claim)
        await service.running(session, workload, address)


async def _give_up_if_late(context: Context, work: Work) -> None:
    launched = work.attempt.launch_time or context.clock.now()
    if _is_over(context, launched, context.settings.replica_start_seconds):
        await asyncio.to_thread(work.launcher.kill, work.ref)


def _is_over(context: Context, since: datetime, seconds: float) -> bool:
    """Nobody waits longer than twice `seconds` for what began at `since`, also where the clock was put back meanwhile."""
    return abs((context.clock.now() - since).total_seconds()) >= seconds


def _sample_is_due(context: Context, work: Work) -> bool:
    sampled = work.attempt.sample_time
    return sampled is None or context.clock.now() - sampled >= timedelta(seconds=SAMPLE_SECONDS)


async def _sample(context: Context, claim: Claim[Workload], work: Work) -> None:
    cpu_seconds, resident = await asyncio.to_thread(work.launcher.sample, work.ref)
    async with context.db.transaction() as session:
        _, attempt = await _reload(context, session, claim)
        service.sampled(session, attempt, cpu_seconds, resident)


async def _apply_end(context: Context, claim: Claim[Workload], work: Work, ended: Ended) -> None:
    """Reads what the attempt left behind, then writes down that it is over."""
    is_job = work.workload.kind == "JOB"
    ended = await asyncio.to_thread(remains.with_remains, work.ref.folder, ended, is_job=is_job)
    async with context.db.transaction() as session:
        workload, attempt = await _reload(context, session, claim)
        await service.attempt_ended(session, workload, attempt, ended, context.settings)
