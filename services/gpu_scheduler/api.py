"""Parse, call, render."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from gyre.gpu_scheduler.v1 import (
    cost_pb2,
    cost_service_pb2,
    node_pb2,
    node_service_pb2,
    queue_pb2,
    queue_service_pb2,
    workload_pb2,
)
from gyre.gpu_scheduler.v1 import workload_service_pb2 as workload_service
from gyre.gpu_scheduler.v1.cost_service_pb2_grpc import CostServiceServicer
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceServicer
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceServicer
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as, caller
from gyre_kit.errors import NotFound
from gyre_kit.names import project_of
from gyre_kit.periods import period_of
from gyre_kit.render import enum_name, render

from services.gpu_scheduler import facts, launcher, queues, service, store
from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.logs import AttemptNotFound, read_log
from services.gpu_scheduler.models import HOLDING, Card, Node, Queue, Workload
from services.gpu_scheduler.usage import costs_of, usage_of

STREAMS = {"": launcher.STDERR, "STDERR": launcher.STDERR, "STDOUT": launcher.STDOUT}


class WorkloadApi(WorkloadServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def EnsureWorkload(self, request: workload_service.EnsureWorkloadRequest, _: Any) -> workload_pb2.Workload:
        spec = request.spec
        wanted = service.Wanted(
            kind=enum_name(spec, "kind"),
            module=spec.module,
            spec_json=spec.spec_json,
            requests=_amount(spec.requests),
            queue=spec.queue,
            priority=spec.priority,
            max_attempts=spec.max_attempts,
            owner=spec.owner,
            display_name=spec.display_name,
            only_flavor=spec.only_flavor,
        )
        async with self.db.transaction() as session:
            workload = await service.ensure(session, request.name, wanted, self.context.settings)
        if workload.waiting_reason == Reason.NOT_CONSIDERED_YET:
            self.context.wake()
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
        return workload_service.ListWorkloadsResponse(
            workloads=[to_proto(row, usage_of(attempts[row.name], now)) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def CancelWorkload(self, request: workload_service.CancelWorkloadRequest, _: Any) -> workload_pb2.Workload:
        async with self.db.transaction() as session:
            workload = await service.cancel(session, request.name, etag=request.etag)
        self.context.wake()
        return await self._rendered(workload)

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

        folder = self.context.settings.work_folder / workload.uid / str(attempt)
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
        async with self.db.transaction() as session:
            attempts = await store.attempts_of(session, [workload.name])
            return to_proto(workload, usage_of(attempts[workload.name], session.clock.now()))


class CostApi(CostServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def GetCosts(self, request: cost_service_pb2.GetCostsRequest, _: Any) -> cost_pb2.CostReport:
        async with self.db.transaction() as session:
            now = session.clock.now()
            period = period_of(request, now)
            attempts = await store.attempts_within(session, project_of(request.name), period)
        reply = cost_pb2.CostReport(name=request.name, rows=costs_of(attempts, period, now))
        reply.start_time.FromDatetime(period.start)
        reply.end_time.FromDatetime(period.end)
        return reply


class QueueApi(QueueServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateQueue(self, request: queue_service_pb2.CreateQueueRequest, _: Any) -> queue_pb2.Queue:
        async with self.db.transaction() as session:
            queue = await queues.create(
                session,
                project_of(request.parent),
                request.queue_id,
                display_name=request.display_name,
                cluster_queue=request.cluster_queue,
                priority=request.priority,
                quotas=_quotas(request.quotas),
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
            found = await store.queue_page(session, project, request)
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
                quotas=_quotas(given.quotas),
            )
        self.context.wake()
        return (await self._rendered([queue]))[0]

    async def _rendered(self, rows: Sequence[Queue]) -> list[queue_pb2.Queue]:
        """Quotas and what is used of them are sums over all projects, so they are read as the system."""
        async with self.db.transaction() as session:
            counts = await store.queue_counts(session, [row.name for row in rows])
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                shared = {row.name: row.quotas for row in await store.cluster_queues(session)}
                capacity = queues.total_capacity(await store.nodes(session))
                used = await store.held_by(session, Queue.cluster_queue)
        return [
            render(
                row,
                queue_pb2.Queue,
                quotas=_quota_table(row.cluster_queue, shared.get(row.cluster_queue, {}), capacity, used),
                pending_count=counts.get(row.name, (0, 0))[0],
                admitted_count=counts.get(row.name, (0, 0))[1],
            )
            for row in rows
        ]


class NodeApi(NodeServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def GetNode(self, request: node_service_pb2.GetNodeRequest, _: Any) -> node_pb2.Node:
        async with self.db.transaction() as session:
            node = await store.find_node(session, request.name)
        if node is None:
            raise NotFound(name=request.name)
        return (await self._rendered([node]))[0]

    async def ListNodes(self, request: node_service_pb2.ListNodesRequest, _: Any) -> node_service_pb2.ListNodesResponse:
        async with self.db.transaction() as session:
            found = await store.node_page(session, request)
        return node_service_pb2.ListNodesResponse(
            nodes=await self._rendered(found.rows), next_page_token=found.next_page_token, total_size=found.total
        )

    async def ListFlavors(
        self, request: node_service_pb2.ListFlavorsRequest, _: Any
    ) -> node_service_pb2.ListFlavorsResponse:
        async with self.db.transaction() as session:
            found = await store.flavor_page(session, request)
        return node_service_pb2.ListFlavorsResponse(
            flavors=[render(row, node_pb2.Flavor) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def _rendered(self, rows: Sequence[Node]) -> list[node_pb2.Node]:
        """What is held on a node is a sum over all projects; whose card it is, only the holder's own project sees."""
        asker = caller()
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                held = await store.held_by(session, Workload.node)
                cards = await store.cards(session, [row.name for row in rows])
                stopping = await store.stopping(session)
        nodes = []
        for row in rows:
            on_it = [amount for (node, _), amount in held.items() if node == row.name]
            allocated = Amount(*(sum(kind) for kind in zip(*on_it, strict=True)))
            mine = [
                _card(card, card.workload in stopping, visible=asker.may_see(_project_of_holder(card)))
                for card in cards
                if card.node == row.name and (card.present or card.workload)
            ]
            nodes.append(
                render(
                    row,
                    node_pb2.Node,
                    etag=str(row.revision),
                    capacity=facts.resources(row),
                    allocated=facts.amount(allocated),
                    cards=mine,
                )
            )
        return nodes


def to_proto(workload: Workload, usage: workload_pb2.Usage) -> workload_pb2.Workload:
    spec = render(workload, workload_pb2.WorkloadSpec, requests=facts.resources(workload))
    return render(workload, workload_pb2.Workload, spec=spec, usage=usage)


def _amount(given: node_pb2.Resources) -> Amount:
    return Amount(given.cpu_milli, given.memory_bytes, given.gpu * CARD + given.gpu_milli)


def _quotas(given: Sequence[queue_pb2.FlavorQuota]) -> dict[str, Amount]:
    return {quota.flavor: _amount(quota.nominal) for quota in given}


def _quota_table(
    cluster_queue: str,
    quotas: dict[str, dict[str, Any]],
    capacity: dict[str, Amount],
    used: dict[tuple[str, str], tuple[int, int, int]],
) -> list[queue_pb2.FlavorQuota]:
    """A cluster queue without quotas may give all that the nodes have."""
    nominal = {flavor: queues.nominal(given) for flavor, given in quotas.items()} or capacity
    return [
        queue_pb2.FlavorQuota(
            flavor=flavor,
            nominal=facts.amount(amount),
            used=facts.amount(Amount(*used.get((cluster_queue, flavor), (0, 0, 0)))),
        )
        for flavor, amount in sorted(nominal.items())
    ]


def _card(card: Card, stopping: bool, *, visible: bool) -> node_pb2.Card:
    if not card.present:
        state = "LOST"
    elif not card.workload:
        state = "FREE"
    else:
        state = "RELEASING" if stopping else "BUSY"
    return render(card, node_pb2.Card, state=state, workload=card.workload if visible else "")


def _project_of_holder(card: Card) -> str:
    return project_of(card.workload) if card.workload else ""
