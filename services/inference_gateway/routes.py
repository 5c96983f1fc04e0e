"""The picture that the data plane goes by, made from the tables: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.inference_gateway.models import Deployment, KnownKey, KnownProject, Target, TargetState
from services.inference_gateway.proxy import snapshot
from services.inference_gateway.proxy.allowance import Limits, Period
from services.inference_gateway.settings import Settings
from services.inference_gateway.targets import short_version

STATES = {
    TargetState.READY: snapshot.TargetState.READY,
    TargetState.STARTING: snapshot.TargetState.UNHEALTHY,
    TargetState.STANDBY: snapshot.TargetState.STANDBY,
    TargetState.DRAINING: snapshot.TargetState.DRAINING,
}


@dataclass(frozen=True)
class Own:
    """What settings say of every replica: prices of a million tokens in microdollars, requests computed at once."""

    input_price: int = 0
    output_price: int = 0
    places: int = 0


NOTHING_SAID = Own()


def own_of(settings: Settings) -> Own:
    return Own(settings.replica_input_price_microusd, settings.replica_output_price_microusd, settings.replica_parallel)


def make(
    revision: int,
    keys: Iterable[KnownKey],
    projects: Iterable[KnownProject],
    deployments: Iterable[tuple[Deployment, Sequence[Target]]],
    own: Own = NOTHING_SAID,
) -> snapshot.Snapshot:
    active = {project.project: project for project in projects if project.active}
    return snapshot.make_snapshot(
        revision=revision,
        keys={key.secret_sha256: _key(key) for key in keys if key.project in active},
        projects={name: _project(row) for name, row in active.items()},
        deployments=[_deployment(deployment, targets, own) for deployment, targets in deployments],
    )


def _key(key: KnownKey) -> snapshot.Key:
    return snapshot.Key(
        name=key.name,
        project=key.project,
        role=key.role,
        limits=limits_of(key),
        expires=key.expire_unix_seconds,
        revoked=not key.active,
    )


def _project(project: KnownProject) -> snapshot.Project:
    return snapshot.Project(keeps_completions=project.consent_to_keep, limits=limits_of(project))


def limits_of(known: KnownKey | KnownProject) -> Limits:
    """They are stored as an event's JSON: 64-bit numbers are strings there, and the period has its prefix."""
    stored: Mapping[str, Any] = known.limits
    period = str(stored.get("budget_period", "")).removeprefix("BUDGET_PERIOD_")
    return Limits(
        requests_per_minute=known.requests_per_minute,
        tokens_per_minute=int(stored.get("tokens_per_minute", 0)),
        concurrent_requests=int(stored.get("concurrent_requests", 0)),
        budget_tokens=int(stored.get("budget_tokens", 0)),
        budget_microusd=int(stored.get("budget_microusd", 0)),
        budget_period=Period[period] if period in Period.__members__ else Period.MONTH,
    )


def _deployment(deployment: Deployment, targets: Sequence[Target], own: Own) -> snapshot.Deployment:
    reachable = [target for target in targets if target.state in STATES and (target.address or target.upstream_url)]
    return snapshot.Deployment(
        name=deployment.name.rsplit("/", 1)[-1],
        project=deployment.project,
        created=int(deployment.create_time.timestamp()),
        targets=tuple(_target(target, own) for target in reachable),
    )


def _target(target: Target, own: Own) -> snapshot.Target:
    told = Own(target.input_price_microusd, target.output_price_microusd, target.places)
    known = own if target.variant else told
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
        input_price=known.input_price,
        output_price=known.output_price,
        places=known.places,
    )
