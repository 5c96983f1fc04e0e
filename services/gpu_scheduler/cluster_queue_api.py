"""Parse, call, render: cluster queues and cohorts. All projects share them, so they are read and changed as the system."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.empty_pb2 import Empty
from gyre.gpu_scheduler.v1 import cluster_queue_pb2, queue_pb2
from gyre.gpu_scheduler.v1 import cluster_queue_service_pb2 as rpc
from gyre.gpu_scheduler.v1.cluster_queue_service_pb2_grpc import ClusterQueueServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as, caller
from gyre_kit.db import Session
from gyre_kit.names import project_of
from gyre_kit.render import enum_name, enum_number

from services.gpu_scheduler import cluster_queues, facts, quota, store_queues
from services.gpu_scheduler.books import BOOKS, Books
from services.gpu_scheduler.cluster_queues import CohortWish, QueueWish
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.quotas import Preemption
from services.gpu_scheduler.models import ClusterQueue, Cohort
from services.gpu_scheduler.quota import Quota

STRATEGY = cluster_queue_pb2.ClusterQueue.Strategy.DESCRIPTOR
POLICY = cluster_queue_pb2.Preemption.Policy.DESCRIPTOR
WORDS = {
    "NEVER": "Never", "LOWER_PRIORITY": "LowerPriority", "ANY": "Any",
    "LOWER_OR_NEWER_EQUAL_PRIORITY": "LowerOrNewerEqualPriority",
}  # fmt: skip
NAMES = {word: name for name, word in WORDS.items()}
KINDS = ("within_cluster_queue", "reclaim_within_cohort", "borrow_within_cohort")


class ClusterQueueApi(ClusterQueueServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[Session]:
        """Raises: OperatorsOnly."""
        cluster_queues.check_operator()
        async with self._all_projects() as session:
            yield session

    @asynccontextmanager
    async def _all_projects(self) -> AsyncIterator[Session]:
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                yield session

    async def CreateClusterQueue(
        self, request: rpc.CreateClusterQueueRequest, _: Any
    ) -> cluster_queue_pb2.ClusterQueue:
        async with self._change() as session:
            row = await cluster_queues.create(session, request.cluster_queue_id, _queue_wish(request.cluster_queue))
            reply = (await self._queues(session, [row]))[0]
        return _told(reply)

    async def GetClusterQueue(self, request: rpc.GetClusterQueueRequest, _: Any) -> cluster_queue_pb2.ClusterQueue:
        async with self._all_projects() as session:
            reply = (await self._queues(session, [await cluster_queues.get(session, request.name)]))[0]
        return _told(reply)

    async def ListClusterQueues(self, request: rpc.ListClusterQueuesRequest, _: Any) -> rpc.ListClusterQueuesResponse:
        async with self._all_projects() as session:
            found = await store_queues.cluster_queue_page(session, request)
            rows = await self._queues(session, found.rows)
        return rpc.ListClusterQueuesResponse(
            cluster_queues=[_told(row) for row in rows], next_page_token=found.next_page_token, total_size=found.total
        )

    async def UpdateClusterQueue(
        self, request: rpc.UpdateClusterQueueRequest, _: Any
    ) -> cluster_queue_pb2.ClusterQueue:
        given = request.cluster_queue
        async with self._change() as session:
            fields = request.update_mask.paths
            row = await cluster_queues.update(session, given.name, _queue_wish(given), fields, given.etag)
            reply = (await self._queues(session, [row]))[0]
        self.context.wake()
        return _told(reply)

    async def DeleteClusterQueue(self, request: rpc.DeleteClusterQueueRequest, _: Any) -> Empty:
        async with self._change() as session:
            await cluster_queues.delete(session, request.name, request.etag)
        return Empty()

    async def CreateCohort(self, request: rpc.CreateCohortRequest, _: Any) -> cluster_queue_pb2.Cohort:
        async with self._change() as session:
            row = await cluster_queues.create_cohort(session, request.cohort_id, _cohort_wish(request.cohort))
            return (await self._cohorts(session, [row]))[0]

    async def GetCohort(self, request: rpc.GetCohortRequest, _: Any) -> cluster_queue_pb2.Cohort:
        async with self._all_projects() as session:
            return (await self._cohorts(session, [await cluster_queues.get_cohort(session, request.name)]))[0]

    async def ListCohorts(self, request: rpc.ListCohortsRequest, _: Any) -> rpc.ListCohortsResponse:
        async with self._all_projects() as session:
            found = await store_queues.cohort_page(session, request)
            rows = await self._cohorts(session, found.rows)
        return rpc.ListCohortsResponse(cohorts=rows, next_page_token=found.next_page_token, total_size=found.total)

    async def UpdateCohort(self, request: rpc.UpdateCohortRequest, _: Any) -> cluster_queue_pb2.Cohort:
        given = request.cohort
        async with self._change() as session:
            fields = request.update_mask.paths
            row = await cluster_queues.update_cohort(session, given.name, _cohort_wish(given), fields, given.etag)
            reply = (await self._cohorts(session, [row]))[0]
        self.context.wake()
        return reply

    async def DeleteCohort(self, request: rpc.DeleteCohortRequest, _: Any) -> Empty:
        async with self._change() as session:
            await cluster_queues.delete_cohort(session, request.name, request.etag)
        return Empty()

    async def _queues(self, session: Session, rows: Sequence[ClusterQueue]) -> list[cluster_queue_pb2.ClusterQueue]:
        counts = await store_queues.cluster_queue_counts(session, [row.name for row in rows])
        used = await store_queues.held_by_cluster_queue(session)
        return [self._queue(row, counts.get(row.name, (0, 0, 0)), used) for row in rows]

    def _queue(
        self, row: ClusterQueue, counts: tuple[int, int, int], used: Mapping[tuple[str, str], Amount]
    ) -> cluster_queue_pb2.ClusterQueue:
        books: Books = self.context.state[BOOKS]
        line = books.cluster.lines.get(row.name) if books.cluster is not None else None
        return cluster_queue_pb2.ClusterQueue(
            name=row.name,
            etag=str(row.revision),
            cohort=row.cohort,
            weight=row.weight,
            strategy=enum_number(STRATEGY, "STRICT_FIFO" if row.strict else "BEST_EFFORT_FIFO"),
            preemption=_preemption(row.preemption),
            quotas=quota_rows(
                row.quotas, {flavor: amount for (name, flavor), amount in used.items() if name == row.name}
            ),
            queue_count=counts[0],
            pending_count=counts[1],
            admitted_count=counts[2],
            share=line.quota.share() if line is not None else 0.0,
            max_priority=row.max_priority,
            projects=[f"projects/{project}" for project in row.projects],
        )

    async def _cohorts(self, session: Session, rows: Sequence[Cohort]) -> list[cluster_queue_pb2.Cohort]:
        replies = []
        for row in rows:
            members = await store_queues.members_of(session, row.name)
            replies.append(
                cluster_queue_pb2.Cohort(
                    name=row.name,
                    etag=str(row.revision),
                    parent=row.parent,
                    quotas=quota_rows(row.quotas, self._used_below(row)),
                    weight=row.weight,
                    member_count=len(members),
                )
            )
        return replies

    def _used_below(self, row: Cohort) -> dict[str, Amount]:
        """As far as the books know: what its members use of its own and of what they lend to one another."""
        books: Books = self.context.state[BOOKS]
        node = books.cluster.tree.cohorts.get(row.name) if books.cluster is not None else None
        usage = node.usage if node is not None else {}
        return {flavor: Amount(*(usage.get((flavor, kind), 0) for kind in range(3))) for flavor, _ in usage}


def _told(reply: cluster_queue_pb2.ClusterQueue) -> cluster_queue_pb2.ClusterQueue:
    """Which projects there are, nobody is told who may not see them."""
    visible = [name for name in reply.projects if caller().may_see(project_of(name))]
    del reply.projects[:]
    reply.projects.extend(visible)
    return reply


def quota_rows(stored: Mapping[str, Mapping[str, Any]], used: Mapping[str, Amount]) -> list[queue_pb2.FlavorQuota]:
    rows = []
    for flavor, given in sorted(quota.from_json(stored).items()):
        row = queue_pb2.FlavorQuota(flavor=flavor, nominal=facts.amount(given.nominal))
        row.used.CopyFrom(facts.amount(used.get(flavor, Amount())))
        if given.borrowing is not None:
            row.borrowing_limit.CopyFrom(facts.amount(given.borrowing))
        if given.lending is not None:
            row.lending_limit.CopyFrom(facts.amount(given.lending))
        rows.append(row)
    return rows


def quotas_of(rows: Sequence[queue_pb2.FlavorQuota]) -> dict[str, Quota]:
    """Raises: BadQuota for a flavor that is named twice."""
    quotas: dict[str, Quota] = {}
    for row in rows:
        if row.flavor in quotas:
            raise quota.BadQuota(field="quotas.flavor", flavor=row.flavor)
        borrowing = _amount(row.borrowing_limit) if row.HasField("borrowing_limit") else None
        lending = _amount(row.lending_limit) if row.HasField("lending_limit") else None
        quotas[row.flavor] = Quota(_amount(row.nominal), borrowing, lending)
    return quotas


def _amount(given: Any) -> Amount:
    return Amount(given.cpu_milli, given.memory_bytes, given.gpu * CARD + given.gpu_milli)


def _queue_wish(given: cluster_queue_pb2.ClusterQueue) -> QueueWish:
    asked: dict[str, Any] = {kind: WORDS[name] for kind in KINDS if (name := enum_name(given.preemption, kind))}
    if given.preemption.HasField("borrow_max_priority"):
        asked["threshold"] = given.preemption.borrow_max_priority
    strict = enum_name(given, "strategy") == "STRICT_FIFO"
    bound = given.max_priority if given.HasField("max_priority") else None
    projects = [name.removeprefix("projects/") for name in given.projects]
    return QueueWish(given.cohort, given.weight, strict, asked, quotas_of(given.quotas), bound, projects)


def _cohort_wish(given: cluster_queue_pb2.Cohort) -> CohortWish:
    return CohortWish(given.parent, given.weight, quotas_of(given.quotas))


def _preemption(stored: Mapping[str, Any]) -> cluster_queue_pb2.Preemption:
    """As it holds, defaults too."""
    rules = Preemption(**stored)
    reply = cluster_queue_pb2.Preemption(**{kind: enum_number(POLICY, NAMES[getattr(rules, kind)]) for kind in KINDS})
    if rules.threshold is not None:
        reply.borrow_max_priority = rules.threshold
    return reply
