"""Splits: how they are reckoned, put in force, and told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gyre.inference_gateway.v1 import deployment_pb2, events_pb2
from gyre_kit.db import Session
from gyre_kit.outbox import emit
from gyre_kit.render import enum_number

from services.inference_gateway.models.deployments import Deployment, Target

Weights = Mapping[str, int]


def between(before: Weights, after: Weights, percent: int) -> dict[str, int]:
    """Weights `percent` of the way from one split to another: whole numbers that sum as the splits do.

    Largest remainders get what rounding left over; at 100 it is `after`.
    """
    if not before or percent == 100:
        return dict(after)
    names = [*before, *(name for name in after if name not in before)]
    exact = {name: before.get(name, 0) * (100 - percent) + after.get(name, 0) * percent for name in names}
    weights = {name: value // 100 for name, value in exact.items()}
    left = sum(exact.values()) // 100 - sum(weights.values())
    for name in sorted(names, key=lambda name: exact[name] % 100, reverse=True)[:left]:
        weights[name] += 1
    return weights


def weights_of(shares: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {each["target"]: each["weight_percent"] for each in shares}


def those_of(targets: Sequence[Target], shares: Sequence[Mapping[str, Any]]) -> list[Target]:
    names = {each["target"] for each in shares}
    return [target for target in targets if target.id in names]


async def put_in_force(session: Session, deployment: Deployment, targets: Sequence[Target], weights: Weights) -> None:
    for target in targets:
        target.weight_percent = weights.get(target.id, 0)
    await session.flush()
    await say_split(session, deployment, targets)


async def say_split(session: Session, deployment: Deployment, targets: Sequence[Target]) -> None:
    """Tells others which split is in force, and which alias it follows."""
    serving = [target for target in targets if target.weight_percent]
    shifted = events_pb2.TrafficShifted(name=deployment.name, shares=event_shares(serving), alias=deployment.alias)
    shifted.shift_time.FromDatetime(session.clock.now())
    await emit(session, deployment.name, shifted)


def event_shares(targets: Sequence[Target]) -> list[events_pb2.TrafficShare]:
    return [
        events_pb2.TrafficShare(
            target=target.id,
            engine=enum_number(deployment_pb2.Engine.DESCRIPTOR, target.engine),
            model_version=target.model_version,
            variant=target.variant,
            weight_percent=target.weight_percent,
        )
        for target in targets
    ]
