"""What a queue may cost in a day or a month, and what it did cost so far: held resources at the price of their admission.

A budget that is used up admits nothing more. What runs goes on, so a queue may end above its budget by what runs then.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from gyre_kit.db import Session
from gyre_kit.errors import Invalid
from gyre_kit.periods import Period, midnight_before

from services.gpu_scheduler.accounting import service as accounting
from services.gpu_scheduler.models import Queue

PERIODS = ("DAY", "MONTH")


class BadBudget(Invalid):
    """A budget is 0 (no limit) or more, for a DAY or a MONTH."""


def check(budget_microusd: int, period: str) -> None:
    """Raises: BadBudget."""
    if not 0 <= budget_microusd < 2**62 or period not in PERIODS:
        raise BadBudget(field="budget_microusd", given=budget_microusd, period=period)


async def spent(session: Session, queues: Iterable[Queue]) -> dict[str, int]:
    """Queue → millionths of a US dollar in its current period, for those that have a budget."""
    now = session.clock.now()
    limited = [queue for queue in queues if queue.budget_microusd]
    costs: dict[str, int] = {}
    for period in sorted({queue.budget_period for queue in limited}):
        begin = start_of(period, now)
        if begin < now:
            rows = await accounting.usage(session, Period(begin, now), {}, ["queue"])
            by_queue = {row.group["queue"]: row.sums.cost_microusd for row in rows}
            costs |= {each.name: by_queue.get(each.name, 0) for each in limited if each.budget_period == period}
    return costs


async def exhausted(session: Session, queues: Iterable[Queue]) -> frozenset[str]:
    """Names of those that have used up their budget."""
    limits = {queue.name: queue for queue in queues if queue.budget_microusd}
    costs = await spent(session, limits.values())
    return frozenset(name for name, cost in costs.items() if cost >= limits[name].budget_microusd)


def start_of(period: str, now: datetime) -> datetime:
    midnight = midnight_before(now)
    return midnight if period == "DAY" else midnight.replace(day=1)
