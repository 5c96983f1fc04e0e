"""Use cases of queues: a project's local queues, and the cluster queues whose quotas they share."""

from __future__ import annotations

from collections.abc import Collection

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Denied, Invalid, NotFound, Precondition
from gyre_kit.names import slug

from services.gpu_scheduler import budgets, cluster_queues, store, store_bounds, store_queues
from services.gpu_scheduler.cluster_queues import FieldImmutable
from services.gpu_scheduler.models import ClusterQueue, Queue, QueueState

DEFAULT = "default"
DEFAULT_CLUSTER_QUEUE = "clusterQueues/default"
UPDATABLE = ("display_name", "priority", "state", "budget_microusd", "budget_period")


class QueueNotFound(NotFound):
    """The project has no queue of that name."""


class QueueExists(AlreadyExists):
    """The project has a queue of that name already."""


class BadClusterQueue(Invalid):
    """A cluster queue is named clusterQueues/{slug}."""


class QuotasAreShared(Invalid):
    """Quotas are those of the cluster queue, which projects share: an operator sets them (gyre cluster-queues set)."""


class ClusterQueueOfOthers(Denied):
    """That cluster queue is not for this project: an operator adds it (gyre cluster-queues set --for), or use another."""


class PriorityAboveBound(Invalid):
    """Its cluster queue bounds priorities: ask for a lower one, or an operator for a higher bound (max_priority)."""


class QueueNotEmpty(Precondition):
    """Work of it waits or holds resources: cancel that, or let it end, first."""


class DefaultQueueStays(Precondition):
    """Every project has its default queue; hold it to have it admit nothing."""


class BadState(Invalid):
    """A queue is made ACTIVE or HELD."""


async def named(session: Session, project: str, names: Collection[str]) -> dict[str, tuple[Queue, ClusterQueue]]:
    """What workloads name → their queue and whose quotas it draws from; "" is the project's default, made at first use.

    Raises: QueueNotFound.
    """
    default = default_name(project)
    if "" in names or default in names:
        await default_queue(session, project)
    asked = {name: name or default for name in names}
    there = await store_queues.queues_named(session, project, set(asked.values()))
    if missing := set(asked.values()) - there.keys():
        raise QueueNotFound(name=min(missing))
    return {name: there[queue] for name, queue in asked.items()}


def default_name(project: str) -> str:
    return f"projects/{project}/queues/{DEFAULT}"


async def default_queue(session: Session, project: str) -> Queue:
    """Every project has one, on the default cluster queue, from the first moment that somebody looks for it."""
    name = default_name(project)
    if queue := await store_queues.find_queue(session, name):
        return queue
    await store.serialise(session, f"queues/{project}")
    if queue := await store_queues.find_queue(session, name):
        return queue
    queue = Queue(
        name=name,
        project=project,
        display_name="Default",
        created_by="system",
        state=QueueState.ACTIVE,
        cluster_queue=DEFAULT_CLUSTER_QUEUE,
    )
    await _ensure_default_cluster_queue(session)
    session.add(queue)
    await session.flush()
    return queue


async def create(
    session: Session, project: str, queue_id: str, *, display_name: str = "", cluster_queue: str = "", priority: int = 0,
    request_id: str = "",
) -> Queue:  # fmt: skip
    """Raises: BadName; BadClusterQueue; ClusterqueueNotFound; ClusterQueueOfOthers; PriorityAboveBound; QueueExists."""
    if earlier := await resources.by_request(session, Queue, project, request_id):
        return earlier
    name = f"projects/{project}/queues/{slug(queue_id)}"
    shared = await _cluster_queue_for(session, project, cluster_queue or DEFAULT_CLUSTER_QUEUE)
    check_priority(shared, priority)
    await store.serialise(session, f"queues/{project}")
    if await store_queues.find_queue(session, name):
        raise QueueExists(name=name)
    queue = Queue(
        name=name,
        project=project,
        display_name=display_name or queue_id,
        state=QueueState.ACTIVE,
        cluster_queue=shared.name,
        priority=priority,
        request_id=request_id or None,
    )
    session.add(queue)
    await session.flush()
    return queue


async def update(
    session: Session, name: str, fields: Collection[str], *, etag: str = "", display_name: str = "", priority: int = 0,
    state: str = "", budget_microusd: int = 0, budget_period: str = "",
) -> Queue:  # fmt: skip
    """Changes `fields` and nothing else.

    Raises: NotFound; EtagMismatch; FieldImmutable; QuotasAreShared; BadState; BadBudget; PriorityAboveBound.
    """
    _check_fields(fields)
    queue = await resources.get(session, Queue, name, lock=True)
    resources.check_etag(queue, etag)
    if "display_name" in fields:
        queue.display_name = display_name
    if "priority" in fields:
        shared = await session.get_one(ClusterQueue, queue.cluster_queue)
        check_priority(shared, priority + max(0, await store_bounds.highest_priority(session, name)))
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
    await session.flush()
    return queue


def check_priority(shared: ClusterQueue, priority: int) -> None:
    """`priority`: that of work and of its queue together. Raises: PriorityAboveBound."""
    if shared.max_priority is not None and priority > shared.max_priority:
        raise PriorityAboveBound(
            field="priority", given=priority, cluster_queue=shared.name, max_priority=shared.max_priority
        )


async def delete(session: Session, name: str, *, etag: str = "") -> None:
    """Raises: NotFound; EtagMismatch; DefaultQueueStays; QueueNotEmpty."""
    queue = await resources.get(session, Queue, name, lock=True)
    resources.check_etag(queue, etag)
    if name == default_name(queue.project):
        raise DefaultQueueStays(name=name)
    pending, admitted = (await store_queues.queue_counts(session, [name])).get(name, (0, 0))
    if pending or admitted:
        raise QueueNotEmpty(name=name, waiting=pending, holding=admitted)
    await session.delete(queue)
    await session.flush()


async def _cluster_queue_for(session: Session, project: str, name: str) -> ClusterQueue:
    """Raises: BadClusterQueue; ClusterqueueNotFound; ClusterQueueOfOthers."""
    if not name.startswith("clusterQueues/"):
        raise BadClusterQueue(field="cluster_queue", given=name[:80])
    if name == DEFAULT_CLUSTER_QUEUE:
        await _ensure_default_cluster_queue(session)
    shared = await cluster_queues.get(session, name)
    if shared.projects and project not in shared.projects:
        raise ClusterQueueOfOthers(name=name, project=project)
    return shared


async def _ensure_default_cluster_queue(session: Session) -> None:
    await store.serialise(session, "cluster queues")
    if await session.get(ClusterQueue, DEFAULT_CLUSTER_QUEUE) is None:
        session.add(ClusterQueue(name=DEFAULT_CLUSTER_QUEUE))
        await session.flush()


def _check_fields(fields: Collection[str]) -> None:
    for field in fields:
        if field.partition(".")[0] == "quotas":
            raise QuotasAreShared(field=field)
        if field not in UPDATABLE:
            raise FieldImmutable(field=field, changeable="|".join(UPDATABLE))
