"""Long work: targets come up, are looked after and drain; aliases are followed, and an engine of before is attached."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

import aiohttp
import sqlalchemy as sa
from gyre.inference_gateway.v1 import deployment_service_pb2
from gyre_kit.app import Context
from gyre_kit.auth import within_project
from gyre_kit.reconcile import lease

from services.inference_gateway import lookups, publishing, routes, service, store
from services.inference_gateway.batches import store as batch_store
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.engines.base import Endpoint, list_models
from services.inference_gateway.gauges import Gauges
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.policies.regions import RegionRefused
from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.replicas import load, looking
from services.inference_gateway.replicas import service as replicas
from services.inference_gateway.replicas.returning import Returning
from services.inference_gateway.rollouts.service import NO_NEWS
from services.inference_gateway.rollouts.watching import Watch
from services.inference_gateway.usage import spending

log = logging.getLogger(__name__)
HURRYING, RESTING = 0.3, 2.0  # seconds between two looks at a deployment that changes, and at one that does not
KEPT = timedelta(days=7)  # how long a replica that stopped can be looked up, and its log be read
HOME_PROJECT = "default"


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
        room_wanted = stands_by and await looking.room_is_wanted(context)
        with within_project(deployment.project):
            seen = await looking.look_at_targets(context, targets, rows, room_wanted)
            look = replicas.Look(
                await looking.look_at_replicas(context, deployment, targets, rows),
                load.sizes(context, deployment, targets, rows),
            )
        watch: Watch = context.state["watch"]
        pool: ProxyPool = context.state["pool"]
        news = watch.news(deployment.rollout, targets, pool.outcomes) if deployment.rollout else NO_NEWS
        in_force = bool(deployment.rollout) and await publishing.is_in_force(context)
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


async def attach_upstream(context: Context) -> bool:
    """`gyre up --upstream URL`: a deployment for the engine that runs already, made once."""
    url = context.settings.upstream_url
    if not url or context.state.get("upstream_attached"):
        return False
    http: aiohttp.ClientSession = context.state["http"]
    model = context.settings.upstream_model or (await list_models(http, Endpoint(url, "")))[0]
    spec = deployment_service_pb2.TargetSpec(
        upstream_url=url,
        upstream_model=model,
        upstream_key_ref=context.settings.upstream_key_ref,
        weight_percent=100,
        region=context.settings.upstream_region,
    )
    by_model = re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-._")[:63] or "upstream"
    slug = context.settings.upstream_deployment or by_model
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
