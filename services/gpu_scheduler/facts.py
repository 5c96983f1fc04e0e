"""The events of this service, each complete: every message field is set, what does not apply is empty or 0."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from gyre.gpu_scheduler.v1 import events_pb2, node_pb2, workload_pb2
from gyre_kit.render import enum_number

from services.gpu_scheduler.decisions.amounts import CARD, Amount
from services.gpu_scheduler.models import Card, Node, StopReason, Workload

Event = TypeVar("Event", bound=Message)


def queued(workload: Workload) -> events_pb2.WorkloadQueued:
    return _about(
        workload,
        events_pb2.WorkloadQueued,
        queue=workload.queue,
        priority=workload.priority,
        requests=resources(workload),
        queue_time=stamp(workload.queue_time),
    )


def admitted(workload: Any, now: datetime) -> events_pb2.WorkloadAdmitted:
    return _about(
        workload,
        events_pb2.WorkloadAdmitted,
        attempt=workload.attempt,
        node=workload.node,
        flavor=workload.flavor,
        admit_time=stamp(now),
    )


def started(workload: Workload, now: datetime) -> events_pb2.WorkloadStarted:
    return _about(
        workload,
        events_pb2.WorkloadStarted,
        attempt=workload.attempt,
        node=workload.node,
        address=workload.address,
        start_time=stamp(now),
    )


def preempted(workload: Workload, now: datetime) -> events_pb2.WorkloadPreempted:
    return _about(
        workload,
        events_pb2.WorkloadPreempted,
        attempt=workload.attempt,
        reason=workload.preemption_rule if workload.stop_reason == StopReason.PREEMPTION else workload.stop_reason,
        preempted_for=workload.preempted_for if workload.stop_reason == StopReason.PREEMPTION else "",
        preempt_time=stamp(now),
    )


def finished(workload: Workload, usage: workload_pb2.Usage, now: datetime) -> events_pb2.WorkloadFinished:
    return _about(workload, events_pb2.WorkloadFinished, attempt=workload.attempt, usage=usage, end_time=stamp(now))


def failed(workload: Workload, usage: workload_pb2.Usage, now: datetime) -> events_pb2.WorkloadFailed:
    return _about(
        workload,
        events_pb2.WorkloadFailed,
        attempt=workload.attempt,
        exit_code=workload.exit_code or 0,
        failure_reason=workload.failure_reason,
        usage=usage,
        end_time=stamp(now),
    )


def cancelled(workload: Workload, usage: workload_pb2.Usage, now: datetime) -> events_pb2.WorkloadCancelled:
    return _about(workload, events_pb2.WorkloadCancelled, attempt=workload.attempt, usage=usage, end_time=stamp(now))


def node_joined(node: Node, now: datetime) -> events_pb2.NodeJoined:
    return events_pb2.NodeJoined(
        name=node.name, flavor=node.flavor, capacity=resources(node), simulated=node.simulated, join_time=stamp(now)
    )


def node_lost(node: Node, workloads: Sequence[str], now: datetime) -> events_pb2.NodeLost:
    return events_pb2.NodeLost(name=node.name, flavor=node.flavor, workloads=workloads, lost_time=stamp(now))


def node_gone(node: Node, workloads: Sequence[str], now: datetime) -> events_pb2.NodeGone:
    return events_pb2.NodeGone(name=node.name, flavor=node.flavor, workloads=workloads, gone_time=stamp(now))


def node_changed(node: Node, now: datetime) -> events_pb2.NodeChanged:
    state = enum_number(node_pb2.Node.State.DESCRIPTOR, node.state)
    return events_pb2.NodeChanged(name=node.name, state=state, change_time=stamp(now))


def card_failed(card: Card, now: datetime) -> events_pb2.CardFailed:
    return events_pb2.CardFailed(
        name=card.name,
        node=card.node,
        uuid=card.uuid,
        model=card.model,
        fault_code=card.fault_code,
        workload=card.workload,
        fault_time=stamp(now),
    )


def resources(row: Any) -> node_pb2.Resources:
    """Of anything that has the three amounts: a workload's requests, a node's capacity."""
    milli = getattr(row, "gpu_milli", 0)
    return node_pb2.Resources(cpu_milli=row.cpu_milli, memory_bytes=row.memory_bytes, gpu=row.gpu, gpu_milli=milli)


def amount(given: Amount) -> node_pb2.Resources:
    cards, share = divmod(given.gpu_milli, CARD)
    return node_pb2.Resources(cpu_milli=given.cpu_milli, memory_bytes=given.memory_bytes, gpu=cards, gpu_milli=share)


def stamp(time: datetime) -> Timestamp:
    value = Timestamp()
    value.FromDatetime(time)
    return value


def _about(workload: Any, event: type[Event], **fields: Any) -> Event:
    kind = enum_number(workload_pb2.Workload.Kind.DESCRIPTOR, workload.kind)
    return event(name=workload.name, kind=kind, owner=workload.owner, **fields)
