"""Long work: runs and the workloads that carry them, and the pins of ended runs. Pipelines are the conductor's."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import grpc
import sqlalchemy as sa
from gyre.gpu_scheduler.v1 import node_pb2, workload_pb2, workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.errors import from_rpc
from gyre_kit.reconcile import Claim, lease
from gyre_kit.render import enum_name

from services.training_scheduler import health, inputs, outputs, service
from services.training_scheduler.models import RUN_ENDED, RUN_HELD, Run, RunState
from services.training_scheduler.planning.plan import threads_of
from services.training_scheduler.service import Seen

log = logging.getLogger(__name__)
TRAINER = "gyre_trainers.run"
LEASE_SECONDS = 10  # after a kill a run is looked at again no later than this
VERIFY_SECONDS = 120  # long enough to hash the weights of a large model
THROUGHPUT_TOLD = "throughput_told"  # in the context: run → when its throughput was last reported, monotonic seconds
THROUGHPUT_EVERY = 30.0  # seconds
PACED_STEPS = 5  # before a speed is worth telling
REFUSALS = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
)


async def follow_runs(context: Context) -> bool:
    """Brings one open run up to its workload: asked for, followed, stopped, and its result verified."""
    is_open = Run.state.not_in(RUN_ENDED)
    again_in = context.settings.follow_seconds
    async with lease(context.db, Run, is_open, seconds=LEASE_SECONDS, again_in=again_in) as claim:
        if claim is None:
            return False
        run = claim.row
        with within_project(run.project):
            seen = await _bring_up(context, claim)
        output = None
        if seen.state == "FINISHED":
            await claim.extend(context.db, VERIFY_SECONDS)
            output = await outputs.verify(context.store, run, seen.attempt)
        async with context.db.transaction() as session:
            now = await claim.reload(session)
            now.held = seen.held and run.state in RUN_HELD
            await service.follow(session, now, seen, output)
    return True


async def _bring_up(context: Context, claim: Claim[Run]) -> Seen:
    """Has the workload be what the run's state wants it to be, one call a look."""
    run = claim.row
    shall_be_held = run.state in RUN_HELD
    if run.state == RunState.CANCELLING:
        return await _stop(context, run)
    if shall_be_held and not run.held:
        return await _hold(context, run)
    if not run.workload and not shall_be_held:
        return await _ensure(context, claim)
    if run.held and not shall_be_held:
        return await _release(context, run)
    return await _look(context, run)


async def release_pins(context: Context) -> bool:
    """Lets go of what an ended run held on to."""
    holds = Run.state.in_(RUN_ENDED) & (sa.cast(Run.pins, sa.Text) != "[]")
    async with lease(context.db, Run, holds, again_in=10.0) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            await inputs.unpin(context, claim.row.pins, holder=claim.row.name)
        async with context.db.transaction() as session:
            (await claim.reload(session)).pins = []
    return True


async def _ensure(context: Context, claim: Claim[Run]) -> Seen:
    """Asks for the run's workload: by a name of its own, so that asking twice makes one."""
    run = claim.row
    request = workload_service_pb2.EnsureWorkloadRequest(name=service.workload_name(run), spec=workload_spec(run))
    try:
        workload = await context.clients.stub(WorkloadServiceStub).EnsureWorkload(request)
    except grpc.aio.AioRpcError as error:
        if error.code() not in REFUSALS:
            raise
        refusal = from_rpc(error)
        return Seen("FAILED", failure_reason=refusal.reason, failure_message=refusal.message)
    async with context.db.transaction() as session:
        (await claim.reload(session)).workload = workload.name
    return _seen(workload)


async def _look(context: Context, run: Run) -> Seen:
    request = workload_service_pb2.GetWorkloadRequest(name=run.workload)
    try:
        workload = await context.clients.stub(WorkloadServiceStub).GetWorkload(request)
        await _report_throughput(context, run, workload)
        return _seen(workload)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return Seen("FAILED", failure_reason="WORKLOAD_LOST", failure_message=f"{run.workload} is gone.")
        raise


async def _report_throughput(context: Context, run: Run, workload: workload_pb2.Workload) -> None:
    """Has the scheduler learn how fast such runs are on that flavor; missing one report does no harm."""
    told: dict[str, float] = context.state.setdefault(THROUGHPUT_TOLD, {})
    if run.state != RunState.RUNNING or run.pace_time is None or run.step < run.pace_step + PACED_STEPS:
        told.pop(run.name, None)
        return
    seconds = ((run.heartbeat_time or run.pace_time) - run.pace_time).total_seconds()
    if seconds <= 0 or time.monotonic() - told.get(run.name, -THROUGHPUT_EVERY) < THROUGHPUT_EVERY:
        return
    told[run.name] = time.monotonic()
    rate = (run.step - run.pace_step) / seconds
    request = workload_service_pb2.ReportThroughputRequest(
        name=workload.name, attempt=run.started_attempt, units_per_second=rate
    )
    try:
        await context.clients.stub(WorkloadServiceStub).ReportThroughput(request)
    except grpc.aio.AioRpcError as error:
        log.info("a throughput was not taken", extra={"run": run.name, "error": error.details()})


async def _stop(context: Context, run: Run) -> Seen:
    """Asks for the stop and says how it stands; a workload that never came to be is stopped already."""
    request = workload_service_pb2.CancelWorkloadRequest(name=service.workload_name(run))
    try:
        return _seen(await context.clients.stub(WorkloadServiceStub).CancelWorkload(request))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return Seen("CANCELLED")
        raise


async def _hold(context: Context, run: Run) -> Seen:
    """Takes the workload out of its queue, or asks it to stop; one that never came to be holds nothing."""
    request = workload_service_pb2.HoldWorkloadRequest(name=service.workload_name(run))
    try:
        return _seen(await context.clients.stub(WorkloadServiceStub).HoldWorkload(request))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND and not run.workload:
            return Seen("QUEUED", held=True)
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:  # it ended before
            return await _look(context, run)
        raise


async def _release(context: Context, run: Run) -> Seen:
    request = workload_service_pb2.ReleaseWorkloadRequest(name=service.workload_name(run))
    try:
        return _seen(await context.clients.stub(WorkloadServiceStub).ReleaseWorkload(request))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:  # it ended before
            return await _look(context, run)
        raise


def workload_spec(run: Run) -> workload_pb2.WorkloadSpec:
    """The same for the same run, always. The launcher adds attempt, credential_file, object_store, report_address."""
    return workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.KIND_TRAINER,
        module=TRAINER,
        spec_json=json.dumps(trainer_spec(run), sort_keys=True),
        requests=node_pb2.Resources(**run.requests),
        queue=run.spec.get("queue", ""),
        priority=int(run.spec.get("priority", 0)),
        priority_class=run.spec.get("priority_class", ""),
        max_attempts=int(run.spec["max_attempts"]),
        owner=run.name,
        user=run.created_by,
        display_name=run.display_name,
        throughput_class=throughput_class(run),
    )


def throughput_class(run: Run) -> str:
    """Runs that do alike steps: the method, the base, and how much goes into one step."""
    asked = run.spec["hyperparameters"]
    base = (run.inputs.get("base") or {}).get("digest", "") or run.base
    return f"{run.method} {base[-12:]} {asked.get('batch_size', '')}x{asked.get('max_length', '')}"


def trainer_spec(run: Run) -> dict[str, Any]:
    """As gyre_trainers/spec.py reads it. `output_prefix` is the run's: each attempt writes to its own folder below it,
    and finds the newest good checkpoint of those before it there."""
    chosen = health.rules(run.spec.get("health") or {})
    return {
        "run": run.name,
        "method": run.method,
        **run.inputs,
        "output_prefix": service.output_prefix(run),
        "hyperparameters": run.spec["hyperparameters"],
        "seed": int(run.spec["seed"]),
        "threads": threads_of(run.requests["cpu_milli"]),
    } | ({"health": chosen} if chosen else {})


def _seen(workload: workload_pb2.Workload) -> Seen:
    return Seen(
        state=enum_name(workload, "state"),
        attempt=workload.attempt,
        waiting_reason=workload.waiting_reason,
        failure_reason=workload.failure_reason,
        failure_message=workload.failure_message,
        cost_microusd=workload.usage.cost_microusd,
        held_seconds=workload.usage.held_seconds,
        flavor=workload.flavor,
        held=workload.held,
    )
