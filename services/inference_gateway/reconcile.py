"""Long work: targets come up, are looked after and drain; the data plane hears of every change."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import aiohttp
import grpc
import sqlalchemy as sa
from gyre.api_gateway.v1 import key_pb2, key_service_pb2, project_pb2, project_service_pb2
from gyre.api_gateway.v1.key_service_pb2_grpc import KeyServiceStub
from gyre.api_gateway.v1.project_service_pb2_grpc import ProjectServiceStub
from gyre.gpu_scheduler.v1 import workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre.inference_gateway.v1 import deployment_service_pb2
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.events import to_dict
from gyre_kit.names import last, project_of
from gyre_kit.reconcile import lease
from gyre_kit.render import enum_name

from services.inference_gateway import (
    batch_keys,
    batch_store,
    launching,
    load,
    lookups,
    policies,
    policy_store,
    replicas,
    routes,
    service,
    spending,
    store,
    traffic_store,
)
from services.inference_gateway.engines.base import Endpoint, Health, list_models
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.gauges import Gauges
from services.inference_gateway.models import (
    Deployment,
    KnownKey,
    KnownProject,
    Replica,
    ReplicaState,
    Target,
    TargetState,
)
from services.inference_gateway.prompts import NEWEST_SERVED
from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.sessions import SessionLedger
from services.inference_gateway.proxy.snapshot import Snapshot, write_snapshot
from services.inference_gateway.proxy.upstream_keys import upstream_key
from services.inference_gateway.regions import RegionRefused
from services.inference_gateway.returning import Returning
from services.inference_gateway.rollouts import NO_NEWS
from services.inference_gateway.targets import Sighting
from services.inference_gateway.watching import Watch

log = logging.getLogger(__name__)
HURRYING, RESTING = 0.3, 2.0  # seconds between two looks at a deployment that changes, and at one that does not
KEPT = timedelta(days=7)  # how long a replica that stopped can be looked up, and its log be read
HOME_PROJECT = "default"
SETTLED = (TargetState.READY, TargetState.STANDBY)


async def follow_deployments(context: Context) -> bool:
    """Looks at one deployment's targets, and applies what was seen."""
    async with lease(context.db, Deployment, _has_targets(), again_in=HURRYING) as claim:
        if claim is None:
            return False
        deployment: Deployment = claim.row
        async with context.db.transaction() as session:
            targets = await store.targets_of(session, deployment.name)
            rows = await store.replicas_of(session, [target.id for target in targets])
        stands_by = any(target.state == TargetState.STANDBY for target in targets)
        room_wanted = stands_by and await _room_is_wanted(context)
        with within_project(deployment.project):
            seen = await _look_at_targets(context, targets, rows, room_wanted)
            look = replicas.Look(
                await _look_at_replicas(context, deployment, targets, rows),
                load.sizes(context, deployment, targets, rows),
            )
        watch: Watch = context.state["watch"]
        pool: ProxyPool = context.state["pool"]
        news = watch.news(deployment.rollout, targets, pool.outcomes) if deployment.rollout else NO_NEWS
        in_force = bool(deployment.rollout) and await _is_in_force(context)
        async with context.db.transaction() as session:
            row = await claim.reload(session)
            await service.apply(session, row, seen, news, look, in_force=in_force)
            unsettled = row.rollout or await store.unsettled(session, row.name)
        claim.again_in = HURRYING if unsettled else RESTING
    returning: Returning = context.state["returning"]
    for replica_id, found in look.seen.items():
        returning.saw(replica_id, found.state)
    context.wake_event("publish_routes").set()
    return True


def _has_targets() -> Any:
    alive = sa.select(Target.name).where(
        Target.deployment == Deployment.name,
        Target.state.not_in((TargetState.STOPPED,)),
    )
    return sa.exists(alive)


async def _room_is_wanted(context: Context) -> bool:
    """Whether work of any project waits for room on the cards or the CPU."""
    stub = context.clients.stub(WorkloadServiceStub)
    request = workload_service_pb2.ListWorkloadsRequest(parent="projects/-", filter="state=QUEUED", page_size=100)
    waiting = (await stub.ListWorkloads(request)).workloads
    return any(workload.waiting_reason.startswith("NO_FREE_") for workload in waiting)


async def _look_at_targets(
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


async def _look_at_replicas(
    context: Context, deployment: Deployment, targets: Sequence[Target], rows: Mapping[str, Sequence[Replica]]
) -> dict[str, replicas.Seen]:
    """All at once, for one may let us wait. Those that failed are left alone until they are started anew."""
    looks = {}
    for target in targets:
        for replica in rows.get(target.id, ()):
            if replica.state == ReplicaState.DRAINING:
                looks[replica.id] = _drain_replica(context, replica)
            elif replica.state != ReplicaState.FAILED and target.state != TargetState.DRAINING:
                looks[replica.id] = _look_at_replica(context, deployment, target, replica)
    return dict(zip(looks, await asyncio.gather(*looks.values()), strict=True))


async def _look_at_replica(context: Context, deployment: Deployment, target: Target, replica: Replica) -> replicas.Seen:
    """Ready means: its workload runs, and it gave a real answer."""
    if replica.state == ReplicaState.PENDING:
        for version in store.versions_of(target):
            await lookups.pin(context.clients, version, deployment.name)
    wanted = launching.workload(context.settings, deployment, target)
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
    health = await _health(context, target, Endpoint(f"http://{workload.address}/v1", last(deployment.name)))
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


async def forget_stopped_replicas(context: Context) -> bool:
    """What sleeps and wakes each day would leave a row each time."""
    async with context.db.transaction() as session:
        await store.forget_stopped_replicas(session, context.clock.now() - KEPT)
    return False


async def follow_aliases(context: Context) -> bool:
    """Shifts one deployment whose alias points elsewhere by now."""
    async with context.db.transaction() as session:
        behind = await store.first_behind_its_alias(session)
    if behind is None:
        return False
    with within_project(behind.project):
        spec = deployment_service_pb2.TargetSpec(variant=behind.alias_variant, weight_percent=100)
        try:
            wanted = await lookups.look_up(context.clients, spec, behind.name)
        except lookups.LicenceRefused as refusal:
            async with context.db.transaction() as session:
                await service.refuse_alias(session, behind.name, spec.variant, refusal)
            return True
    async with context.db.transaction() as session:
        await service.shift(session, behind.name, [wanted])
    return True


async def publish_routes(context: Context) -> bool:
    """Writes the data plane's snapshot when anything in it changed."""
    async with context.state["publishing"]:  # what was read first is written first
        await _publish(context)
    return False


async def warm_up(context: Context) -> None:
    """What `gyre up` waits for: the replicas that served before are back, and the workers know it."""
    await context.state["returning"].wait(context.settings.warm_up_seconds)
    await workers_know(context)


async def workers_know(context: Context) -> None:
    """Returns when the workers go by the routes of now, or after some seconds."""
    await publish_routes(context)
    pool: ProxyPool = context.state["pool"]
    try:
        await pool.until_revision(context.state["revision"])
    except TimeoutError:
        log.warning("the gateway's workers go by old routes still", extra={"revision": context.state["revision"]})


async def _is_in_force(context: Context) -> bool:
    """Whether every worker goes by what the tables say."""
    await publish_routes(context)
    pool: ProxyPool = context.state["pool"]
    return pool.goes_by(context.state["revision"])


async def _publish(context: Context) -> None:
    async with context.db.transaction() as session:
        keys, projects = await store.keys(session), await store.projects(session)
        deployments = await store.all_routes(session)
        target_ids = [target.id for _, targets in deployments for target in targets]
        rows = await store.replicas_of(session, target_ids)
        leaving = await store.leaving(session)
        asking = await batch_store.in_progress(session)
        policy_rows = await policy_store.policies(session)
        templates, versions = await policy_store.served(session, NEWEST_SERVED)
    context.state["scaler"].forget_others(target_ids)
    context.state["gauges"].show_replicas(replica for of_target in rows.values() for replica in of_target)
    context.state["watch"].forget_others(deployment.rollout for deployment, _ in deployments)
    revision = max(context.state.get("revision", 0) + 1, int(context.clock.now().timestamp() * 1000))
    made = policies.make(policy_rows, templates, versions)
    new = routes.make(revision, keys, projects, deployments, routes.own_of(context.settings), rows, made)
    if asking:
        own_keys = batch_keys.keys_of(asking, new.keys.values(), context.state["batch_secret"])
        new = replace(new, keys=MappingProxyType({**new.keys, **own_keys}))
    old: Snapshot | None = context.state.get("snapshot")
    if old is None or replace(old, revision=revision) != new:
        write_snapshot(context.state["paths"].snapshot, new)
        context.state["gauges"].show_routes(new)
        context.state |= {"snapshot": new, "revision": revision}
    hidden: dict[str, int] = context.state["hidden"]
    context.state["hidden"] = {engine: hidden.get(engine, context.state["revision"]) for engine in leaving}


async def show_gauges(context: Context) -> bool:
    """Budgets, roll-outs, experiments and batches, for those who look at dashboards; what changes at once is shown when it does."""
    ledger: Ledger = context.state["ledger"]
    async with context.db.transaction() as session:
        keys, projects = await store.keys(session), await store.projects(session)
        counts = await store.rollout_counts(session)
        experiments = await traffic_store.experiment_counts(session)
        lines = await batch_store.open_lines(session)
    by_project: dict[str, dict[str, Limits]] = {row.project: {} for row in projects}
    for key in keys:
        by_project.get(key.project, {})[key.name] = routes.limits_of(key)
    gauges: Gauges = context.state["gauges"]
    gauges.show_rollouts(counts)
    gauges.show_experiments(experiments)
    gauges.show_batch_lines(*lines)
    gauges.show_budgets(
        spending.of_project(ledger, row.project, routes.limits_of(row), by_project[row.project]) for row in projects
    )
    return False


async def refresh_keys(context: Context) -> bool:
    """Everything that api_gateway knows of keys and projects; events bring single changes sooner."""
    keys = await _all_keys(context)
    reply = await context.clients.stub(ProjectServiceStub).ListProjects(
        project_service_pb2.ListProjectsRequest(page_size=500)
    )
    async with context.db.transaction() as session:
        for key in keys:
            await store.put_key(session, key)
        await store.forget_keys_but(session, [key.name for key in keys])
        for project in reply.projects:
            await store.put_project(
                session,
                KnownProject(
                    project=last(project.name),
                    active=project.state == project_pb2.Project.STATE_ACTIVE,
                    consent_to_keep=project.consent_to_keep,
                    requests_per_minute=project.requests_per_minute,
                    limits=to_dict(project.limits),
                    regions=list(project.regions),
                    keep_personal_data=project.keep_personal_data,
                    retention_days=project.retention_days,
                ),
            )
    context.wake_event("publish_routes").set()
    return False


async def _all_keys(context: Context) -> list[KnownKey]:
    stub = context.clients.stub(KeyServiceStub)
    keys, token = [], ""
    while True:
        reply = await stub.ListKeyHashes(key_service_pb2.ListKeyHashesRequest(page_size=5000, page_token=token))
        keys += [
            KnownKey(
                name=each.name,
                project=project_of(each.name),
                secret_sha256=each.secret_sha256,
                role=enum_name(each, "role"),
                active=each.state == key_pb2.ApiKey.STATE_ACTIVE,
                requests_per_minute=each.requests_per_minute,
                limits=to_dict(each.limits),
                expire_unix_seconds=each.expire_unix_seconds,
            )
            for each in reply.hashes
        ]
        token = reply.next_page_token
        if not token:
            return keys


async def attach_upstream(context: Context) -> bool:
    """`gyre up --upstream URL`: a deployment for the engine that runs already, made once."""
    url = context.settings.upstream_url
    if not url or context.state.get("upstream_attached"):
        return False
    http: aiohttp.ClientSession = context.state["http"]
    model = context.settings.upstream_model or (await list_models(http, Endpoint(url, "")))[0]
    spec = deployment_service_pb2.TargetSpec(
        upstream_url=url, upstream_model=model, weight_percent=100, region=context.settings.upstream_region
    )
    slug = re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-._")[:63] or "upstream"
    name = f"projects/{HOME_PROJECT}/deployments/{slug}"
    wanted = await lookups.look_up(context.clients, spec, name)
    async with context.db.transaction() as session:
        try:
            await service.create(session, HOME_PROJECT, slug, [wanted], display_name=model)
        except service.DeploymentExists:
            log.info("the upstream is attached already", extra={"deployment": name})
        except RegionRefused as error:  # tried again, for somebody may allow it; said once
            if not context.state.get("upstream_refused"):
                log.error("the upstream is not attached", extra={"reason": error.message})
            context.state["upstream_refused"] = True
            return False
    context.state["upstream_attached"] = True
    return False
