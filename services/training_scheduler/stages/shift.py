"""shift: the new version takes the traffic over in steps; a target that fails gives it back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import grpc
from google.protobuf import json_format
from gyre.inference_gateway.v1 import deployment_pb2, deployment_service_pb2
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre_kit.app import Context
from gyre_kit.errors import from_rpc
from gyre_kit.names import last

from services.training_scheduler.lap import Lap, StageResult, done, failed, skipped, waiting

Deployment = deployment_pb2.Deployment
Target = deployment_pb2.Target
TargetSpec = deployment_service_pb2.TargetSpec
GONE = (Target.STATE_DRAINING, Target.STATE_STOPPED)


async def shift(context: Context, lap: Lap) -> StageResult:
    """Facts: `old`, the split before; `at`, the step that was asked for last; `since`, when it came into force."""
    if not lap.spec.deployment:
        return skipped("Not asked for.")
    deployment = await _deployment(context, lap)  # 1 see
    known = lap.facts("shift")
    if "old" not in known:  # 2 remember
        before = json.dumps(old_split(deployment.targets, lap.served_variant))
        facts = {"old": before, "at": "0", "since": ""}
        return waiting("Begins.", resource=deployment.name, facts=facts, again=True)
    old = [json_format.ParseDict(it, TargetSpec()) for it in json.loads(known["old"])]
    steps = list(lap.spec.traffic_steps) if old and lap.spec.traffic_steps else [100]
    at = int(known["at"])
    mine = next((it for it in deployment.targets if it.variant == lap.served_variant and it.state not in GONE), None)
    if mine is not None and mine.state == Target.STATE_FAILED:
        return await _turn_back(context, lap, old, mine)
    if mine is not None and mine.state == Target.STATE_READY and mine.weight_percent >= steps[at]:  # 3 hold
        return _hold(context, lap, steps, at, known["since"])
    await _ask(context, lap, split(old, lap.served_variant, steps[at]), f"shift-{at}")  # 4 go on
    return waiting(f"The new version comes up for {steps[at]} %.", resource=deployment.name)


def old_split(targets: Sequence[Target], candidate: str) -> list[dict[str, Any]]:
    """The targets that have traffic now, but for the candidate, as they would be asked for again."""
    return [
        json_format.MessageToDict(
            TargetSpec(
                variant=it.variant,
                engine=it.engine,
                weight_percent=it.weight_percent,
                upstream_url=it.upstream_url,
                upstream_model=it.upstream_model,
                upstream_key_ref=it.upstream_key_ref,
            ),
            preserving_proto_field_name=True,
        )
        for it in targets
        if it.weight_percent and it.variant != candidate
    ]


def split(old: Sequence[TargetSpec], candidate: str, percent: int) -> list[TargetSpec]:
    """`percent` for the candidate and the rest for the old ones, as they shared it; who gets nothing is left out."""
    whole = sum(it.weight_percent for it in old)
    left = 100 - percent if whole else 0
    shares: list[TargetSpec] = []
    for it in old:
        part = TargetSpec()
        part.CopyFrom(it)
        part.weight_percent = left * it.weight_percent // whole
        shares.append(part)
    rest = left - sum(it.weight_percent for it in shares)
    if rest:
        max(shares, key=lambda it: it.weight_percent).weight_percent += rest
    candidates = [TargetSpec(variant=candidate, weight_percent=100 - left)] if left < 100 else []
    return [*candidates, *(it for it in shares if it.weight_percent)]


def _hold(context: Context, lap: Lap, steps: Sequence[int], at: int, since: str) -> StageResult:
    """The step is in force: the last one ends the stage, the others last as long as was asked for."""
    if at == len(steps) - 1:
        return done("The new version serves; the old one drains.", resource=lap.spec.deployment)
    now = context.clock.now()
    message = f"{steps[at]} % goes to the new version."
    if not since:
        return waiting(message, facts={"since": now.isoformat()})
    if now - datetime.fromisoformat(since) < timedelta(seconds=lap.spec.traffic_step_seconds):
        return waiting(message)
    return waiting(message, facts={"at": str(at + 1), "since": ""}, again=True)


async def _turn_back(context: Context, lap: Lap, old: Sequence[TargetSpec], mine: Target) -> StageResult:
    if old and not await _ask(context, lap, split(old, lap.served_variant, 0), "shift-back"):
        return waiting("The new target failed; its traffic goes back.", resource=lap.spec.deployment)
    message = f"The new target failed ({mine.failure_reason}: {mine.failure_message}); the traffic is where it was."
    return failed("TARGET_UNHEALTHY", message, resource=lap.spec.deployment)


async def _deployment(context: Context, lap: Lap) -> Deployment:
    """As it is now; made with the new version alone where it is missing."""
    stub = context.clients.stub(DeploymentServiceStub)
    try:
        return await stub.GetDeployment(deployment_service_pb2.GetDeploymentRequest(name=lap.spec.deployment))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
    return await stub.CreateDeployment(
        deployment_service_pb2.CreateDeploymentRequest(
            parent=lap.parent,
            deployment_id=last(lap.spec.deployment),
            targets=[TargetSpec(variant=lap.served_variant, weight_percent=100)],
            queue=lap.spec.queue,
            request_id=lap.request_id("deployment"),
        )
    )


async def _ask(context: Context, lap: Lap, targets: Sequence[TargetSpec], step: str) -> bool:
    """Asks for a split; False while the gateway is at another one: then it is asked again at the next look."""
    request = deployment_service_pb2.ShiftTrafficRequest(
        name=lap.spec.deployment, targets=targets, request_id=lap.request_id(step)
    )
    try:
        await context.clients.stub(DeploymentServiceStub).ShiftTraffic(request)
    except grpc.aio.AioRpcError as error:
        if from_rpc(error).reason == "SHIFT_IN_PROGRESS":
            return False
        raise
    return True
