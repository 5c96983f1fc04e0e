"""Long work: evaluations as jobs of the scheduler."""

from __future__ import annotations

import json
from typing import Any

import grpc
from gyre.gpu_scheduler.v1 import workload_pb2, workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.errors import from_rpc
from gyre_kit.reconcile import lease
from gyre_kit.render import enum_name
from gyre_kit.states import transition

from services.evaluation import service
from services.evaluation.models import Evaluation, EvaluationState

MODULE = "services.evaluation.work"
# Of a job that can never run, such as FITS_NOWHERE.
REFUSALS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
OPEN = (EvaluationState.QUEUED, EvaluationState.RUNNING, EvaluationState.CANCELLING)


async def follow_evaluations(context: Context) -> bool:
    """Starts an evaluation's job, or looks how far it is."""
    where = Evaluation.state.in_(OPEN)
    async with lease(context.db, Evaluation, where, again_in=0.5) as claim:
        if claim is None:
            return False
        try:
            with within_project(claim.row.project):
                workload = await _workload(context, claim.row)
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSALS:
                raise
            refusal = from_rpc(error)
            async with context.db.transaction() as session:
                await service.fail(session, await claim.reload(session), refusal.reason, refusal.message)
            return True
        async with context.db.transaction() as session:
            evaluation = await claim.reload(session)
            await _apply(session, evaluation, workload)
    return True


async def _workload(context: Context, evaluation: Evaluation) -> workload_pb2.Workload:
    """Ensures the job; where a stop was asked for, asks for its stop. Repeating either changes nothing."""
    stub = context.clients.stub(WorkloadServiceStub)
    if evaluation.state == EvaluationState.CANCELLING:
        return await stub.CancelWorkload(workload_service_pb2.CancelWorkloadRequest(name=evaluation.workload))
    wanted = workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.KIND_JOB,
        module=MODULE,
        spec_json=json.dumps(evaluation.spec),
        requests=_requests(context.settings, evaluation.spec),
        queue=evaluation.queue,
        priority=evaluation.priority,
        max_attempts=3,
        owner=evaluation.name,
        user=evaluation.created_by,
        display_name=f"evaluation #{evaluation.number}",
        only_flavor=evaluation.spec.get("only_flavor", ""),
    )
    return await stub.EnsureWorkload(workload_service_pb2.EnsureWorkloadRequest(name=evaluation.workload, spec=wanted))


def _requests(settings: Any, spec: dict[str, Any]) -> dict[str, int]:
    """What the engine takes of a machine, as a replica of it would; asking it takes next to nothing."""
    if spec.get("engine") == "VLLM":
        memory, cards = settings.vllm_memory_bytes, spec["cards"]
        return {"cpu_milli": settings.evaluate_cpu_milli, "memory_bytes": memory, "gpu": cards}
    return {"cpu_milli": settings.evaluate_cpu_milli, "memory_bytes": settings.evaluate_memory_bytes}


async def _apply(session: Any, evaluation: Evaluation, workload: workload_pb2.Workload) -> None:
    evaluation.waiting_reason = workload.waiting_reason
    evaluation.cost_microusd = workload.usage.cost_microusd
    state = enum_name(workload, "state")
    if state == "FINISHED":
        await service.succeed(session, evaluation, json.loads(workload.result_json))
    elif state == "FAILED":
        message = f"{workload.failure_message} (log: gyre workloads logs {workload.name})"
        await service.fail(session, evaluation, workload.failure_reason, message)
    elif state == "CANCELLED":
        if evaluation.state != EvaluationState.CANCELLING:
            await transition(session, evaluation, EvaluationState.CANCELLING)
        evaluation.end_time = session.clock.now()
        await transition(session, evaluation, EvaluationState.CANCELLED)
    elif state == "RUNNING" and evaluation.state == EvaluationState.QUEUED:
        evaluation.start_time = evaluation.start_time or session.clock.now()
        await transition(session, evaluation, EvaluationState.RUNNING)
    elif state == "QUEUED" and evaluation.state == EvaluationState.RUNNING:
        await transition(session, evaluation, EvaluationState.QUEUED)
