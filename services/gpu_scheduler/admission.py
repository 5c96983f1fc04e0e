"""The cycle around the policy: rows → snapshot → decisions → rows, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass

from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.states import transition

from services.gpu_scheduler import facts, policy, service, store
from services.gpu_scheduler.models import (
    HOLDING,
    Attempt,
    Flavor,
    Node,
    NodeState,
    QueueState,
    StopReason,
    Workload,
    WorkloadState,
)
from services.gpu_scheduler.policy import Admit, Amount, Preempt, Reason, Wait


@dataclass(frozen=True)
class Cycle:
    """What one cycle did."""

    admitted: int
    preempted: int


async def run_cycle(session: Session) -> Cycle:
    """Decides about everything that waits. One cycle at a time, so that nothing is given away twice."""
    await store.serialise(session, "admission")
    decisions = policy.schedule(await take_snapshot(session))
    admitted = preempted = 0
    for decision in decisions:
        match decision:
            case Admit():
                admitted += await _admit(session, decision)
            case Preempt():
                preempted += await _preempt(session, decision)
            case Wait():
                await store.set_waiting_reason(session, decision.workload, decision.reason)
    return Cycle(admitted, preempted)


async def take_snapshot(session: Session) -> policy.Snapshot:
    rows = await store.queued_and_holding(session)
    return policy.Snapshot(
        now=session.clock.now(),
        nodes=[_node(row) for row in await store.nodes(session)],
        cluster_queues={
            row.name: policy.ClusterQueue(row.name, {flavor: Amount(**amount) for flavor, amount in row.quotas.items()})
            for row in await store.cluster_queues(session)
        },
        queues={
            row.name: policy.Queue(row.name, row.cluster_queue, row.priority, held=row.state == QueueState.HELD)
            for row in await store.queues(session)
        },
        pending=[_pending(row) for row in rows if row.state == WorkloadState.QUEUED],
        holding=[_holding(row) for row in rows if row.state in HOLDING],
    )


async def _admit(session: Session, decision: Admit) -> int:
    """Writes down the intent, the new attempt, before anything is launched. 0 if it was cancelled meanwhile."""
    now = session.clock.now()
    workload = await resources.get(session, Workload, decision.workload, lock=True)
    if workload.state != WorkloadState.QUEUED:
        return 0
    cards = await store.free_cards(session, decision.node, workload.gpu) if workload.gpu else []
    if len(cards) < workload.gpu:
        await store.set_waiting_reason(session, workload.name, Reason.NO_FREE_GPU)
        return 0
    flavor = await session.get_one(Flavor, decision.flavor)
    workload.attempt += 1
    for card in cards:
        card.workload = workload.name
    session.add(
        Attempt(
            name=store.attempt_name(workload.name, workload.attempt),
            project=workload.project,
            workload=workload.name,
            number=workload.attempt,
            node=decision.node,
            flavor=decision.flavor,
            cpu_milli=workload.cpu_milli,
            memory_bytes=workload.memory_bytes,
            gpu=workload.gpu,
            cpu_hour_microusd=flavor.cpu_hour_microusd,
            gpu_hour_microusd=flavor.gpu_hour_microusd,
            card_uuids=[card.uuid for card in cards],
            admit_time=now,
        )
    )
    workload.node, workload.flavor, workload.admit_time = decision.node, decision.flavor, now
    workload.waiting_reason, workload.not_before, workload.due = "", None, None
    await transition(session, workload, WorkloadState.ADMITTED, facts.admitted(workload, now))
    return 1


async def _preempt(session: Session, decision: Preempt) -> int:
    workload = await resources.get(session, Workload, decision.workload, lock=True)
    if workload.state not in HOLDING - {WorkloadState.STOPPING}:
        return 0
    await service.ask_to_stop(session, workload, StopReason.HIGHER_PRIORITY)
    return 1


def _node(row: Node) -> policy.Node:
    capacity = Amount(row.cpu_milli, row.memory_bytes, row.gpu)
    return policy.Node(row.name, row.flavor, capacity, ready=row.state == NodeState.READY)


def _pending(row: Workload) -> policy.Pending:
    return policy.Pending(
        name=row.name,
        queue=row.queue,
        requests=Amount(row.cpu_milli, row.memory_bytes, row.gpu),
        queued_at=row.queue_time,
        priority=row.priority,
        not_before=row.not_before,
        only_flavor=row.only_flavor,
    )


def _holding(row: Workload) -> policy.Holding:
    return policy.Holding(
        name=row.name,
        queue=row.queue,
        node=row.node,
        flavor=row.flavor,
        requests=Amount(row.cpu_milli, row.memory_bytes, row.gpu),
        admitted_at=row.admit_time or row.queue_time,
        priority=row.priority,
        stopping=row.state == WorkloadState.STOPPING,
    )
