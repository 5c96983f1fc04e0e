"""What the replay of history reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit.db import Session
from gyre_kit.periods import Period
from sqlmodel import col

from services.gpu_scheduler.models import Attempt, Queue, Workload


async def workloads_within(session: Session, period: Period, most: int) -> list[tuple[Workload, Queue]]:
    """Workloads that waited or held something in `period`, the earliest first, each with its queue; `most` of them."""
    query = (
        sa.select(Workload, Queue)
        .join(Queue, col(Queue.name) == Workload.queue)
        .where(*_within(period))
        .order_by(col(Workload.queue_time), col(Workload.name))
        .limit(most)
    )
    return [(workload, queue) for workload, queue in await session.execute(query)]


async def attempts_within(session: Session, period: Period) -> dict[str, list[Attempt]]:
    """Workload → those of its attempts that held something in `period`."""
    query = sa.select(Attempt).where(
        col(Attempt.admit_time) < period.end,
        sa.or_(col(Attempt.end_time).is_(None), col(Attempt.end_time) > period.start),
    )
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in await session.scalars(query):
        found[row.workload].append(row)
    return found


def _within(period: Period) -> Sequence[Any]:
    ended = sa.or_(col(Workload.end_time).is_(None), col(Workload.end_time) > period.start)
    return col(Workload.queue_time) < period.end, ended
