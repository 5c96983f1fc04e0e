"""What a workload used and what that costs, over all its attempts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gyre.gpu_scheduler.v1 import workload_pb2
from gyre_kit.periods import Period

from services.gpu_scheduler.accounting.amounts import Sums, held_of
from services.gpu_scheduler.models import Attempt


def usage_of(attempts: Iterable[Attempt], now: datetime) -> workload_pb2.Usage:
    """Resources are paid for while they are held, from admission to the confirmed end, used or not."""
    total, sums = workload_pb2.Usage(), Sums()
    for each in attempts:
        held = held_of(each, user="", queue="", kind="")
        sums += held.within(Period(held.begin, held.end or now), now)
        total.cpu_seconds += each.cpu_seconds
        total.peak_memory_bytes = max(total.peak_memory_bytes, each.peak_memory_bytes)
    total.gpu_seconds, total.held_seconds = sums.card_seconds, sums.held_seconds
    total.cost_microusd = sums.cost_microusd
    return total
