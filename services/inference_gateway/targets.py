"""What is asked for and what is seen of the engines behind a deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.names import last, new_id
from gyre_kit.states import transition

from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.replicas.scaling import Bounds
from services.inference_gateway.replicas.schedule import Schedule, lead, wanted_bounds

NEVER = datetime.min.replace(tzinfo=UTC)
LEAVING = (TargetState.DRAINING, TargetState.STOPPED)


class BadWeights(Invalid):
    """The weights of a deployment's targets are 0 to 100 and sum to 100, and no target is named twice."""


@dataclass(frozen=True)
class Adapter:
    """What is served on a base under `id`: to all, or to `keys` alone. `uri` is of the GGUF, `version_uri` of a
    manifest that has the adapter as PEFT saved it: the version's, or that of what was imported.
    """

    id: str
    variant: str
    model_version: str
    uri: str
    digest: str
    version_uri: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """A target that is asked for, looked up: a variant to launch, or an upstream that runs. `adapters` None: it says
    nothing of them.
    """

    weight_percent: int
    engine: str
    variant: str = ""
    model_version: str = ""
    variant_uri: str = ""
    variant_digest: str = ""
    upstream_url: str = ""
    upstream_model: str = ""
    upstream_key_ref: str = ""
    input_price_microusd: int = 0
    output_price_microusd: int = 0
    places: int = 0
    region: str = ""
    adapters: tuple[Adapter, ...] | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        return self.variant, self.upstream_url, self.upstream_model, *_at_start(self.engine, self.adapters or ())


@dataclass(frozen=True)
class Sighting:
    """How a target was found just now."""

    state: TargetState
    failure_reason: str = ""
    failure_message: str = ""


def check_weights(wanted: Sequence[Wanted]) -> None:
    """Raises: BadWeights."""
    weights = [each.weight_percent for each in wanted]
    repeated = len({each.identity for each in wanted}) < len(wanted)
    if repeated or sum(weights) != 100 or min(weights) < 1:
        raise BadWeights(field="targets", weights="+".join(map(str, weights)))


def new_target(deployment: Deployment, wanted: Wanted, replicas: int = 1) -> Target:
    """`replicas`: with how many it begins, where it is launched."""
    target_id = new_id()
    return Target(
        name=f"{deployment.name}/targets/{target_id}",
        project=deployment.project,
        id=target_id,
        deployment=deployment.name,
        engine=wanted.engine,
        model_version=wanted.model_version,
        variant=wanted.variant,
        variant_uri=wanted.variant_uri,
        variant_digest=wanted.variant_digest,
        replicas=replicas if wanted.variant else 0,
        upstream_url=wanted.upstream_url,
        upstream_model=wanted.upstream_model,
        upstream_key_ref=wanted.upstream_key_ref,
        input_price_microusd=wanted.input_price_microusd,
        output_price_microusd=wanted.output_price_microusd,
        places=wanted.places,
        region=wanted.region,
        adapters=[asdict(each) for each in wanted.adapters or ()],
    )


def wanted_again(target: Target, weight_percent: int) -> Wanted:
    """What one asked for to get `target`."""
    return Wanted(
        weight_percent=weight_percent,
        engine=target.engine,
        variant=target.variant,
        model_version=target.model_version,
        variant_uri=target.variant_uri,
        variant_digest=target.variant_digest,
        upstream_url=target.upstream_url,
        upstream_model=target.upstream_model,
        upstream_key_ref=target.upstream_key_ref,
        input_price_microusd=target.input_price_microusd,
        output_price_microusd=target.output_price_microusd,
        places=target.places,
        region=target.region,
        adapters=adapters_of(target),
    )


def adapters_of(target: Target) -> tuple[Adapter, ...]:
    return tuple(Adapter(**(each | {"keys": tuple(each["keys"])})) for each in target.adapters)


def bounds(deployment: Deployment, now: datetime, cold_start_seconds: float = 0.0) -> Bounds:
    """Of each of its targets; those of a window that begins soon, so that a target that took so long to start is there."""
    plan = Schedule.from_json(deployment.schedule)
    return wanted_bounds(always(deployment), plan, now, lead(cold_start_seconds))


def always(deployment: Deployment) -> Bounds:
    """Outside of the windows of its schedule."""
    return Bounds(deployment.min_replicas, deployment.max_replicas, deployment.idle_seconds)


def price_anew(target: Target, wanted: Wanted) -> None:
    """What may change of a target that is there already: its prices, what it holds, where it is said to be, and who gets
    its adapters.
    """
    target.input_price_microusd = wanted.input_price_microusd
    target.output_price_microusd = wanted.output_price_microusd
    target.places, target.region = wanted.places, wanted.region
    target.adapters = [asdict(each) for each in wanted.adapters or ()]


def identity(target: Target) -> tuple[str, ...]:
    loaded = _at_start(target.engine, adapters_of(target))
    return target.variant, target.upstream_url, target.upstream_model, *loaded


def _at_start(engine: str, adapters: Sequence[Adapter]) -> list[str]:
    """What an engine must be started anew for."""
    return [] if engine == "VLLM" else [f"{each.id}={each.digest}" for each in adapters]


def share(target: Target, weight_percent: int) -> dict[str, Any]:
    """As a rollout keeps it, and the proto `Share` has it."""
    return {
        "target": target.id,
        "weight_percent": weight_percent,
        "variant": target.variant,
        "upstream_model": target.upstream_model,
    }


async def see(session: Session, target: Target, seen: Sighting) -> None:
    """Takes over what was seen; a target that leaves only ever stops."""
    target.failure_reason, target.failure_message = seen.failure_reason, seen.failure_message
    if target.state == seen.state or (target.state == TargetState.DRAINING and seen.state != TargetState.STOPPED):
        return
    if seen.state == TargetState.DRAINING:
        await drain(session, target)
        return
    if seen.state == TargetState.READY:
        if wakes(target) and target.wake_time:
            target.cold_start_seconds = (session.clock.now() - target.wake_time).total_seconds()
        target.ready_time = session.clock.now()
    await transition(session, target, seen.state)


async def stand_by(session: Session, target: Target) -> None:
    """It gets nothing new, and stays warm. What does not answer has nothing to stay warm for; what sleeps goes on to,
    for its sessions may wake it.
    """
    if not takes_requests(target):
        await drain(session, target)
        return
    target.weight_percent, target.standby_time = 0, session.clock.now()
    if target.state == TargetState.READY:
        await transition(session, target, TargetState.STANDBY)


async def come_back(session: Session, target: Target) -> None:
    """Ready at once if it answered when it was last looked at."""
    target.standby_time = None
    if target.state == TargetState.STANDBY:
        await transition(session, target, TargetState.STARTING if target.failure_message else TargetState.READY)


def wakes(target: Target) -> bool:
    """A request woke it, and it is on its way."""
    is_coming = target.state in (TargetState.PENDING, TargetState.STARTING)
    return is_coming and target.wake_time is not None and (target.ready_time or NEVER) <= target.wake_time


def takes_requests(target: Target) -> bool:
    """At once, or when it is awake."""
    return target.state in (TargetState.READY, TargetState.ASLEEP) or wakes(target)


async def drain(session: Session, target: Target) -> None:
    target.weight_percent = 0
    if target.state not in LEAVING:
        target.drain_time = session.clock.now()
        await transition(session, target, TargetState.DRAINING)


def short_version(target: Target) -> str:
    """What a client writes after `@`: the number of the version."""
    return last(target.model_version) if target.model_version else ""
