"""Queries of what bounds work: how much waits, how high its priority is, and for how long it may run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlmodel import col

from services.gpu_scheduler.models import HOLDING, PriorityClass, Workload, WorkloadState

OPEN = (WorkloadState.QUEUED, *HOLDING)


async def waiting(session: Session, project: str) -> int:
    """How many of its workloads wait."""
    query = sa.select(sa.func.count()).where(col(Workload.project) == project, col(Workload.state) == "QUEUED")
    return int(await session.scalar(query) or 0)


async def highest_priority(session: Session, queue: str) -> int:
    """Of what waits or runs there, replicas aside; 0 where nothing does."""
    query = sa.select(sa.func.max(col(Workload.priority))).where(
        col(Workload.queue) == queue, col(Workload.state).in_(OPEN), col(Workload.kind) != "REPLICA"
    )
    return int(await session.scalar(query) or 0)


async def priority_class_page(session: Session, request: Any) -> pages.Page[PriorityClass]:
    query, order = sa.select(PriorityClass), request.order_by or "value desc"
    return await resources.listed(
        session, query, PriorityClass, request, allowed=("value",), text_in=("name", "description"), order_by=order
    )


async def add_steady_time(session: Session, longest_step: float) -> float:
    """Adds the seconds since the last look, at least 0 and at most `longest_step`; returns their sum."""
    added = sa.text(
        """
        INSERT INTO gpu_scheduler.steadytime AS t (id, look_time, seconds) VALUES (1, :now, 0)
        ON CONFLICT (id) DO UPDATE SET look_time = :now, seconds = t.seconds
            + LEAST(GREATEST(extract(epoch FROM CAST(:now AS timestamptz) - t.look_time), 0), :longest)
        RETURNING seconds
        """
    )
    return float(await session.scalar(added, {"now": session.clock.now(), "longest": longest_step}) or 0.0)


async def overdue(session: Session, steady: float) -> Sequence[Workload]:
    """Those that hold resources for longer than they may, locked; what somebody else works on comes next time."""
    query = sa.select(Workload).where(
        col(Workload.state).in_(HOLDING - {WorkloadState.STOPPING}),
        col(Workload.max_run_seconds) > 0,
        col(Workload.admit_seconds) + col(Workload.max_run_seconds) <= steady,
    )
    return (await session.scalars(query.with_for_update(skip_locked=True, key_share=True))).all()
