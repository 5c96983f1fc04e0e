"""How targets and their replicas do: asked of the scheduler, of the engines themselves, and of the workers that hold
requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import aiohttp
import grpc
from gyre.gpu_scheduler.v1 import workload_pb2, workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import Context
from gyre_kit.names import last
from gyre_kit.render import enum_name

from services.inference_gateway import lookups, store
from services.inference_gateway.engines.base import Endpoint, Health
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.models.deployments import Deployment, Replica, ReplicaState, Target, TargetState
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.sessions import SessionLedger
from services.inference_gateway.proxy.upstream_keys import upstream_key
from services.inference_gateway.replicas import launching
from services.inference_gateway.replicas import service as replicas
from services.inference_gateway.targets import Sighting, bounds

SETTLED = (TargetState.READY, TargetState.STANDBY)


async def room_is_wanted(context: Context) -> bool:
    """Whether work of any project waits for room on the cards or the CPU."""
    stub = context.clients.stub(WorkloadServiceStub)
    request = workload_service_pb2.ListWorkloadsRequest(parent="projects/-", filter="state=QUEUED", page_size=100)
    waiting = (await stub.ListWorkloads(request)).workloads
    return any(workload.waiting_reason.startswith("NO_FREE_") for workload in waiting)


async def look_at_targets(
    context: Context, targets: Sequence[Target], rows: Mapping[str, Sequence[Replica]], room_wanted: bool
) -> dict[str, Sighting]:
    """What is to be said of a target itself; how it does otherwise follows from its replicas."""
    seen = {}
    for target in targets:
        if target.state == TargetState.DRAINING:
            sighting = await _drain(context, target, rows.get(target.id, ()))
        elif target.standby_time and _stood_enough(context, target, target.standby_time, room_wanted):
            sighting = Sighting(TargetState.DRAINING)
        else:
            sighting = await _ask_upstream(context, target) if target.upstream_url else None
        if sighting:
            seen[target.id] = sighting
    return seen


def _stood_enough(context: Context, target: Target, since: datetime, room_wanted: bool) -> bool:
    """Kept warm for a while, unless others want its room; and as long as sessions that began on it go on, but not for
    ever.
    """
    settings = context.settings
    sessions: SessionLedger = context.state["sessions"]
    stood = (context.clock.now() - since).total_seconds()
    holds_room = target.state == TargetState.STANDBY and target.variant != ""
    is_over = stood > settings.standby_seconds or (room_wanted and holds_room)
    return is_over and (stood > settings.session_hold_seconds or not sessions.active(target.id))


async def look_at_replicas(
    context: Context, deployment: Deployment, targets: Sequence[Target], rows: Mapping[str, Sequence[Replica]]
) -> dict[str, replicas.Seen]:
    """All at once, for one may let us wait. Those that failed are left alone until they are started anew."""
    looks, now = {}, context.clock.now()
    for target in targets:
        limits = bounds(deployment, now, target.cold_start_seconds)
        guaranteed = replicas.guaranteed(target, rows.get(target.id, ()), limits)
        for replica in rows.get(target.id, ()):
            if replica.state == ReplicaState.DRAINING:
                looks[replica.id] = _drain_replica(context, replica)
            elif replica.state != ReplicaState.FAILED and target.state != TargetState.DRAINING:
                wanted = launching.workload(context.settings, deployment, target, guaranteed=replica.id in guaranteed)
                looks[replica.id] = _look_at_replica(context, target, replica, wanted)
    return dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))


async def _look_at_replica(
    context: Context, target: Target, replica: Replica, wanted: workload_pb2.WorkloadSpec
) -> replicas.Seen:
    """Ready means: its workload runs, and it gave a real answer."""
    if replica.state == ReplicaState.PENDING:
        for version in store.versions_of(target):
            await lookups.pin(context.clients, version, target.deployment)
    stub = context.clients.stub(WorkloadServiceStub)
    ensure = workload_service_pb2.EnsureWorkloadRequest(name=replica.workload, spec=wanted)
    workload = await stub.EnsureWorkload(ensure)
    state = enum_name(workload, "state")
    if state in ("FAILED", "CANCELLED", "FINISHED"):
        if state == "FAILED":
            return replicas.Seen(ReplicaState.FAILED, "", workload.failure_reason, workload.failure_message)
        return replicas.Seen(ReplicaState.FAILED, "", state, f"Its workload is {state}, though it was to go on.")
    if state != "RUNNING" or not workload.address:
        waiting = ReplicaState.PENDING if state == "QUEUED" else ReplicaState.STARTING
        why = workload.failure_message if workload.waiting_reason == "BACKING_OFF" else ""
        return replicas.Seen(waiting, "", workload.waiting_reason if why else "", why or workload.waiting_reason)
    is_known = replica.state == ReplicaState.READY and replica.address == workload.address
    if is_known and replica.id not in context.state["returning"]:
        return replicas.Seen(ReplicaState.READY)
    health = await _health(context, target, Endpoint(f"http://{workload.address}/v1", last(target.deployment)))
    if health.ready:
        return replicas.Seen(ReplicaState.READY, workload.address)
    return replicas.Seen(ReplicaState.STARTING, workload.address, failure_message=health.detail)


async def _ask_upstream(context: Context, target: Target) -> Sighting:
    """An engine that runs already: it is believed once it answered, and the data plane sees when it does no more."""
    if target.state in SETTLED:
        return Sighting(TargetState(target.state))
    endpoint = Endpoint(target.upstream_url, target.upstream_model, upstream_key(target.upstream_key_ref))
    health = await _health(context, target, endpoint)
    return Sighting(TargetState.READY) if health.ready else Sighting(TargetState.STARTING, "", health.detail)


async def _health(context: Context, target: Target, endpoint: Endpoint) -> Health:
    http: aiohttp.ClientSession = context.state["http"]
    return await ENGINES[target.engine.lower()].health(http, endpoint)


async def _drain(context: Context, target: Target, rows: Sequence[Replica]) -> Sighting | None:
    """Stopped when all its replicas are; or when nothing runs any more on an engine that is not ours."""
    if rows or (target.upstream_url and not _is_drained(context, target.id, target.drain_time)):
        return None
    async with context.db.transaction() as session:
        gone = await store.versions_only_of(session, target)
    for version in gone:
        await lookups.unpin(context.clients, version, target.deployment)
    return Sighting(TargetState.STOPPED)


async def _drain_replica(context: Context, replica: Replica) -> replicas.Seen:
    """Stopped only when nothing runs on it any more, or its time is over."""
    if not _is_drained(context, replica.id, replica.drain_time):
        return replicas.Seen(ReplicaState.DRAINING)
    stub = context.clients.stub(WorkloadServiceStub)
    try:
        workload = await stub.CancelWorkload(workload_service_pb2.CancelWorkloadRequest(name=replica.workload))
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND and error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            raise
    else:
        if enum_name(workload, "state") not in ("CANCELLED", "FAILED", "FINISHED"):
            return replicas.Seen(ReplicaState.DRAINING)
    return replicas.Seen(ReplicaState.STOPPED)


def _is_drained(context: Context, engine: str, drain_time: datetime | None) -> bool:
    pool: ProxyPool = context.state["pool"]
    asked_to = drain_time or context.clock.now()
    if context.clock.now() - asked_to > timedelta(seconds=context.settings.drain_seconds):
        return True
    hidden_since = context.state["hidden"].get(engine)
    return hidden_since is not None and pool.drained(engine, hidden_since)
