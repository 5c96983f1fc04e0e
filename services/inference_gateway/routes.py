"""The picture that the data plane goes by, made from the tables: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from services.inference_gateway.models.deployments import Deployment, Replica, ReplicaState, Target, TargetState
from services.inference_gateway.models.projects import KnownKey, KnownProject
from services.inference_gateway.policies.regions import is_allowed
from services.inference_gateway.proxy import snapshot
from services.inference_gateway.proxy.allowance import Limits, Period
from services.inference_gateway.proxy.hardware import host_if_rented
from services.inference_gateway.proxy.policy import Policy
from services.inference_gateway.settings import Settings
from services.inference_gateway.targets import short_version, wakes

STATES = {
    TargetState.READY: snapshot.TargetState.READY,
    TargetState.STARTING: snapshot.TargetState.UNHEALTHY,
    TargetState.STANDBY: snapshot.TargetState.STANDBY,
    TargetState.DRAINING: snapshot.TargetState.DRAINING,
}
REPLICA_STATES = {
    ReplicaState.READY: snapshot.TargetState.READY,
    ReplicaState.STARTING: snapshot.TargetState.UNHEALTHY,
    ReplicaState.DRAINING: snapshot.TargetState.DRAINING,
}
TAKE_REQUESTS = (snapshot.TargetState.READY, snapshot.TargetState.STANDBY)
NO_REPLICAS: Mapping[str, Sequence[Replica]] = MappingProxyType({})
NO_POLICIES: Mapping[str, Policy] = MappingProxyType({})


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
    replicas: Mapping[str, Sequence[Replica]] = NO_REPLICAS,
    policies: Mapping[str, Policy] = NO_POLICIES,
) -> snapshot.Snapshot:
    """`replicas` by target id, `policies` by project."""
    active = {project.project: project for project in projects if project.active}
    made = [_deployment(each, targets, own, active.get(each.project), replicas) for each, targets in deployments]
    return snapshot.make_snapshot(
        revision=revision,
        keys={key.secret_sha256: _key(key) for key in keys if key.project in active},
        projects={name: _project(row, policies.get(name)) for name, row in active.items()},
        deployments=_with_prices_of_fallbacks(made),
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


def _project(project: KnownProject, policy: Policy | None) -> snapshot.Project:
    return snapshot.Project(
        keeps_completions=project.consent_to_keep,
        limits=limits_of(project),
        keeps_personal_data=project.keep_personal_data,
        policy=policy,
    )


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


def _with_prices_of_fallbacks(deployments: Sequence[snapshot.Deployment]) -> list[snapshot.Deployment]:
    """What a request may cost is reserved, whoever answers in the end."""
    known = {(each.project, each.name): each for each in deployments}
    made = []
    for each in deployments:
        others = [known[each.project, name] for name in each.fallbacks if (each.project, name) in known]
        targets = [target for other in others for target in other.targets]
        input_price = max((target.input_price for target in targets), default=0)
        output_price = max((target.output_price for target in targets), default=0)
        made.append(replace(each, fallback_input_price=input_price, fallback_output_price=output_price))
    return made


def _deployment(
    deployment: Deployment,
    targets: Sequence[Target],
    own: Own,
    project: KnownProject | None,
    replicas: Mapping[str, Sequence[Replica]],
) -> snapshot.Deployment:
    """Without the targets that the project's regions rule out: what serves today may not be allowed tomorrow."""
    regions = project.regions if project else ()
    allowed = [target for target in targets if is_allowed(target.upstream_url, target.region, regions)]
    refused = [target.region for target in targets if target.state in STATES and target not in allowed]
    engines = [engine for target in allowed for engine in _engines(target, own, replicas.get(target.id, ()))]
    return snapshot.Deployment(
        name=deployment.name.rsplit("/", 1)[-1],
        project=deployment.project,
        created=int(deployment.create_time.timestamp()),
        targets=tuple(engines),
        fallbacks=tuple(deployment.fallbacks),
        fallback_seconds=deployment.fallback_seconds,
        refused_regions=tuple(dict.fromkeys(refused)),
        adapters=_askable(engines),
    )


def _askable(engines: Sequence[snapshot.Target]) -> tuple[snapshot.Adapter, ...]:
    """Adapters of what gets new requests; of two with one name, those of the target that gets most."""
    found: dict[str, snapshot.Adapter] = {}
    for each in sorted(engines, key=lambda engine: -engine.weight):
        if each.weight > 0 and each.state is not snapshot.TargetState.DRAINING:
            found = {adapter.name: adapter for adapter in each.adapters} | found
    return tuple(found.values())


def _engines(target: Target, own: Own, replicas: Sequence[Replica]) -> Iterator[snapshot.Target]:
    """What requests for a target may go to: the engine that ran before; or its replicas, which divide its weight; or
    itself while it sleeps.
    """
    if target.upstream_url:
        if target.state in STATES:
            yield _target(target, own, STATES[TargetState(target.state)])
        return
    known = [(each, _state(target, each)) for each in replicas if each.address and each.state in REPLICA_STATES]
    ready = sum(state in TAKE_REQUESTS for _, state in known) or 1
    for replica, state in known:
        engine = _target(target, own, state)
        address, weight = replica.address, target.weight_percent / ready
        yield replace(engine, id=replica.id, replica_of=target.id, address=address, weight=weight)
    if target.state == TargetState.ASLEEP or wakes(target):
        yield _target(target, own, snapshot.TargetState.ASLEEP)


def _state(target: Target, replica: Replica) -> snapshot.TargetState:
    """A replica drains and stands by with its target."""
    if target.state == TargetState.DRAINING:
        return snapshot.TargetState.DRAINING
    state = REPLICA_STATES[ReplicaState(replica.state)]
    if target.state == TargetState.STANDBY and state is snapshot.TargetState.READY:
        return snapshot.TargetState.STANDBY
    return state


def _target(target: Target, own: Own, state: snapshot.TargetState) -> snapshot.Target:
    told = Own(target.input_price_microusd, target.output_price_microusd, target.places)
    known = own if target.variant else told
    return snapshot.Target(
        id=target.id,
        version=short_version(target),
        model_version=target.model_version,
        variant=target.variant,
        engine=target.engine.lower(),
        upstream_url=target.upstream_url,
        upstream_model=target.upstream_model,
        upstream_key_ref=target.upstream_key_ref,
        weight=target.weight_percent,
        state=state,
        input_price=known.input_price,
        output_price=known.output_price,
        places=known.places,
        shadow_percent=target.shadow_percent,
        sent_to=host_if_rented(target.upstream_url),
        region=target.region,
        adapters=tuple(
            snapshot.Adapter(each["id"], each["variant"], each["model_version"], each["digest"], tuple(each["keys"]))
            for each in target.adapters
        ),
    )
