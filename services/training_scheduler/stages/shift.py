"""shift: the new version takes the traffic over. The gateway goes the steps, and back if the new target breaks."""

from __future__ import annotations

from datetime import timedelta

import grpc
from google.protobuf import duration_pb2
from gyre.inference_gateway.v1 import deployment_service_pb2, rollout_pb2
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre_kit.app import Context
from gyre_kit.errors import from_rpc
from gyre_kit.names import last
from gyre_kit.render import enum_name

from services.training_scheduler.lap import Lap, StageResult, done, failed, skipped, waiting

Rollout = rollout_pb2.Rollout
TargetSpec = deployment_service_pb2.TargetSpec


async def shift(context: Context, lap: Lap) -> StageResult:
    """Facts: `rollout`, its name."""
    if not lap.spec.deployment:
        return skipped("Not asked for.")
    name = lap.facts("shift").get("rollout")
    if not name and not await _ask(context, lap):
        return waiting("Another change of the split comes first.", resource=lap.spec.deployment)
    stub = context.clients.stub(DeploymentServiceStub)
    if name:
        rollout = await stub.GetRollout(deployment_service_pb2.GetRolloutRequest(name=name))
    else:
        rollout = await _mine(context, lap)
    return _outcome(lap, rollout)


async def take_back(context: Context, lap: Lap) -> None:
    """For a lap that is stopped: its rollout is not gone on with. Found by asking, for its note may be lost."""
    if not lap.spec.deployment:
        return
    try:
        rollout = await _mine(context, lap)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return
    if rollout.state == Rollout.STATE_RUNNING and rollout.before:
        request = deployment_service_pb2.RollBackRequest(
            name=lap.spec.deployment, message=f"{lap.name} was stopped", request_id=lap.request_id("shift-back")
        )
        await context.clients.stub(DeploymentServiceStub).RollBack(request)


def _outcome(lap: Lap, rollout: Rollout) -> StageResult:
    facts = {"rollout": rollout.name}
    if rollout.state == Rollout.STATE_RUNNING:
        message = "The new version comes up."
        if rollout.history:
            message = f"{rollout.history[-1].percent} % of the way to the new version."
        return waiting(message, resource=lap.spec.deployment, facts=facts)
    if rollout.state == Rollout.STATE_SUCCEEDED:
        return done("The new version serves; the old one stands by.", resource=lap.spec.deployment, facts=facts)
    reason = rollout.failure_reason or enum_name(rollout, "state")
    message = f"The traffic is where it was ({rollout.failure_message or reason})."
    return failed(reason, message, resource=lap.spec.deployment, facts=facts)


async def _ask(context: Context, lap: Lap) -> bool:
    """Asks for the whole split, the deployment made where it is missing; False while another change is on its way."""
    stub = context.clients.stub(DeploymentServiceStub)
    targets = [TargetSpec(variant=lap.served_variant, weight_percent=100)]
    step_time = duration_pb2.Duration()
    step_time.FromTimedelta(timedelta(seconds=lap.spec.traffic_step_seconds))
    request = deployment_service_pb2.ShiftTrafficRequest(
        name=lap.spec.deployment,
        targets=targets,
        steps=lap.spec.traffic_steps,
        step_time=step_time,
        request_id=lap.request_id("shift"),
    )
    try:
        await stub.ShiftTraffic(request)
    except grpc.aio.AioRpcError as error:
        if from_rpc(error).reason == "SHIFT_IN_PROGRESS":
            return False
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        await stub.CreateDeployment(
            deployment_service_pb2.CreateDeploymentRequest(
                parent=lap.parent,
                deployment_id=last(lap.spec.deployment),
                targets=targets,
                queue=lap.spec.queue,
                request_id=lap.request_id("deployment"),
            )
        )
    return True


async def _mine(context: Context, lap: Lap) -> Rollout:
    """The newest rollout to this lap's variant; an empty one if there is none."""
    request = deployment_service_pb2.ListRolloutsRequest(parent=lap.spec.deployment)
    reply = await context.clients.stub(DeploymentServiceStub).ListRollouts(request)
    variant = lap.served_variant
    return next((it for it in reply.rollouts if any(each.variant == variant for each in it.after)), Rollout())
