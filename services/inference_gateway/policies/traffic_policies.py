"""Use cases: what a project wants done to its traffic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration
from gyre.inference_gateway.v1 import traffic_policy_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound
from gyre_kit.names import project_of
from gyre_kit.render import enum_name

from services.inference_gateway import store
from services.inference_gateway.models.policies import TrafficPolicy
from services.inference_gateway.policies import regions
from services.inference_gateway.policies import store as policy_store
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.ssrf import Policy, UpstreamRefused, check_url

ACTIONS = {
    "prompt_data": ("ALLOW", "MARK", "REFUSE"),
    "answer_data": ("ALLOW", "MARK"),
    "injection": ("ALLOW", "FLAG", "REFUSE"),
}
FIELDS = (*ACTIONS, "hook", "cache")
HOOK_SECONDS, MOST_HOOK_SECONDS = 1.0, 30.0
CACHE_SECONDS, MOST_CACHE_SECONDS = 3600.0, 30 * 86400.0
MOST_DEPLOYMENTS = 100
FINDINGS_SHOWN = timedelta(hours=24)


class BadTrafficPolicy(Invalid):
    """prompt_data: allow, mark, refuse; answer_data: allow, mark; injection: allow, flag, refuse; a hook waits at most 30 s
    and is asked before, after or both; a cache keeps answers for at most 30 days."""


class HookRefused(Invalid):
    """The hook's address is not one that the gateway may talk to."""


class ProjectNotFound(NotFound):
    """There is no such project, or it is not yours."""


async def of_project(session: Session, name: str, *, lock: bool = False) -> TrafficPolicy:
    """One that nobody has set is a new row, not yet added. Raises: ProjectNotFound."""
    project = project_of(name)
    if name != f"projects/{project}/trafficPolicy" or await store.project(session, project) is None:
        raise ProjectNotFound(name=name)
    known = await policy_store.policy(session, name, lock=lock)
    return known or TrafficPolicy(name=name, project=project)


async def findings(session: Session, name: str, since: datetime | None) -> tuple[datetime, Sequence[Any]]:
    """Of `projects/{p}/trafficPolicy/findings`, from the hour of `since` on, or of a day ago. Raises: ProjectNotFound."""
    policy, _, kind = name.rpartition("/")
    if kind != "findings":
        raise ProjectNotFound(name=name)
    project = (await of_project(session, policy)).project
    begin = (since or session.clock.now() - FINDINGS_SHOWN).replace(minute=0, second=0, microsecond=0)
    return begin, await policy_store.findings(session, project, begin)


async def update(session: Session, given: traffic_policy_pb2.TrafficPolicy, fields: Sequence[str]) -> TrafficPolicy:
    """Raises: ProjectNotFound; BadTrafficPolicy; HookRefused; RegionRefused; EtagMismatch."""
    if wrong := set(fields) - set(FIELDS):
        raise BadTrafficPolicy(field=min(wrong), allowed="|".join(FIELDS))
    policy = await of_project(session, given.name, lock=True)
    resources.check_etag(policy, given.etag)
    for field in set(fields) & set(ACTIONS):
        action = enum_name(given, field) or "ALLOW"
        if action not in ACTIONS[field]:
            raise BadTrafficPolicy(field=field, given=action, allowed="|".join(ACTIONS[field]))
        setattr(policy, field, action)
    if "hook" in fields:
        policy.hook = _hook(given.hook, await store.regions_of(session, policy.project))
    if "cache" in fields:
        policy.cache = _cache(given.cache)
    session.add(policy)
    await session.flush()
    return policy


def _hook(given: traffic_policy_pb2.GuardrailHook, allowed: Sequence[str]) -> dict[str, Any]:
    """Raises: BadTrafficPolicy; HookRefused; RegionRefused: what a hook sees are prompts that leave."""
    if not given.url:
        return {}
    settings = ProxySettings()
    try:
        check_url(given.url, Policy(settings.allow_loopback, settings.allow_private))
    except UpstreamRefused as error:
        raise HookRefused(str(error), field="hook.url") from error
    region = given.region.strip().lower()
    regions.check(given.url, region, allowed)
    if not (given.before or given.after):
        raise BadTrafficPolicy(field="hook", given="neither before nor after")
    seconds = _seconds(given.timeout, HOOK_SECONDS, MOST_HOOK_SECONDS, "hook.timeout")
    asked = {"fails_open": given.fails_open, "before": given.before, "after": given.after}
    return {"url": given.url, "seconds": seconds, "region": region} | asked


def _cache(given: traffic_policy_pb2.AnswerCache) -> dict[str, Any]:
    mode = enum_name(given, "mode") or "OFF"
    if mode == "OFF":
        return {}
    if len(given.deployments) > MOST_DEPLOYMENTS:
        raise BadTrafficPolicy(field="cache.deployments", given=str(len(given.deployments)))
    seconds = _seconds(given.ttl, CACHE_SECONDS, MOST_CACHE_SECONDS, "cache.ttl")
    return {
        "always": mode == "ALWAYS",
        "seconds": seconds,
        "deployments": sorted(set(given.deployments)),
        "billed": given.billed,
    }


def _seconds(given: Duration, default: float, most: float, field: str) -> float:
    """Raises: BadTrafficPolicy."""
    seconds = given.ToTimedelta().total_seconds() or default
    if not 0 < seconds <= most:
        raise BadTrafficPolicy(field=field, given=f"{seconds:g} s")
    return seconds
