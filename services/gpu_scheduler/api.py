"""Parse, call, render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from gyre.gpu_scheduler.v1 import (
    node_pb2,
    queue_pb2,
    queue_service_pb2,
    workload_pb2,
)
from gyre.gpu_scheduler.v1 import workload_service_pb2 as workload_service
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceServicer
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as, caller
from gyre_kit.names import project_of
from gyre_kit.render import enum_name, render
from gyre_kit.telemetry import current_traceparent

from services.gpu_scheduler import (
    budgets,
    facts,
    queues,
    quota,
    reconcile,
    service,
    store,
    store_nodes,
    store_queues,
    submission,
    throughput,
    waiting,
)
from services.gpu_scheduler.books import BOOKS, Books
from services.gpu_scheduler.cluster_queue_api import quota_rows
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.gathering import Gathering
from services.gpu_scheduler.launchers.base import STDERR, STDOUT
from services.gpu_scheduler.launchers.mirror import rank_folder
from services.gpu_scheduler.logs import AttemptNotFound, read_log
from services.gpu_scheduler.models import HOLDING, Queue, Workload
from services.gpu_scheduler.quota import Quota
from services.gpu_scheduler.usage import usage_of
from services.gpu_scheduler.waiting import Told

STREAMS = {"": STDERR, "STDERR": STDERR, "STDOUT": STDOUT}


class WorkloadApi(WorkloadServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db
        self.gathering = Gathering(context.db, context.settings)

    async def EnsureWorkload(self, request: workload_service.EnsureWorkloadRequest, _: Any) -> workload_pb2.Workload:
        spec = request.spec
        wanted = submission.Wanted(
            kind=enum_name(spec, "kind"),
            module=spec.module,
            spec_json=spec.spec_json,
            requests=_amount(spec.requests),
            queue=spec.queue,
            priority=spec.priority,
            priority_class=spec.priority_class,
            max_attempts=spec.max_attempts,
            owner=spec.owner,
            display_name=spec.display_name,
            only_flavor=spec.only_flavor,
            max_run_seconds=spec.max_run_seconds,
            throughput_class=spec.throughput_class,
            guaranteed=spec.guaranteed,
            user=spec.user,
            traceparent=current_traceparent(),
        )
        workload = await self.gathering.ensure(request.name, wanted)
        if workload.waiting_reason == Reason.NOT_CONSIDERED_YET:
            self.context.wake_event(reconcile.admit.__name__).set()
        return await self._rendered(workload)

    async def GetWorkload(self, request: workload_service.GetWorkloadRequest, _: Any) -> workload_pb2.Workload:
        async with self.db.transaction() as session:
            workload = await resources.get(session, Workload, request.name)
        return await self._rendered(workload)

    async def ListWorkloads(
        self, request: workload_service.ListWorkloadsRequest, _: Any
    ) -> workload_service.ListWorkloadsResponse:
        async with self.db.transaction() as session:
            found = await store.workload_page(session, project_of(request.parent), request)
            attempts = await store.attempts_of(session, [row.name for row in found.rows])
            now = session.clock.now()
        codes = waiting.codes(self._books, found.rows)
        return workload_service.ListWorkloadsResponse(
            workloads=[
                to_proto(row, usage_of(attempts[row.name], now), Told(code))
                for row, code in zip(found.rows, codes, strict=True)
            ],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CancelWorkload(self, request: workload_service.CancelWorkloadRequest, _: Any) -> workload_pb2.Workload:
        async with self.db.transaction() as session:
            workload = await service.cancel(session, request.name, etag=request.etag)
        self.context.wake()
        return await self._rendered(workload)

    async def HoldWorkload(self, request: workload_service.HoldWorkloadRequest, _: Any) -> workload_pb2.Workload:
        async with self.db.transaction() as session:
            workload = await service.hold(session, request.name, etag=request.etag)
        self.context.wake()
        return await self._rendered(workload)

    async def ReleaseWorkload(self, request: workload_service.ReleaseWorkloadRequest, _: Any) -> workload_pb2.Workload:
        async with self.db.transaction() as session:
            workload = await service.release(session, request.name, etag=request.etag)
        self.context.wake()
        return await self._rendered(workload)

    async def ReportThroughput(self, request: workload_service.ReportThroughputRequest, _: Any) -> Empty:
        async with self.db.transaction() as session:
            await throughput.report(session, request.name, request.attempt, request.units_per_second)
        return Empty()

    async def GetWorkloadLogs(
        self, request: workload_service.GetWorkloadLogsRequest, _: Any
    ) -> AsyncIterator[workload_service.LogChunk]:
        async with self.db.transaction() as session:
            workload = await resources.get(session, Workload, request.name)
        attempt = request.attempt or workload.attempt
        if not 1 <= attempt <= workload.attempt:
            raise AttemptNotFound(name=request.name, attempt=attempt, latest=workload.attempt)

        async def has_ended() -> bool:
            async with self.db.transaction() as session:
                now = await resources.get(session, Workload, request.name)
            return now.attempt != attempt or now.state not in HOLDING

        folder = rank_folder(self.context.settings.work_folder / workload.uid / str(attempt), request.rank)
        pieces = read_log(
            folder / STREAMS[enum_name(request, "stream")],
            offset=request.offset,
            tail_lines=request.tail_lines,
            follow=request.follow,
            has_ended=has_ended,
        )
        async for offset, data in pieces:
            yield workload_service.LogChunk(attempt=attempt, offset=offset, data=data)

    async def _rendered(self, workload: Workload) -> workload_pb2.Workload:
        if workload.attempt == 0:
            usage = usage_of([], self.context.clock.now())
        else:
            async with self.db.transaction() as session:
                attempts = await store.attempts_of(session, [workload.name])
                usage = usage_of(attempts[workload.name], session.clock.now())
        return to_proto(workload, usage, await waiting.told(self.db, self._books, workload))

    @property
    def _books(self) -> Books:
        books: Books = self.context.state[BOOKS]
        return books


class QueueApi(QueueServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateQueue(self, request: queue_service_pb2.CreateQueueRequest, _: Any) -> queue_pb2.Queue:
        if request.quotas:
            raise queues.QuotasAreShared(field="quotas")
        async with self.db.transaction() as session:
            queue = await queues.create(
                session,
                project_of(request.parent),
                request.queue_id,
                display_name=request.display_name,
                cluster_queue=request.cluster_queue,
                priority=request.priority,
                request_id=request.request_id,
            )
        return (await self._rendered([queue]))[0]

    async def GetQueue(self, request: queue_service_pb2.GetQueueRequest, _: Any) -> queue_pb2.Queue:
        async with self.db.transaction() as session:
            project = project_of(request.name)
            if request.name == queues.default_name(project):
                queue = await queues.default_queue(session, project)
            else:
                queue = await resources.get(session, Queue, request.name)
        return (await self._rendered([queue]))[0]

    async def ListQueues(
        self, request: queue_service_pb2.ListQueuesRequest, _: Any
    ) -> queue_service_pb2.ListQueuesResponse:
        async with self.db.transaction() as session:
            project = project_of(request.parent)
            await queues.default_queue(session, project)
            found = await store_queues.queue_page(session, project, request)
        return queue_service_pb2.ListQueuesResponse(
            queues=await self._rendered(found.rows), next_page_token=found.next_page_token, total_size=found.total
        )

    async def UpdateQueue(self, request: queue_service_pb2.UpdateQueueRequest, _: Any) -> queue_pb2.Queue:
        given = request.queue
        async with self.db.transaction() as session:
            queue = await queues.update(
                session,
                given.name,
                request.update_mask.paths,
                etag=given.etag,
                display_name=given.display_name,
                priority=given.priority,
                state=enum_name(given, "state"),
                budget_microusd=given.budget_microusd,
                budget_period=enum_name(given, "budget_period"),
            )
        self.context.wake()
        return (await self._rendered([queue]))[0]

    async def DeleteQueue(self, request: queue_service_pb2.DeleteQueueRequest, _: Any) -> Empty:
        async with self.db.transaction() as session:
            await queues.delete(session, request.name, etag=request.etag)
        return Empty()

    async def _rendered(self, rows: Sequence[Queue]) -> list[queue_pb2.Queue]:
        """Quotas and what is used of them are sums over all projects, so they are read as the system."""
        async with self.db.transaction() as session:
            counts = await store_queues.queue_counts(session, [row.name for row in rows])
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                shared = {row.name: row.quotas for row in await store_queues.cluster_queues(session)}
                capacity = quota.total_capacity(await store_nodes.nodes(session))
                used = await store_queues.held_by(session, Queue.cluster_queue)
                spent = await budgets.spent(session, rows)
        return [
            render(
                row,
                queue_pb2.Queue,
                quotas=_quota_table(row.cluster_queue, shared.get(row.cluster_queue, {}), capacity, used),
                spent_microusd=spent.get(row.name, 0),
                pending_count=counts.get(row.name, (0, 0))[0],
                admitted_count=counts.get(row.name, (0, 0))[1],
            )
            for row in rows
        ]


def to_proto(workload: Workload, usage: workload_pb2.Usage, told: Told) -> workload_pb2.Workload:
    """Who gained by its preemption is told to whoever may see that one."""
    spec = render(workload, workload_pb2.WorkloadSpec, requests=facts.resources(workload))
    gained = workload.preempted_for
    return render(
        workload,
        workload_pb2.Workload,
        spec=spec,
        usage=usage,
        waiting_reason=told.reason,
        waiting_message=told.message,
        queue_position=told.position,
        earliest_start_time=told.earliest,
        earliest_start_estimated=told.is_estimate,
        preempted_for=gained if gained and caller().may_see(project_of(gained)) else "",
    )


def _amount(given: node_pb2.Resources) -> Amount:
    return Amount(given.cpu_milli, given.memory_bytes, given.gpu * CARD + given.gpu_milli)


def _quota_table(
    cluster_queue: str,
    quotas: dict[str, dict[str, Any]],
    capacity: dict[str, Amount],
    used: dict[tuple[str, str], tuple[int, int, int]],
) -> list[queue_pb2.FlavorQuota]:
    """A cluster queue without quotas may give all that the nodes have."""
    stored = quotas or quota.to_json({flavor: Quota(amount) for flavor, amount in capacity.items()})
    return quota_rows(stored, {flavor: Amount(*used.get((cluster_queue, flavor), (0, 0, 0))) for flavor in stored})
