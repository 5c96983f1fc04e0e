"""Long work: a comparison from its variants to its recommendation.

The variants are made side by side; then one after another is measured, for two at once would slow each other. Every
step can be repeated: a kill between a call and our note of it changes nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from gyre.gpu_scheduler.v1 import workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre.model_registry.v1 import variant_service_pb2
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.db import Session
from gyre_kit.errors import DomainError, from_rpc
from gyre_kit.names import last, new_id
from gyre_kit.reconcile import Claim, lease
from gyre_kit.render import enum_name
from gyre_kit.states import transition

from services.evaluation import comparisons, gate, results, service
from services.evaluation.comparisons import Candidate
from services.evaluation.measuring import Prices, check_vllm, known_flavors, pinned_spec
from services.evaluation.models import Comparison, Evaluation, EvaluationState, Suite

OPEN = (EvaluationState.QUEUED, EvaluationState.RUNNING, EvaluationState.CANCELLING)
FINAL = ("MEASURED", "FAILED")
REFUSALS = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)


async def follow_comparisons(context: Context) -> bool:
    """Brings one comparison a step further."""
    async with lease(context.db, Comparison, Comparison.state.in_(OPEN), again_in=0.5) as claim:
        if claim is None:
            return False
        with within_project(claim.row.project):
            if claim.row.state == EvaluationState.CANCELLING:
                await _stop(context, claim)
            elif all(candidate["state"] in FINAL for candidate in claim.row.candidates):
                await _conclude(context, claim)
            else:
                candidates = await _step(context, claim.row)
                async with context.db.transaction() as session:
                    await comparisons.note(session, await claim.reload(session), candidates)
    return True


async def _step(context: Context, comparison: Comparison) -> list[Candidate]:
    """All variants that are being made, or else the first candidate that is not measured yet."""
    candidates = list(comparison.candidates)
    making = [index for index, it in enumerate(candidates) if it["state"] == "QUANTISING"]
    for index in making or [index for index, it in enumerate(candidates) if it["state"] not in FINAL][:1]:
        candidate = candidates[index]
        try:
            changes = await STEPS[candidate["state"]](context, comparison, candidate)
        except grpc.aio.AioRpcError as error:
            if error.code() not in REFUSALS:
                raise
            changes = _failed(from_rpc(error).reason, error.details() or "")
        except DomainError as error:
            changes = _failed(error.reason, error.message)
        candidates[index] = candidate | changes
    return candidates


async def _look_at_variant(context: Context, _: Comparison, candidate: Candidate) -> Candidate:
    request = variant_service_pb2.GetVariantRequest(name=candidate["variant"])
    variant = await context.clients.stub(VariantServiceStub).GetVariant(request)
    state = enum_name(variant, "state")
    if state == "READY":
        return {"state": "WAITING", "size_bytes": variant.size_bytes, "note": variant.note}
    if state == "CREATING":
        return {}
    return _failed(variant.failure_reason or state, variant.failure_message or f"The variant is {state}.")


async def _start(context: Context, comparison: Comparison, candidate: Candidate) -> Candidate:
    async with context.db.transaction() as session:
        if earlier := await _evaluation_of(session, comparison, candidate):
            return {"state": "EVALUATING", "evaluation": earlier.name}
        suite = await resources.get(session, Suite, comparison.suite)
    evaluation_id = new_id()
    holder = f"projects/{comparison.project}/evaluations/{evaluation_id}"
    spec = await pinned_spec(context, candidate["variant"], suite, holder, measure_cost=True)
    if spec["engine"] == "VLLM":  # else it would wait for ever where its flavor has no card
        await check_vllm(context, comparison.only_flavor)
    given = {
        "display_name": f"Comparison {comparison.number}: {comparisons.called(comparison, candidate)}",
        "variant": candidate["variant"],
        "suite": comparison.suite,
        "queue": comparison.queue,
        "spec": spec | ({"only_flavor": comparison.only_flavor} if comparison.only_flavor else {}),
    }
    request_id = _request_id(comparison, candidate)
    async with context.db.transaction() as session:
        made = await service.create_evaluation(session, comparison.project, evaluation_id, given, request_id)
    context.wake()
    return {"state": "EVALUATING", "evaluation": made.name}


async def _evaluation_of(session: Session, comparison: Comparison, candidate: Candidate) -> Evaluation | None:
    """Found by what it was asked for with: a kill may have come between an evaluation and our note of it."""
    return await resources.by_request(session, Evaluation, comparison.project, _request_id(comparison, candidate))


def _request_id(comparison: Comparison, candidate: Candidate) -> str:
    return "-".join([last(comparison.name), *candidate["variant"].split("/")[3::2]])


async def _look_at_evaluation(context: Context, comparison: Comparison, candidate: Candidate) -> Candidate:
    async with context.db.transaction() as session:
        evaluation = await resources.get(session, Evaluation, candidate["evaluation"])
    if evaluation.state not in service.ENDED:
        return {}
    if evaluation.state != EvaluationState.SUCCEEDED:
        reason = evaluation.failure_reason or evaluation.state
        return _failed(reason, evaluation.failure_message or f"Evaluation {evaluation.number} was stopped.")
    flavor, prices = await _prices(context, evaluation)
    return comparisons.figures(evaluation, comparison.metric, flavor, prices)


async def _prices(context: Context, evaluation: Evaluation) -> tuple[str, Prices]:
    """The flavor that an evaluation ran on, and what its cores and cards cost."""
    request = workload_service_pb2.GetWorkloadRequest(name=evaluation.workload)
    workload = await context.clients.stub(WorkloadServiceStub).GetWorkload(request)
    prices = await known_flavors(context.clients)
    return workload.flavor, prices.get(workload.flavor, Prices())


async def _conclude(context: Context, claim: Claim[Comparison]) -> None:
    comparison = claim.row
    candidates, rows = [], {}
    for candidate in comparison.candidates:
        if candidate["state"] == "MEASURED":
            try:
                rows[candidate["variant"]] = await _answers(context, candidate)
            except results.ResultsDamaged as error:
                candidate = candidate | _failed(error.reason, error.message)
        candidates.append(candidate)
    if baseline := comparisons.baseline_of(comparison, candidates):
        candidates = await asyncio.to_thread(
            comparisons.judged, candidates, baseline, rows, comparison.metric, comparison.margin
        )
    async with context.db.transaction() as session:
        await comparisons.conclude(session, await claim.reload(session), candidates)


async def _answers(context: Context, candidate: Candidate) -> dict[str, gate.Row]:
    async with context.db.transaction() as session:
        evaluation = await resources.get(session, Evaluation, candidate["evaluation"])
    return results.as_gate_rows(await results.read(context.store, evaluation))


async def _stop(context: Context, claim: Claim[Comparison]) -> None:
    """Stops the evaluation that runs, if there is one; variants are left to be finished, for they are of use."""
    async with context.db.transaction() as session:
        comparison = await claim.reload(session)
        made = [await _evaluation_of(session, comparison, candidate) for candidate in comparison.candidates]
        open_ones = [it for it in made if it and it.state not in service.ENDED]
        for evaluation in open_ones:
            await service.cancel_evaluation(session, evaluation.name, "")
        if not open_ones:
            comparison.end_time = session.clock.now()
            await transition(session, comparison, EvaluationState.CANCELLED)
    context.wake()


def _failed(reason: str, message: str) -> Candidate:
    return {"state": "FAILED", "failure_reason": reason, "failure_message": message}


STEPS: dict[str, Any] = {"QUANTISING": _look_at_variant, "WAITING": _start, "EVALUATING": _look_at_evaluation}
