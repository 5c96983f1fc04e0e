"""Use cases of operators: cluster queues and cohorts, who may use how much, and who lends to whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from gyre_kit.auth import ALL_PROJECTS, caller
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Denied, Invalid, NotFound, Precondition
from gyre_kit.names import slug
from gyre_kit.resources import EtagMismatch

from services.gpu_scheduler import quota, store, store_queues
from services.gpu_scheduler.models import ClusterQueue, Cohort
from services.gpu_scheduler.quota import Quotas

QUEUE_FIELDS = ("cohort", "weight", "strategy", "preemption", "quotas", "max_priority", "projects")
COHORT_FIELDS = ("parent", "weight", "quotas")


class ClusterqueueNotFound(NotFound):
    """There is no cluster queue of that name: `gyre cluster-queues list` has them, and an operator creates more."""


class CohortNotFound(NotFound):
    """There is no cohort of that name: create it first."""


class ClusterQueueExists(AlreadyExists):
    """There is a cluster queue of that name already."""


class CohortExists(AlreadyExists):
    """There is a cohort of that name already."""


class ClusterQueueInUse(Precondition):
    """Local queues point to it: delete those first."""


class CohortInUse(Precondition):
    """Cluster queues or cohorts are in it: take those out first."""


class CohortRing(Invalid):
    """A cohort cannot be in itself, nor in one that is in it."""


class BadWeight(Invalid):
    """A weight is 0 or more."""


class OperatorsOnly(Denied):
    """What all projects share is changed with a key of the whole platform, not with one of a project."""


class FieldImmutable(Invalid):
    """That field cannot be changed."""


@dataclass(frozen=True)
class QueueWish:
    """`preemption`: fields of decisions.quotas.Preemption; what is not named has its default.

    `max_priority` None: no bound. `projects` empty: queues of every project may point to it.
    """

    cohort: str = ""
    weight: float = 1.0
    strict: bool = False
    preemption: Mapping[str, Any] = field(default_factory=dict)
    quotas: Quotas = field(default_factory=dict)
    max_priority: int | None = None
    projects: Collection[str] = ()


@dataclass(frozen=True)
class CohortWish:
    parent: str = ""
    weight: float = 1.0
    quotas: Quotas = field(default_factory=dict)


def check_operator() -> None:
    """Raises: OperatorsOnly."""
    if caller().project != ALL_PROJECTS:
        raise OperatorsOnly(project=caller().project)


async def create(session: Session, queue_id: str, wish: QueueWish) -> ClusterQueue:
    """Raises: BadName; ClusterQueueExists; CohortNotFound; BadWeight, and what `quota.check` does."""
    name = f"clusterQueues/{slug(queue_id)}"
    await store.serialise(session, "cluster queues")
    if await session.get(ClusterQueue, name) is not None:
        raise ClusterQueueExists(name=name)
    row = ClusterQueue(name=name)
    await _fill_queue(session, row, wish, QUEUE_FIELDS)
    session.add(row)
    await session.flush()
    return row


async def update(session: Session, name: str, wish: QueueWish, fields: Collection[str], etag: str) -> ClusterQueue:
    """Changes `fields` and nothing else. Raises: ClusterqueueNotFound; EtagMismatch; FieldImmutable, as `create`."""
    _check_fields(fields, QUEUE_FIELDS)
    row = await get(session, name, etag)
    await _fill_queue(session, row, wish, fields)
    row.revision += 1
    await session.flush()
    return row


async def delete(session: Session, name: str, etag: str) -> None:
    """Raises: ClusterqueueNotFound; EtagMismatch; ClusterQueueInUse."""
    row = await get(session, name, etag)
    if doors := await store_queues.queues_of(session, name):
        raise ClusterQueueInUse(name=name, queues=len(doors))
    await session.delete(row)
    await session.flush()


async def get(session: Session, name: str, etag: str = "") -> ClusterQueue:
    row: ClusterQueue | None = await session.get(ClusterQueue, name, with_for_update=bool(etag), populate_existing=True)
    if row is None:
        raise ClusterqueueNotFound(name=name)
    _check_etag(row, etag)
    return row


async def create_cohort(session: Session, cohort_id: str, wish: CohortWish) -> Cohort:
    """Raises: BadName; CohortExists; CohortNotFound; BadWeight, and what `quota.check` does."""
    name = f"cohorts/{slug(cohort_id)}"
    await store.serialise(session, "cluster queues")
    if await session.get(Cohort, name) is not None:
        raise CohortExists(name=name)
    row = Cohort(name=name)
    await _fill_cohort(session, row, wish, COHORT_FIELDS)
    session.add(row)
    await session.flush()
    return row


async def update_cohort(session: Session, name: str, wish: CohortWish, fields: Collection[str], etag: str) -> Cohort:
    """Changes `fields` and nothing else. Raises: CohortNotFound; EtagMismatch; FieldImmutable; CohortRing."""
    _check_fields(fields, COHORT_FIELDS)
    await store.serialise(session, "cluster queues")  # two changes that form a ring only together come one by one
    row = await get_cohort(session, name, etag)
    await _fill_cohort(session, row, wish, fields)
    row.revision += 1
    await session.flush()
    return row


async def delete_cohort(session: Session, name: str, etag: str) -> None:
    """Raises: CohortNotFound; EtagMismatch; CohortInUse."""
    row = await get_cohort(session, name, etag)
    if members := await store_queues.members_of(session, name):
        raise CohortInUse(name=name, members="|".join(members))
    await session.delete(row)
    await session.flush()


async def get_cohort(session: Session, name: str, etag: str = "") -> Cohort:
    row: Cohort | None = await session.get(Cohort, name, with_for_update=bool(etag), populate_existing=True)
    if row is None:
        raise CohortNotFound(name=name)
    _check_etag(row, etag)
    return row


async def _fill_queue(session: Session, row: ClusterQueue, wish: QueueWish, fields: Collection[str]) -> None:
    if "cohort" in fields:
        if wish.cohort:
            await get_cohort(session, wish.cohort)
        row.cohort = wish.cohort
    if "strategy" in fields:
        row.strict = wish.strict
    if "preemption" in fields:
        row.preemption = dict(wish.preemption)
    if "max_priority" in fields:
        row.max_priority = wish.max_priority
    if "projects" in fields:
        row.projects = sorted({slug(project) for project in wish.projects})
    await _fill_both(session, row, wish, fields)


async def _fill_cohort(session: Session, row: Cohort, wish: CohortWish, fields: Collection[str]) -> None:
    if "parent" in fields:
        above = wish.parent
        while above:
            if above == row.name:
                raise CohortRing(name=row.name, parent=wish.parent)
            above = (await get_cohort(session, above)).parent
        row.parent = wish.parent
    await _fill_both(session, row, wish, fields)


async def _fill_both(
    session: Session, row: ClusterQueue | Cohort, wish: QueueWish | CohortWish, fields: Collection[str]
) -> None:
    if "weight" in fields:
        if not 0 <= wish.weight < float("inf"):
            raise BadWeight(field="weight", given=wish.weight)
        row.weight = wish.weight
    if "quotas" in fields:
        await quota.check(session, wish.quotas)
        row.quotas = quota.to_json(wish.quotas)


def _check_fields(fields: Collection[str], changeable: Collection[str]) -> None:
    for each in fields:
        if each.partition(".")[0] not in changeable:
            raise FieldImmutable(field=each, changeable="|".join(changeable))


def _check_etag(row: ClusterQueue | Cohort, etag: str) -> None:
    if etag and etag != str(row.revision):
        raise EtagMismatch(name=row.name, given=etag, current=str(row.revision))
