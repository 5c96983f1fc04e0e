"""The data plane's snapshot: written when anything in it changed, and whether the workers go by it."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import MappingProxyType

from gyre_kit.app import Context

from services.inference_gateway import routes, store
from services.inference_gateway.batches import keys as batch_keys
from services.inference_gateway.batches import store as batch_store
from services.inference_gateway.policies import snapshot as policies
from services.inference_gateway.policies import store as policy_store
from services.inference_gateway.policies.prompts import NEWEST_SERVED
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.proxy.snapshot import Snapshot, write_snapshot

log = logging.getLogger(__name__)


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


async def is_in_force(context: Context) -> bool:
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
    regions = {project.project: project.regions for project in projects}
    made = policies.make(policy_rows, templates, versions, regions)
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
