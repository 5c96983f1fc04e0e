"""evaluate: candidate and baseline on each suite, both as they are or will be served."""

from __future__ import annotations

import grpc
from gyre.evaluation.v1 import evaluation_pb2, evaluation_service_pb2
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from gyre.inference_gateway.v1 import deployment_pb2, deployment_service_pb2
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre.model_registry.v1 import variant_pb2
from gyre_kit.app import Context
from gyre_kit.names import last
from gyre_kit.render import enum_name

from services.training_scheduler import inputs
from services.training_scheduler.lap import Lap, StageResult, done, failed, skipped, waiting
from services.training_scheduler.stages.register import hf_variant, variant_of

Evaluation = evaluation_pb2.Evaluation
OPEN = ("QUEUED", "RUNNING")


async def evaluate(context: Context, lap: Lap) -> StageResult:
    """Facts: `baseline_variant`, and `candidate/{suite}` and `baseline/{suite}` with the names of evaluations."""
    if not lap.spec.suites:
        return skipped("Not asked for.")
    baseline = lap.facts("evaluate").get("baseline_variant") or await _baseline(context, lap)
    if not baseline:
        return waiting("Converting the baseline to the candidate's form.")
    evaluations: dict[str, Evaluation] = {}
    for suite in lap.spec.suites:
        candidate = await _ensure(context, lap, "candidate", lap.served_variant, suite)
        evaluations[f"candidate/{suite}"] = candidate
        evaluations[f"baseline/{suite}"] = await _of_baseline(context, lap, baseline, suite)
    return _outcome(lap, evaluations, baseline)


def _outcome(lap: Lap, evaluations: dict[str, Evaluation], baseline: str) -> StageResult:
    facts = {role: evaluation.name for role, evaluation in evaluations.items()} | {"baseline_variant": baseline}
    cost = sum({it.name: it.cost_microusd for it in evaluations.values() if it.pipeline == lap.name}.values())
    facts["cost_microusd"] = str(cost)
    first = next(iter(evaluations.values())).name
    for evaluation in evaluations.values():
        if enum_name(evaluation, "state") not in (*OPEN, "SUCCEEDED"):
            reason = evaluation.failure_reason or f"EVALUATION_{enum_name(evaluation, 'state')}"
            message = f"{evaluation.name}: {evaluation.failure_message or 'somebody cancelled it'}"
            return failed(reason, message, resource=evaluation.name, facts=facts)
    finished = sum(it.state == Evaluation.STATE_SUCCEEDED for it in evaluations.values())
    if finished < len(evaluations):
        return waiting(f"{finished} of {len(evaluations)} measured.", resource=first, facts=facts)
    return done(f"{len(evaluations)} measured.", resource=first, facts=facts)


async def _baseline(context: Context, lap: Lap) -> str:
    """What the gate names, else what the deployment serves now, else the base in the candidate's form; empty while
    that form is being made.
    """
    if lap.spec.gate.baseline_variant:
        return lap.spec.gate.baseline_variant
    if lap.spec.deployment and (served := await _served_now(context, lap)):
        return served
    base = await inputs.find_weights(context, lap.spec.base, head="ForCausalLM")
    if not lap.spec.quantisations:
        return await hf_variant(context, base.version)
    variant = await variant_of(context, lap, base.version, lap.spec.quantisations[0])
    return variant.name if variant.state == variant_pb2.Variant.STATE_READY else ""


async def _served_now(context: Context, lap: Lap) -> str:
    """The registry variant with most of the deployment's traffic; empty if there is none."""
    stub = context.clients.stub(DeploymentServiceStub)
    try:
        request = deployment_service_pb2.GetDeploymentRequest(name=lap.spec.deployment)
        deployment: deployment_pb2.Deployment = await stub.GetDeployment(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return ""
        raise
    serving = [it for it in deployment.targets if it.variant and it.weight_percent]
    return max(serving, key=lambda it: it.weight_percent).variant if serving else ""


async def _of_baseline(context: Context, lap: Lap, variant: str, suite: str) -> Evaluation:
    """An evaluation that was made before serves as well: neither suite nor variant ever changes."""
    stub = context.clients.stub(EvaluationServiceStub)
    if not lap.facts("evaluate").get(f"baseline/{suite}"):
        known = await stub.ListEvaluations(
            evaluation_service_pb2.ListEvaluationsRequest(
                parent=lap.parent, filter=f"state=SUCCEEDED AND suite={suite} AND variant={variant}", page_size=1
            )
        )
        if known.evaluations:
            return known.evaluations[0]
    return await _ensure(context, lap, "baseline", variant, suite)


async def _ensure(context: Context, lap: Lap, role: str, variant: str, suite: str) -> Evaluation:
    """The evaluation in this role, asked for if that was not done yet."""
    stub = context.clients.stub(EvaluationServiceStub)
    if name := lap.facts("evaluate").get(f"{role}/{suite}"):
        return await stub.GetEvaluation(evaluation_service_pb2.GetEvaluationRequest(name=name))
    return await stub.CreateEvaluation(
        evaluation_service_pb2.CreateEvaluationRequest(
            parent=lap.parent,
            display_name=f"{lap.title}: {role}, {last(suite)}",
            variant=variant,
            suite=suite,
            queue=lap.spec.queue,
            priority=lap.spec.priority,
            pipeline=lap.name,
            request_id=lap.request_id(f"{role}-{last(suite)}"),
        )
    )


async def stop_evaluations(context: Context, lap: Lap) -> bool:
    """Asks every evaluation of this lap to stop; True when none is left. Found by asking, for a kill may have come
    between an evaluation and our note of it.
    """
    stub = context.clients.stub(EvaluationServiceStub)
    left = False
    for state in (*OPEN, "CANCELLING"):
        request = evaluation_service_pb2.ListEvaluationsRequest(
            parent=lap.parent, filter=f"state={state}", page_size=500
        )
        for evaluation in (await stub.ListEvaluations(request)).evaluations:
            if evaluation.pipeline != lap.name:
                continue
            left = True
            if state != "CANCELLING":
                await stub.CancelEvaluation(evaluation_service_pb2.CancelEvaluationRequest(name=evaluation.name))
    return not left
