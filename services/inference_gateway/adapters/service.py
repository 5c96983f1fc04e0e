"""Use cases: the adapters that a deployment serves on its base.

They belong to its targets: what llama.cpp has is decided when it starts, so another set is another target, which comes
up by a rollout as another version would. Who may ask for one, and what an engine loads while it serves, change in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, Precondition
from gyre_kit.names import slug

from services.inference_gateway import service, store
from services.inference_gateway.models.deployments import Deployment, Target
from services.inference_gateway.rollouts import service as rollouts
from services.inference_gateway.targets import LEAVING, Adapter, identity, price_anew, wanted_again

MOST = 64  # on one base: llama.cpp holds all of them in memory


class BadAdapters(Invalid):
    """Adapters are at most 64 of one deployment, each id used once; a key is of this project, and bound to one of them."""


class NoBase(Precondition):
    """Adapters need a base that Gyre launched; this deployment serves none, or several at a time."""


@dataclass(frozen=True)
class Base:
    """What adapters are to be added to: a version, and which engine serves it."""

    model_version: str
    engine: str


async def base_of(session: Session, name: str) -> Base:
    """Raises: NotFound; NoBase."""
    deployment = await service.existing(session, name)
    found = {Base(each.model_version, each.engine) for each in await _serving(session, deployment)}
    if len(found) != 1 or not (base := found.pop()).model_version:
        raise NoBase(name=name)
    return base


async def set_all(
    session: Session, name: str, base: Base, adapters: Sequence[Adapter], *, etag: str = ""
) -> Deployment:
    """`adapters` were found to be of `base`.

    Raises: NotFound; EtagMismatch; BadAdapters; NoBase if it serves another one by now; ShiftInProgress;
    ExperimentRunning.
    """
    deployment = await service.existing(session, name)
    resources.check_etag(deployment, etag)
    await _check(session, deployment, adapters)
    if await base_of(session, name) != base:
        raise NoBase(name=name)
    serving = await _serving(session, deployment)
    wanted = [replace(wanted_again(each, each.weight_percent), adapters=tuple(adapters)) for each in serving]
    if all(each.identity == identity(target) for each, target in zip(wanted, serving, strict=True)):
        for each, target in zip(wanted, serving, strict=True):
            price_anew(target, each)
        deployment.due = None
        await session.flush()
        return deployment
    await rollouts.begin(session, deployment, wanted)
    return deployment


async def has_unknown(session: Session, project: str, keys: Sequence[str]) -> bool:
    known = {key.name for key in await store.keys_of(session, project)} if keys else set()
    return not known.issuperset(keys)


async def _serving(session: Session, deployment: Deployment) -> list[Target]:
    targets = await store.targets_of(session, deployment.name, lock=True)
    return [each for each in targets if each.weight_percent and each.state not in LEAVING]


async def _check(session: Session, deployment: Deployment, adapters: Sequence[Adapter]) -> None:
    """Raises: BadName; BadAdapters."""
    ids = [slug(each.id) for each in adapters]
    if len(set(ids)) < len(ids) or len(ids) > MOST:
        raise BadAdapters(field="adapters", given=", ".join(ids)[:200])
    bound = [key for each in adapters for key in each.keys]
    if not bound:
        return
    if len(set(bound)) < len(bound) or await has_unknown(session, deployment.project, bound):
        raise BadAdapters(field="adapters.keys", given=", ".join(bound)[:200])
