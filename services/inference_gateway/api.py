"""Parse, call, render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf import duration_pb2
from gyre.inference_gateway.v1 import (
    deployment_pb2,
    deployment_service_pb2,
    replica_pb2,
    rollout_pb2,
)
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.names import project_of
from gyre_kit.render import render

from services.inference_gateway import lookups, publishing, routes, service, store
from services.inference_gateway.models.deployments import Deployment, Replica, ReplicaState, Target
from services.inference_gateway.models.rollouts import Rollout
from services.inference_gateway.replicas import guarantee
from services.inference_gateway.replicas.scaling import ONE, Bounds
from services.inference_gateway.replicas.schedule import ALWAYS, BadSchedule, Schedule, Window, clock, minute
from services.inference_gateway.rollouts import guard
from services.inference_gateway.rollouts.plan import AT_ONCE, Plan
from services.inference_gateway.rollouts.watching import MEASURES

EVERY_DAY = range(1, 8)  # as ScheduleWindow.Day numbers them


class DeploymentApi(DeploymentServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateDeployment(
        self, request: deployment_service_pb2.CreateDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        name = f"{request.parent}/deployments/{request.deployment_id}"
        specs = list(request.targets)
        if request.alias and not specs:
            variant = await lookups.variant_of_alias(self.context.clients, request.alias)
            specs = [deployment_service_pb2.TargetSpec(variant=variant, weight_percent=100)]
        wanted = [await lookups.look_up(self.context.clients, spec, name) for spec in specs]
        async with self.db.transaction() as session:
            deployment = await service.create(
                session,
                project_of(request.parent),
                request.deployment_id,
                wanted,
                display_name=request.display_name,
                alias=request.alias,
                queue=request.queue,
                scale=bounds_of(request.scale) if request.HasField("scale") else ONE,
                schedule=schedule_of(request.scale),
                request_id=request.request_id,
            )
        return await self._reply(deployment)

    async def GetDeployment(
        self, request: deployment_service_pb2.GetDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.existing(session, request.name)
        return await shown(self.context, deployment)

    async def ListDeployments(
        self, request: deployment_service_pb2.ListDeploymentsRequest, _: Any
    ) -> deployment_service_pb2.ListDeploymentsResponse:
        async with self.db.transaction() as session:
            found = await store.deployment_page(session, request)
            names = [row.name for row in found.rows]
            targets = await store.shown_targets(session, names)
            rows = await store.replicas_of(session, [each.id for name in names for each in targets[name]])
            rollouts = await store.newest_rollouts(session, names)
        own = routes.own_of(self.context.settings)
        return deployment_service_pb2.ListDeploymentsResponse(
            deployments=[to_proto(row, targets[row.name], rows, rollouts.get(row.name), own) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdateDeployment(
        self, request: deployment_service_pb2.UpdateDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.update(session, request.deployment, list(request.update_mask.paths))
        return await self._reply(deployment)

    async def DeleteDeployment(
        self, request: deployment_service_pb2.DeleteDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.delete(session, request.name, request.etag)
        return await self._reply(deployment)

    async def ShiftTraffic(
        self, request: deployment_service_pb2.ShiftTrafficRequest, _: Any
    ) -> deployment_pb2.Deployment:
        wanted = [await lookups.look_up(self.context.clients, spec, request.name) for spec in request.targets]
        plan = _plan(request)
        async with self.db.transaction() as session:
            deployment = await service.shift(
                session, request.name, wanted, plan, etag=request.etag, request_id=request.request_id
            )
        return await self._reply(deployment)

    async def RollBack(self, request: deployment_service_pb2.RollBackRequest, _: Any) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.roll_back(
                session,
                request.name,
                message=request.message,
                etag=request.etag,
                request_id=request.request_id,
            )
        await publishing.workers_know(self.context)
        return await self._reply(deployment)

    async def GetRollout(self, request: deployment_service_pb2.GetRolloutRequest, _: Any) -> rollout_pb2.Rollout:
        async with self.db.transaction() as session:
            return rollout_to_proto(await resources.get(session, Rollout, request.name))

    async def ListRollouts(
        self, request: deployment_service_pb2.ListRolloutsRequest, _: Any
    ) -> deployment_service_pb2.ListRolloutsResponse:
        async with self.db.transaction() as session:
            found = await store.rollout_page(session, request)
        return deployment_service_pb2.ListRolloutsResponse(
            rollouts=[rollout_to_proto(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def _reply(self, deployment: Deployment) -> deployment_pb2.Deployment:
        self.context.wake()
        return await shown(self.context, deployment)


async def shown(context: Context, deployment: Deployment) -> deployment_pb2.Deployment:
    """With what belongs to it."""
    async with context.db.transaction() as session:
        targets = await store.targets_of(session, deployment.name)
        rows = await store.replicas_of(session, [target.id for target in targets])
        rollouts = await store.newest_rollouts(session, [deployment.name])
    reply = to_proto(deployment, targets, rows, rollouts.get(deployment.name), routes.own_of(context.settings))
    reply.guarantee_warning = await guarantee.warning(context, deployment, targets)
    return reply


def to_proto(
    deployment: Deployment,
    targets: Sequence[Target],
    replicas: Mapping[str, Sequence[Replica]],
    rollout: Rollout | None,
    own: routes.Own = routes.NOTHING_SAID,
) -> deployment_pb2.Deployment:
    """`replicas` by target id."""
    rows = [_target(target, replicas.get(target.id, ()), own) for target in targets]
    change = rollout_to_proto(rollout) if rollout else None
    reply = render(deployment, deployment_pb2.Deployment, targets=rows, rollout=change, scale=_scale(deployment))
    if deployment.fallback_seconds:
        reply.fallback_after.FromTimedelta(timedelta(seconds=deployment.fallback_seconds))
    return reply


def _scale(deployment: Deployment) -> replica_pb2.Scale:
    scale = replica_pb2.Scale(min_replicas=deployment.min_replicas, max_replicas=deployment.max_replicas)
    scale.idle_time.FromTimedelta(timedelta(seconds=deployment.idle_seconds))
    plan = Schedule.from_json(deployment.schedule)
    if plan.windows:
        scale.schedule.time_zone = plan.time_zone
    for window in plan.windows:
        scale.schedule.windows.add(
            days=[replica_pb2.ScheduleWindow.Day.values()[day + 1] for day in window.days],
            start=clock(window.start),
            end=clock(window.end),
            min_replicas=window.least,
            max_replicas=window.most,
        )
    return scale


def _target(target: Target, replicas: Sequence[Replica], own: routes.Own) -> deployment_pb2.Target:
    """With what it costs: a replica by the settings, an upstream by what was said of it."""
    row = render(target, deployment_pb2.Target)
    row.ready_replicas = sum(each.state == ReplicaState.READY for each in replicas)
    if replicas:
        row.workload, row.address = replicas[0].workload, replicas[0].address
    if target.variant:
        row.input_price_microusd, row.output_price_microusd = own.input_price, own.output_price
    return row


def rollout_to_proto(rollout: Rollout) -> rollout_pb2.Rollout:
    step_time = duration_pb2.Duration()
    step_time.FromTimedelta(timedelta(seconds=rollout.step_seconds))
    evidence = [guard.from_json(each) for each in rollout.evidence]
    alarm_at = len(evidence) / rollout.guard["false_alarm"]
    shown = [_evidence(each, alarm_at) for each in evidence]
    return render(rollout, rollout_pb2.Rollout, step_time=step_time, evidence=shown)


def _evidence(evidence: guard.Evidence, alarm_at: float) -> dict[str, Any]:
    new, old = evidence.new, evidence.old
    counts = {"new_bad": new.bad, "new_count": new.all, "old_bad": old.bad, "old_count": old.all}
    return counts | {"measure": evidence.measure, "e_value": evidence.e_value, "alarm_at": alarm_at}


def bounds_of(scale: replica_pb2.Scale) -> Bounds:
    """What is left out is as the proto says. Raises: BadScale."""
    idle = scale.idle_time.ToTimedelta().total_seconds() if scale.HasField("idle_time") else ONE.idle_seconds
    return Bounds(scale.min_replicas, scale.max_replicas or max(1, scale.min_replicas), idle)


def schedule_of(scale: replica_pb2.Scale) -> Schedule:
    """What is left out is as the proto says. Raises: BadSchedule."""
    return Schedule(scale.schedule.time_zone or ALWAYS.time_zone, tuple(map(_window, scale.schedule.windows)))


def _window(given: replica_pb2.ScheduleWindow) -> Window:
    if not set(given.days) <= set(EVERY_DAY):
        raise BadSchedule(field="scale.schedule.windows.days", allowed="DAY_MONDAY to DAY_SUNDAY")
    return Window(
        days=tuple(day - 1 for day in given.days or EVERY_DAY),
        start=minute(given.start, "scale.schedule.windows.start"),
        end=minute(given.end, "scale.schedule.windows.end"),
        least=given.min_replicas,
        most=given.max_replicas or max(1, given.min_replicas),
    )


def _plan(request: deployment_service_pb2.ShiftTrafficRequest) -> Plan:
    """What is left out is as the proto says."""
    steps, step_time = list(request.steps) or AT_ONCE.steps, request.step_time.ToTimedelta()
    if not request.HasField("guard"):
        return Plan(steps, step_time)
    watched = [measure for measure in MEASURES if getattr(request.guard, measure)]
    return Plan(steps, step_time, watched, request.guard.false_alarm or guard.FALSE_ALARM)
