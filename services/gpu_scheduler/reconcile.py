"""What this service does by itself: give, launch, watch, stop; and look at the machine it runs on.

Each step reads in a short transaction, does the slow part with no session open, and writes only if its lease holds.
A cancel takes the lease away, so that whatever was under way is void.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from gyre_kit.app import Context
from gyre_kit.auth import Identity, Role
from gyre_kit.reconcile import Claim, LeaseLost, lease
from sqlmodel import col

from services.gpu_scheduler import admission, launcher, maintenance, nodes, service, silence, store
from services.gpu_scheduler.books import BOOKS, Books
from services.gpu_scheduler.ends import Ends
from services.gpu_scheduler.environment import worker_environment
from services.gpu_scheduler.hardware import own_id, read_machine
from services.gpu_scheduler.launcher import CREDENTIAL, Ended, Launcher, LaunchFailed, Order
from services.gpu_scheduler.metrics import ADMISSION, FLEET, FleetGauges, Gauges
from services.gpu_scheduler.models import Attempt, NodeState, Workload, WorkloadState
from services.gpu_scheduler.processes import ProcessRef

log = logging.getLogger(__name__)
LOOK_AGAIN = 0.5  # seconds between two looks at one workload
STOP_LOOK_AGAIN = 0.2
HELD_LOOK_AGAIN = 0.1
SAMPLE_SECONDS = 5.0
RENEW_SECONDS = 30.0  # a token has at least 60 s left when its successor is signed
LOCAL = Launcher()
ENDS = "ends"  # where the context keeps the Ends of this process


@dataclass(frozen=True)
class Work:
    """A workload under lease, its attempt, and where that lives."""

    workload: Workload
    attempt: Attempt
    folder: Path

    @property
    def leader(self) -> ProcessRef:
        return ProcessRef(self.attempt.pid, self.attempt.pid_started)


async def hear_of_node(context: Context) -> None:
    """Writes down how this machine is, which others fell silent, and whose work must leave its place."""
    machine = await asyncio.to_thread(read_machine, context.settings)
    fleet: FleetGauges = context.state[FLEET]
    try:
        async with context.db.transaction() as session:
            node = await nodes.heard_of(session, machine, context.settings)
        if node.state == NodeState.FENCING:
            context.wake_event(fence.__name__).set()
    except nodes.NodeNameTaken as error:
        fleet.name_conflicts.inc()
        log.error("this machine is no node", extra={"reason": error.reason, "error": error.message})
    async with context.db.transaction() as session:
        silent = await silence.look(session, context.settings)
    async with context.db.transaction() as session:
        moved = await maintenance.move_work(session)
        fleet.show(await store.node_counts(session), await store.card_counts(session))
    if silent.lost or silent.gone or moved:
        log.warning("work must move", extra={"lost": silent.lost, "gone": silent.gone, "moved": moved})
        context.wake()


async def fence(context: Context) -> bool:
    """Ends what still runs on this machine under attempts that ended while its node was gone; then the node joins."""
    name = f"nodes/{own_id(context.settings)}"
    async with context.db.transaction() as session:
        node = await store.find_node(session, name)
        is_fencing = node is not None and node.state == NodeState.FENCING
        left = await store.unconfirmed_on(session, name) if is_fencing else []
    for attempt, uid, number in left:
        folder = context.settings.work_folder / uid / str(number)
        if await asyncio.to_thread(LOCAL.stop, folder, ask=False, kill=True) is None:
            return False
        async with context.db.transaction() as session:
            await store.confirm(session, attempt)
    if is_fencing:
        async with context.db.transaction() as session:
            await silence.fenced(session, name)
        context.wake()
    return False


async def admit(context: Context) -> None:
    """One admission cycle. What it could not write down it did not decide."""
    books: Books = context.state[BOOKS]
    try:
        async with context.db.transaction() as session:
            cycle = await admission.run_cycle(session, books)
            counts = await store.state_counts(session)
    except BaseException:
        books.throw_away()
        raise
    gauges: Gauges = context.state[ADMISSION]
    gauges.show(counts)
    if cycle.admitted or cycle.preempted:
        context.wake()


async def end_overdue(context: Context) -> None:
    """Ends what ran for as long as it may."""
    async with context.db.transaction() as session:
        overdue = await service.end_overdue(session)
    if overdue:
        context.wake()


async def launch(context: Context) -> bool:
    """Starts one admitted attempt. Its intent is in the database; the shim lets no second process of it begin."""
    admitted = Workload.state == WorkloadState.ADMITTED
    async with lease(context.db, Workload, admitted, seconds=2 * launcher.CLAIM_SECONDS) as claim:
        if claim is None:
            return False
        work = await _work(context, claim)
        work = await _with_port(context, claim, work)
        try:
            leader = await asyncio.to_thread(LOCAL.start, _order(context, work))
        except LaunchFailed as failure:
            await _apply_end(context, claim, work, Ended(error=str(failure)))
            return True
        async with context.db.transaction() as session:
            workload, attempt = await _reload(context, session, claim)
            await service.launched(session, workload, attempt, leader)
    context.wake()
    return True


async def watch(context: Context) -> bool:
    """Looks at one launched attempt: has it ended, is it ready, what does it use, does its token still hold."""
    living = col(Workload.state).in_([WorkloadState.STARTING, WorkloadState.RUNNING])
    async with lease(context.db, Workload, living, again_in=LOOK_AGAIN) as claim:
        if claim is None:
            return False
        work = await _work(context, claim)
        ended = await asyncio.to_thread(LOCAL.look, work.folder, work.leader)
        if ended is not None:
            await _apply_end(context, claim, work, ended)
            context.wake()
            return True
        await asyncio.to_thread(_renew_credential, context, work)
        claim.again_in = _rest(context, work)
        if work.workload.state == WorkloadState.STARTING:
            await _when_ready(context, claim, work)
        elif _sample_is_due(context, work):
            await _sample(context, claim, work)
    _look_again(context, watch, claim.again_in)
    return True


def _rest(context: Context, work: Work) -> float:
    """Seconds until the next look. Work that runs is left alone when the kernel tells its end."""
    ends: Ends = context.state[ENDS]
    is_settled = work.workload.state == WorkloadState.RUNNING and ends.follow(work.workload.name, work.leader)
    return SAMPLE_SECONDS if is_settled else LOOK_AGAIN


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
        work = await _work(context, claim)
        asked = work.attempt.term_time
        grace = timedelta(seconds=context.settings.stop_grace_seconds)
        is_over = asked is not None and context.clock.now() - asked >= grace
        ended = await asyncio.to_thread(LOCAL.stop, work.folder, ask=asked is None, kill=is_over)
        if ended is not None:
            await _apply_end(context, claim, work, ended)
            context.wake()
            return True
        if asked is None:
            async with context.db.transaction() as session:
                _, attempt = await _reload(context, session, claim)
                attempt.term_time = session.clock.now()
    _look_again(context, stop, STOP_LOOK_AGAIN)
    return True


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
        await asyncio.to_thread(launcher.delete_folder, folder / uid)


def _look_again(context: Context, step: Callable[[Context], Any], seconds: float) -> None:
    """Wakes a step when what it has given back is due, so that it can rest for longer while there is nothing."""
    asyncio.get_running_loop().call_later(seconds, context.wake_event(step.__name__).set)


async def _work(context: Context, claim: Claim[Workload]) -> Work:
    row = claim.row
    async with context.db.transaction() as session:
        attempt = await store.attempt(session, row.name, row.attempt)
    if attempt is None:
        raise LookupError(f"{row.name} is {row.state} without an attempt {row.attempt}")
    return Work(row, attempt, context.settings.work_folder / row.uid / str(row.attempt))


async def _reload(context: Context, session: Any, claim: Claim[Workload]) -> tuple[Workload, Attempt]:
    """Both rows, the workload's locked, if it still is as it was claimed. Raises: LeaseLost."""
    workload = await claim.reload(session)
    attempt = await store.attempt(session, workload.name, claim.row.attempt)
    if workload.state != claim.row.state or workload.attempt != claim.row.attempt or attempt is None:
        raise LeaseLost(workload.name)
    return workload, attempt


async def _with_port(context: Context, claim: Claim[Workload], work: Work) -> Work:
    """A replica's port is written down before its process exists, so that a repeated launch tells the same one."""
    if work.workload.kind != "REPLICA" or work.attempt.port:
        return work
    port = await asyncio.to_thread(launcher.free_port, context.settings.bind)
    async with context.db.transaction() as session:
        _, attempt = await _reload(context, session, claim)
        attempt.port = port
    return Work(work.workload, attempt, work.folder)


def _order(context: Context, work: Work) -> Order:
    settings, row = context.settings, work.workload
    added: dict[str, Any] = {
        "attempt": row.attempt,
        "credential_file": str(work.folder / CREDENTIAL),
        "object_store": settings.object_store_url,
        "report_address": settings.grpc_address("training_scheduler"),
    }
    if row.kind == "REPLICA":
        added |= {"host": settings.bind, "port": work.attempt.port}
    own: Mapping[str, str] = os.environ
    return Order(
        folder=work.folder,
        module=row.module,
        spec=json.loads(row.spec_json) | added,
        token=_token(context, work),
        environment=worker_environment(
            own,
            settings,
            folder=str(work.folder),
            cpu_milli=row.cpu_milli,
            cards=work.attempt.card_uuids,
            traceparent=row.traceparent,
        ),
    )


def _token(context: Context, work: Work) -> str:
    """Worth nothing but for calls of Role.WORKER about its owner; the attempt in it is the fence."""
    row = work.workload
    identity = Identity(
        subject=row.owner or row.name, project=row.project, role=Role.WORKER, workload=row.name, attempt=row.attempt
    )
    return context.signer.token(identity, context.settings.credential_seconds)


def _renew_credential(context: Context, work: Work) -> None:
    path = work.folder / CREDENTIAL
    age = time.time() - path.stat().st_mtime if path.exists() else RENEW_SECONDS
    if age >= RENEW_SECONDS:
        launcher.renew_credential(work.folder, _token(context, work))


async def _when_ready(context: Context, claim: Claim[Workload], work: Work) -> None:
    """A replica is ready when it answers; other work as soon as its process is there."""
    address = ""
    if work.workload.kind == "REPLICA":
        address = f"{context.settings.replica_address}:{work.attempt.port}"
        if not await asyncio.to_thread(launcher.answers, context.settings.bind, work.attempt.port):
            await _give_up_if_late(context, work)
            return
    async with context.db.transaction() as session:
        workload, _ = await _reload(context, session, claim)
        await service.running(session, workload, address)


async def _give_up_if_late(context: Context, work: Work) -> None:
    launched = work.attempt.launch_time or context.clock.now()
    if context.clock.now() - launched > timedelta(seconds=context.settings.replica_start_seconds):
        await asyncio.to_thread(LOCAL.kill, work.folder, work.leader)


def _sample_is_due(context: Context, work: Work) -> bool:
    sampled = work.attempt.sample_time
    return sampled is None or context.clock.now() - sampled >= timedelta(seconds=SAMPLE_SECONDS)


async def _sample(context: Context, claim: Claim[Workload], work: Work) -> None:
    cpu_seconds, resident = await asyncio.to_thread(LOCAL.sample, work.leader)
    async with context.db.transaction() as session:
        _, attempt = await _reload(context, session, claim)
        service.sampled(session, attempt, cpu_seconds, resident)


async def _apply_end(context: Context, claim: Claim[Workload], work: Work, ended: Ended) -> None:
    """Reads what the attempt left behind, then writes down that it is over."""
    is_job = work.workload.kind == "JOB"
    ended = await asyncio.to_thread(launcher.with_remains, work.folder, ended, is_job=is_job)
    async with context.db.transaction() as session:
        workload, attempt = await _reload(context, session, claim)
        await service.attempt_ended(session, workload, attempt, ended, context.settings)
