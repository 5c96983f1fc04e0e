"""Use cases: models that answer copies of real requests, and how their answers compare with what was live."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from gyre.inference_gateway.v1 import shadow_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import last

from services.inference_gateway import store
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.comparing.store import Moments, Sums
from services.inference_gateway.models.comparing import ShadowPair
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.targets import LEAVING, Wanted, come_back, drain, identity, new_target, price_anew

Z_95 = 1.959964  # of the normal distribution, both sides together


class BadPercent(Invalid):
    """A shadow gets 1 to 100 per cent of the requests."""


class ServesAlready(Precondition):
    """This target answers clients of the deployment already; a shadow is another one."""


async def begin(session: Session, deployment: Deployment, wanted: Wanted, percent: int) -> Target:
    """Also changes the share of one that there is. Raises: BadPercent; ServesAlready."""
    if not 1 <= percent <= 100:
        raise BadPercent(field="percent", given=str(percent))
    known = await store.targets_of(session, deployment.name, lock=True)
    usable = (each for each in known if each.state not in LEAVING and identity(each) == wanted.identity)
    target = next(usable, None) or new_target(deployment, wanted)
    if target.weight_percent or (deployment.rollout and target in known and not target.shadow_percent):
        raise ServesAlready(name=target.name)
    if target.state == TargetState.STANDBY:
        await come_back(session, target)
    price_anew(target, wanted)
    target.shadow_percent = percent
    session.add(target)
    deployment.due = None
    await session.flush()
    return target


async def stop(session: Session, deployment: Deployment) -> None:
    """All of a deployment's; what was compared stays."""
    for target in await store.targets_of(session, deployment.name, lock=True):
        if target.shadow_percent:
            target.shadow_percent = 0
            await drain(session, target)
    deployment.due = None
    await session.flush()


async def keep(session: Session, records: Sequence[CompletionRecord]) -> None:
    """What the proxy compared; known ones are passed over."""
    await traffic_store.add_pairs(session, [_pair(record) for record in records if record.comparison])


def _pair(record: CompletionRecord) -> ShadowPair:
    ended = datetime.fromtimestamp(record.time, UTC)
    shadow = f"{record.deployment}/shadows/{record.target}"
    completions = f"projects/{record.project}/completions"
    return ShadowPair(
        name=f"{shadow}/pairs/{record.shadow_of}",
        project=record.project,
        created_by=record.api_key,
        create_time=ended,
        update_time=ended,
        shadow=shadow,
        completion=f"{completions}/{record.shadow_of}",
        shadow_completion=f"{completions}/{record.id}",
        **(record.comparison or {}),
    )


async def reports(session: Session, deployment: str) -> list[shadow_pb2.Shadow]:
    """Of all that anything is known of, newest first."""
    targets = await traffic_store.shadow_targets(session, deployment)
    return [_report(target, await traffic_store.sums(session, shadow_name(target))) for target in targets]


async def report(session: Session, name: str) -> shadow_pb2.Shadow:
    """Raises: NotFound."""
    targets = await traffic_store.shadow_targets(session, name.partition("/shadows/")[0])
    target = next((each for each in targets if each.id == last(name)), None)
    if target is None:
        raise NotFound(f"There is no shadow {name}.", name=name)
    return _report(target, await traffic_store.sums(session, name))


async def deployment_of(session: Session, name: str) -> Deployment:
    """Raises: NotFound."""
    return await resources.get(session, Deployment, name)


def shadow_name(target: Target) -> str:
    return f"{target.deployment}/shadows/{target.id}"


def _report(target: Target, sums: Sums) -> shadow_pb2.Shadow:
    return shadow_pb2.Shadow(
        name=shadow_name(target),
        variant=target.variant,
        upstream_model=target.upstream_model,
        percent=target.shadow_percent,
        count=sums.count,
        error_rate=share(sums.failed, sums.count),
        agreement=share(sums.agreed, sums.count - sums.failed),
        similarity=mean(sums.similarity),
        length_ratio=ratio(sums.log_length_ratio),
        latency_ratio=ratio(sums.log_latency_ratio),
    )


def share(hits: int, count: int) -> shadow_pb2.ShadowEstimate:
    """With Wilson's interval, which holds for rare hits and few requests too."""
    if not count:
        return shadow_pb2.ShadowEstimate()
    rate, z2 = hits / count, Z_95**2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 / (1 + z2 / count) * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count**2))
    return shadow_pb2.ShadowEstimate(value=rate, low=max(middle - half, 0.0), high=min(middle + half, 1.0), count=count)


def mean(moments: Moments) -> shadow_pb2.ShadowEstimate:
    if not moments.count:
        return shadow_pb2.ShadowEstimate()
    half = Z_95 * moments.deviation / math.sqrt(moments.count)
    return shadow_pb2.ShadowEstimate(
        value=moments.mean, low=moments.mean - half, high=moments.mean + half, count=moments.count
    )


def ratio(logs: Moments) -> shadow_pb2.ShadowEstimate:
    """The geometric mean of ratios whose logarithms are given."""
    known = mean(logs)
    if known.count:
        known.value, known.low, known.high = (math.exp(each) for each in (known.value, known.low, known.high))
    return known
