"""What a workload used and what that costs, over all its attempts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gyre.gpu_scheduler.v1 import workload_pb2

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
        cost += held / HOUR * (each.cpu_milli / 1000 * each.cpu_hour_microusd + each.gpu * each.gpu_hour_microusd)
    total.cost_microusd = round(cost)
    return total
