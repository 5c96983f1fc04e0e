"""What a workload used and what that costs, over all its attempts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gyre.gpu_scheduler.v1 import cost_pb2, workload_pb2
from gyre_kit.periods import Period, midnight_before
from gyre_kit.render import enum_number

from services.gpu_scheduler.models import Attempt

HOUR = 3600.0


def usage_of(attempts: Iterable[Attempt], now: datetime) -> workload_pb2.Usage:
    """Resources are paid for while they are held, from admission to the confirmed end, used or not."""
    total = workload_pb2.Usage()
    cost = 0.0
    for each in attempts:
        held = max(0.0, ((each.end_time or now) - each.admit_time).total_seconds())
        total.cpu_seconds += each.cpu_seconds
        total.gpu_seconds += held * each.gpu
        total.held_seconds += held
        total.peak_memory_bytes = max(total.peak_memory_bytes, each.peak_memory_bytes)
        cost += held / HOUR * _hour_microusd(each)
    total.cost_microusd = round(cost)
    return total


def costs_of(attempts: Iterable[tuple[str, Attempt]], period: Period, now: datetime) -> list[cost_pb2.CostRow]:
    """What attempts, each with its workload's kind, held on each day of `period`, but for what is still to come."""
    held: dict[tuple[datetime, str], list[float]] = {}  # seconds, of cards, microdollars
    for kind, attempt in attempts:
        for day in period.days():
            end = min(attempt.end_time or now, day.end, now)
            seconds = (end - max(attempt.admit_time, day.start)).total_seconds()
            if seconds <= 0:
                continue
            sums = held.setdefault((midnight_before(day.start), kind), [0.0, 0.0, 0.0])
            sums[0] += seconds
            sums[1] += seconds * attempt.gpu
            sums[2] += seconds / HOUR * _hour_microusd(attempt)
    return [_row(day, kind, *sums) for (day, kind), sums in sorted(held.items())]


def _row(day: datetime, kind: str, held: float, gpu: float, microusd: float) -> cost_pb2.CostRow:
    number = enum_number(workload_pb2.Workload.Kind.DESCRIPTOR, kind)
    row = cost_pb2.CostRow(kind=number, held_seconds=held, gpu_seconds=gpu, cost_microusd=round(microusd))
    row.day.FromDatetime(day)
    return row


def _hour_microusd(attempt: Attempt) -> float:
    return attempt.cpu_milli / 1000 * attempt.cpu_hour_microusd + attempt.gpu * attempt.gpu_hour_microusd
