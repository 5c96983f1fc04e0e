"""Use cases of queues: a project's local queues, and the cluster queues whose quotas they share."""

from __future__ import annotations

from collections.abc import Collection

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Invalid, NotFound, Precondition
from gyre_kit.names import slug

from services.gpu_scheduler import budgets, quota, store
from services.gpu_scheduler.models import ClusterQueue, Queue, QueueState
from services.gpu_scheduler.quota import Quotas

DEFAULT = "default"
DEFAULT_CLUSTER_QUEUE = "clusterQueues/default"
UPDATABLE = ("display_name", "priority", "state", "quotas", "budget_microusd", "budget_period")


class QueueNotFound(NotFound):
    """The project has no queue of that name."""


class QueueExists(AlreadyExists):
    """The project has a queue of that name already."""


class ClusterqueueNotFound(NotFound):
    """There is no cluster queue of that name: `gyre cluster-queues list` shows those that there are."""


class BadClusterQueue(Invalid):
    """A cluster queue is named clusterQueues/{slug}."""


class FieldImmutable(Invalid):
    """That field cannot be changed."""


class QueueNotEmpty(Precondition):
    """Work of it waits or holds resources: cancel that, or let it end, first."""


class DefaultQueueStays(Precondition):
    """Every project has its default queue; hold it to have it admit nothing."""


class BadState(Invalid):
    """A queue is made ACTIVE or HELD."""


async def named(session: Session, project: str, names: Collection[str]) -> dict[str, str]:
    """What workloads name → their queue; "" is the project's default, made at first use. Raises: QueueNotFound."""
    default = default_name(project)
    if "" in names or default in names:
        await default_queue(session, project)
    asked = {name: name or default for name in names}
    there = await store.queues_named(session, project, set(asked.values()))
    if missing := set(asked.values()) - there:
        raise QueueNotFound(name=min(missing))
    return asked


def default_name(project: str) -> str:
    return f"projects/{project}/queues/{DEFAULT}"


async def default_queue(session: Session, project: str) -> Queue:
    """Every project has one, on the default cluster queue, from the first moment that somebody looks for it."""
    name = default_name(project)
    if queue := await store.find_queue(session, name):
        return queue
    await store.serialise(session, f"queues/{project}")
    if queue := await store.find_queue(session, name):
        return queue
    queue = Queue(
        name=name,
        project=project,
        display_name="Default",
        created_by="system",
        state=QueueState.ACTIVE,
        cluster_queue=DEFAULT_CLUSTER_QUEUE,
    )
    await _ensure_cluster_queue(session, DEFAULT_CLUSTER_QUEUE, {})
    session.add(queue)
    await session.flush()
    return queue


async def create(
    session: Session, project: str, queue_id: str, *, display_name: str = "", cluster_queue: str = "", priority: int = 0,
    quotas: Quotas | None = None, request_id: str = "",
) -> Queue:  # fmt: skip
    """Raises: BadName; BadClusterQueue; ClusterqueueNotFound; QueueExists; FlavorNotFound; QuotaOverCapacity."""
    if earlier := await resources.by_request(session, Queue, project, request_id):
        return earlier
    name = f"projects/{project}/queues/{slug(queue_id)}"
    collection, _, id = (cluster_queue or DEFAULT_CLUSTER_QUEUE).partition("/")
    if collection != "clusterQueues":
        raise BadClusterQueue(field="cluster_queue", given=cluster_queue[:80])
    await store.serialise(session, f"queues/{project}")
    if await store.find_queue(session, name):
        raise QueueExists(name=name)
    await _ensure_cluster_queue(session, f"clusterQueues/{slug(id)}", quotas or {})
    queue = Queue(
        name=name,
        project=project,
        display_name=display_name or queue_id,
        state=QueueState.ACTIVE,
        cluster_queue=f"clusterQueues/{id}",
        priority=priority,
        request_id=request_id or None,
    )
    session.add(queue)
    await session.flush()
    return queue


async def update(
    session: Session, name: str, fields: Collection[str], *, etag: str = "", display_name: str = "", priority: int = 0,
    state: str = "", quotas: Quotas | None = None, budget_microusd: int = 0, budget_period: str = "",
) -> Queue:  # fmt: skip
    """Changes `fields` and nothing else. Raises: NotFound; EtagMismatch; FieldImmutable; BadState; QuotaOverCapacity."""
    for field in fields:
        if field not in UPDATABLE:
            raise FieldImmutable(field=field, changeable="|".join(UPDATABLE))
    queue = await resources.get(session, Queue, name, lock=True)
    resources.check_etag(queue, etag)
    if "display_name" in fields:
        queue.display_name = display_name
    if "priority" in fields:
        queue.priority = priority
    if "state" in fields:
        if state not in list(QueueState):
            raise BadState(field="state", given=state)
        queue.state = state
    if "budget_microusd" in fields:
        queue.budget_microusd = budget_microusd
    if "budget_period" in fields:
        queue.budget_period = budget_period or "MONTH"
    budgets.check(queue.budget_microusd, queue.budget_period)
    if "quotas" in fields:
        await quota.check(session, quotas or {})
        shared = await session.get_one(ClusterQueue, queue.cluster_queue, with_for_update=True)
        shared.quotas, shared.revision = quota.to_json(quotas or {}), shared.revision + 1
    await session.flush()
    return queue


async def delete(session: Session, name: str, *, etag: str = "") -> None:
    """Raises: NotFound; EtagMismatch; DefaultQueueStays; QueueNotEmpty."""
    queue = await resources.get(session, Queue, name, lock=True)
    resources.check_etag(queue, etag)
    if name == default_name(queue.project):
        raise DefaultQueueStays(name=name)
    pending, admitted = (await store.queue_counts(session, [name])).get(name, (0, 0))
    if pending or admitted:
        raise QueueNotEmpty(name=name, waiting=pending, holding=admitted)
    await session.delete(queue)
    await session.flush()


async def _ensure_cluster_queue(session: Session, name: str, quotas: Quotas) -> None:
    """The default is made at first use, another where quotas are given for it; quotas for one that is there change nothing.

    Raises: ClusterqueueNotFound; FlavorNotFound; BadQuota; QuotaOverCapacity.
    """
    await store.serialise(session, "cluster queues")
    if await session.get(ClusterQueue, name) is not None:
        return
    if name != DEFAULT_CLUSTER_QUEUE and not quotas:
        raise ClusterqueueNotFound(field="cluster_queue", given=name)
    await quota.check(session, quotas)
    session.add(ClusterQueue(name=name, quotas=quota.to_json(quotas)))
    await session.flush()
