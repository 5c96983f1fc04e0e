"""The picture that the data plane goes by, made from the tables: pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from services.inference_gateway.models import Deployment, KnownKey, KnownProject, Target, TargetState
from services.inference_gateway.proxy import snapshot
from services.inference_gateway.targets import short_version

STATES = {
    TargetState.READY: snapshot.TargetState.READY,
    TargetState.STARTING: snapshot.TargetState.UNHEALTHY,
    TargetState.STANDBY: snapshot.TargetState.STANDBY,
    TargetState.DRAINING: snapshot.TargetState.DRAINING,
}


def make(
    revision: int,
    keys: Iterable[KnownKey],
    projects: Iterable[KnownProject],
    deployments: Iterable[tuple[Deployment, Sequence[Target]]],
) -> snapshot.Snapshot:
    active = {project.project: project for project in projects if project.active}
    return snapshot.make_snapshot(
        revision=revision,
        keys={key.secret_sha256: _key(key) for key in keys if key.project in active},
        projects={name: snapshot.Project(keeps_completions=row.consent_to_keep) for name, row in active.items()},
        deployments=[_deployment(deployment, targets) for deployment, targets in deployments],
    )


def _key(key: KnownKey) -> snapshot.Key:
    return snapshot.Key(
        name=key.name,
        project=key.project,
        role=key.role,
        requests_per_minute=key.requests_per_minute,
        revoked=not key.active,
    )


def _deployment(deployment: Deployment, targets: Sequence[Target]) -> snapshot.Deployment:
    reachable = [target for target in targets if target.state in STATES and (target.address or target.upstream_url)]
    return snapshot.Deployment(
        name=deployment.name.rsplit("/", 1)[-1],
        project=deployment.project,
        created=int(deployment.create_time.timestamp()),
        targets=tuple(_target(target) for target in reachable),
    )


def _target(target: Target) -> snapshot.Target:
    return snapshot.Target(
        id=target.id,
        version=short_version(target),
        model_version=target.model_version,
        variant=target.variant,
        engine=target.engine.lower(),
        address=target.address,
        upstream_url=target.upstream_url,
        upstream_model=target.upstream_model,
        upstream_key_ref=target.upstream_key_ref,
        weight=target.weight_percent,
        state=STATES[TargetState(target.state)],
    )
