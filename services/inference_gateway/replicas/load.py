"""What the gateway's workers tell of each target's load, and how many replicas follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gyre_kit.app import Context

from services.inference_gateway.models.deployments import Deployment, Replica, ReplicaState, Target, TargetState
from services.inference_gateway.proxy.outcomes import Outcomes
from services.inference_gateway.proxy.processes import ProxyPool
from services.inference_gateway.replicas.scaling import Load, Scaler
from services.inference_gateway.targets import bounds

NOT_SCALED = (TargetState.DRAINING, TargetState.FAILED)


def sizes(
    context: Context, deployment: Deployment, targets: Sequence[Target], rows: Mapping[str, Sequence[Replica]]
) -> dict[str, int]:
    """Replicas that each target should have, by its id. `rows` by target id. One that stands by keeps one at least."""
    scaler: Scaler = context.state["scaler"]
    wanted, now = {}, context.clock.now()
    for target in targets:
        if not target.replicas or target.state in NOT_SCALED:
            continue
        limits = bounds(deployment, now, target.cold_start_seconds)
        if target.state == TargetState.STANDBY:
            limits = replace(limits, least=max(limits.least, 1))
        load = _load(context, target, rows.get(target.id, ()))
        wanted[target.id] = scaler.wanted(target.id, target.replicas, load, limits, now.timestamp())
    return wanted


def _load(context: Context, target: Target, rows: Sequence[Replica]) -> Load:
    pool: ProxyPool = context.state["pool"]
    return Load(
        requests=pool.held(target.id) + sum(pool.in_flight(replica.id) for replica in rows),
        ready=sum(replica.state == ReplicaState.READY for replica in rows),
        places=context.settings.replica_parallel,
        outcomes=pool.outcomes.get(target.id, Outcomes()),
        waits=pool.waits.get(target.id, Outcomes()),
    )
