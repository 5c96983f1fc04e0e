"""Parse, call, render."""

from __future__ import annotations

from typing import Any

from gyre.gpu_scheduler.v1 import accounting_pb2, accounting_service_pb2, cost_pb2, cost_service_pb2
from gyre.gpu_scheduler.v1.accounting_service_pb2_grpc import AccountingServiceServicer
from gyre.gpu_scheduler.v1.cost_service_pb2_grpc import CostServiceServicer
from gyre_kit.app import Context
from gyre_kit.auth import SYSTEM, acting_as, caller
from gyre_kit.names import project_of
from gyre_kit.pages import BadOrder
from gyre_kit.periods import Period, period_of
from gyre_kit.render import enum_name, render
from sqlmodel import col

from services.gpu_scheduler import facts
from services.gpu_scheduler.accounting import capacity, efficiency, service, store
from services.gpu_scheduler.accounting.amounts import held_of
from services.gpu_scheduler.models import Attempt
from services.gpu_scheduler.store import EVERY_PROJECT

ATTEMPT_ORDERS = {name: getattr(Attempt, name) for name in ("admit_time", "end_time", "node", "flavor")}


class AccountingApi(AccountingServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def GetUsage(self, request: accounting_service_pb2.GetUsageRequest, _: Any) -> accounting_pb2.CapacityUsage:
        groups = service.groups_of(request.group_by)
        terms = _within(request.name, service.terms_of(request.filter, list(store.DAY_COLUMNS)[1:]))
        offset, size, asked = service.page_of(request)
        async with self.db.transaction() as session:
            period = period_of(request, session.clock.now())
            found = await service.usage(session, period, terms, groups)
        rows = service.ordered(found, groups, request.order_by) if groups else []
        return _about(
            period,
            accounting_pb2.CapacityUsage(
                name=request.name,
                rows=[_row(row) for row in rows[offset : offset + size]],
                total=_row(service.Row({}, service.total(found))),
                next_page_token=service.next_token(offset, size, len(rows), asked),
                total_size=len(rows),
            ),
        )

    async def GetClusterUtilisation(
        self, request: accounting_service_pb2.GetClusterUtilisationRequest, _: Any
    ) -> accounting_pb2.ClusterUtilisation:
        """A sum over all projects, that names none, so it is read as the system."""
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                period = period_of(request, session.clock.now())
                steps = await capacity.utilisation(session, period, enum_name(request, "step"))
                fragmentation = await capacity.fragmentation(session)
        return _about(
            period,
            accounting_pb2.ClusterUtilisation(
                steps=[_step(step) for step in steps],
                fragmentation=render(fragmentation, accounting_pb2.Fragmentation),
            ),
        )

    async def GetEfficiency(
        self, request: accounting_service_pb2.GetEfficiencyRequest, _: Any
    ) -> accounting_pb2.CapacityEfficiency:
        """Sums over all projects, that name none, so they are read as the system."""
        by = (enum_name(request, "by") or "FLAVOR").lower()
        offset, size, asked = service.page_of(request)
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                period = period_of(request, session.clock.now())
                found, total = await efficiency.rows(session, period, by)
                stranded = await efficiency.stranded(session, period)
        rows = efficiency.ordered(found, by, request.order_by)
        reply = accounting_pb2.CapacityEfficiency(
            rows=[_efficiency(row, by) for row in rows[offset : offset + size]],
            total=_efficiency(total, ""),
            next_page_token=service.next_token(offset, size, len(rows), asked),
            total_size=len(rows),
        )
        if stranded is not None:
            reply.free_card_seconds = stranded.free_card_seconds
            reply.stranded_card_seconds = stranded.stranded_card_seconds
            if stranded.ratio is not None:
                reply.fragmentation = stranded.ratio
        return _about(period, reply)

    async def ListQueueStatistics(
        self, request: accounting_service_pb2.ListQueueStatisticsRequest, _: Any
    ) -> accounting_service_pb2.ListQueueStatisticsResponse:
        offset, size, asked = service.page_of(request)
        async with self.db.transaction() as session:
            now = session.clock.now()
            period = period_of(request, now)
            project = _within(request.parent, {}).get("project", "")
            names, total = await store.queue_names(session, project, offset, size)
            waits = await store.waits(session, period, names)
            preempted = await store.preemptions(session, period, names)
            heads = {queue: (count, since) for queue, _, count, since in await store.heads(session)}
        found = []
        for name in names:
            count, mean, median, high, highest = waits.get(name, (0, 0.0, 0.0, 0.0, 0.0))
            waiting, since = heads.get(name, (0, None))
            row = accounting_pb2.QueueStatistics(
                queue=name, admission_count=count, wait_mean_seconds=mean, wait_p50_seconds=median,
                wait_p95_seconds=high, wait_p99_seconds=highest, preemption_count=len(preempted.get(name, ())), waiting_count=waiting,
            )  # fmt: skip
            if since is not None:
                row.head_wait_seconds = max(0.0, (now - since).total_seconds())
            found.append(row)
        return accounting_service_pb2.ListQueueStatisticsResponse(
            queues=found, next_page_token=service.next_token(offset, size, total, asked), total_size=total
        )

    async def ListAttempts(
        self, request: accounting_service_pb2.ListAttemptsRequest, _: Any
    ) -> accounting_service_pb2.ListAttemptsResponse:
        terms = _within(request.parent, service.terms_of(request.filter, list(store.ATTEMPT_COLUMNS)))
        order = _order(request.order_by)
        offset, size, asked = service.page_of(request)
        async with self.db.transaction() as session:
            now = session.clock.now()
            period = period_of(request, now)
            rows, total = await store.attempt_page(session, period, terms, order, offset, size)
        everything = Period(min((row.admit_time for row, _ in rows), default=now), now)
        attempts = []
        for attempt, workload in rows:
            held = held_of(attempt, workload.user, workload.queue, workload.kind).within(everything, now)
            attempts.append(
                render(
                    attempt,
                    accounting_pb2.Attempt,
                    workload_number=workload.number,
                    display_name=workload.display_name,
                    kind=workload.kind,
                    user=workload.user,
                    queue=workload.queue,
                    resources=facts.resources(attempt),
                    cost_microusd=held.cost_microusd,
                    preempted_for=_visible(attempt.preempted_for),
                )
            )
        return accounting_service_pb2.ListAttemptsResponse(
            attempts=attempts, next_page_token=service.next_token(offset, size, total, asked), total_size=total
        )


class CostApi(CostServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def GetCosts(self, request: cost_service_pb2.GetCostsRequest, _: Any) -> cost_pb2.CostReport:
        async with self.db.transaction() as session:
            period = period_of(request, session.clock.now())
            found = await service.usage(session, period, {"project": project_of(request.name)}, ["day", "kind"])
        rows = sorted(found, key=lambda row: tuple(row.group.values()))
        return _about(period, cost_pb2.CostReport(name=request.name, rows=[_cost_row(row) for row in rows]))


def _within(name: str, terms: dict[str, str]) -> dict[str, str]:
    """`terms`, and the project that `name` says, if it says one. Raises: BadParent."""
    project = project_of(name) if name else EVERY_PROJECT
    return terms if project == EVERY_PROJECT else terms | {"project": project}


def _visible(workload: str) -> str:
    return workload if workload and caller().may_see(project_of(workload)) else ""


def _order(order_by: str) -> Any:
    """Raises: BadOrder."""
    words = order_by.split() or ["admit_time", "desc"]
    if words[0] not in ATTEMPT_ORDERS or words[1:] not in ([], ["asc"], ["desc"]):
        raise BadOrder(given=order_by[:80], columns="|".join(ATTEMPT_ORDERS))
    column = col(ATTEMPT_ORDERS[words[0]])
    return column.desc() if words[1:] == ["desc"] else column.asc()


def _about(period: Period, reply: Any) -> Any:
    reply.start_time.FromDatetime(period.start)
    reply.end_time.FromDatetime(period.end)
    return reply


def _row(row: service.Row) -> accounting_pb2.CapacityUsageRow:
    group = dict(row.group)
    if "project" in group:
        group["project"] = f"projects/{group['project']}"
    return render(row.sums, accounting_pb2.CapacityUsageRow, **group)


def _efficiency(row: efficiency.Row, by: str) -> accounting_pb2.EfficiencyRow:
    figures = {measure: row.value(measure) for measure in efficiency.MEASURES}
    return render(None, accounting_pb2.EfficiencyRow, **figures, **({by: row.name} if by else {}))


def _cost_row(row: service.Row) -> cost_pb2.CostRow:
    seconds = {"held_seconds": row.sums.held_seconds, "gpu_seconds": row.sums.card_seconds}
    return render(row.sums, cost_pb2.CostRow, **row.group, **seconds)


def _step(step: capacity.Step) -> accounting_pb2.UtilisationStep:
    reply = accounting_pb2.UtilisationStep(
        core_capacity_seconds=capacity.seconds(step.core_capacity),
        core_held_seconds=capacity.seconds(step.core_held),
        card_capacity_seconds=capacity.seconds(step.card_capacity),
        card_held_seconds=capacity.seconds(step.card_held),
        simulated_card_capacity_seconds=capacity.seconds(step.simulated_card_capacity),
        core_utilisation=step.core_utilisation,
        card_utilisation=step.card_utilisation,
    )
    return _about(step.period, reply)
