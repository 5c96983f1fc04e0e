"""Every query of this service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from services.training_scheduler.models import (
    PIPELINE_ENDED,
    RUN_ENDED,
    Alarm,
    Checkpoint,
    MetricPoint,
    Pipeline,
    Run,
    Sample,
)

DEFAULT_POINTS, MOST_POINTS = 1000, 5000


async def run_page(session: Session, request: Any) -> pages.Page[Run]:
    allowed, text_in = ("state", "method", "pipeline", "base"), ("display_name", "base", "number")
    return await resources.listed(session, sa.select(Run), Run, request, allowed=allowed, text_in=text_in)


async def pipeline_page(session: Session, request: Any) -> pages.Page[Pipeline]:
    allowed, text_in = ("state", "base", "feedback_batch"), ("display_name", "base", "number")
    return await resources.listed(session, sa.select(Pipeline), Pipeline, request, allowed=allowed, text_in=text_in)


async def save_points(session: Session, run: Run, points: Sequence[tuple[int, datetime, dict[str, float]]]) -> None:
    """One statement for all. The same attempt adds to a step's values; a later one replaces them."""
    merged: dict[int, dict[str, Any]] = {}
    for step, time, metrics in points:
        known = merged.get(step, {"metrics": {}})["metrics"]
        merged[step] = {
            "run": run.name,
            "step": step,
            "project": run.project,
            "attempt": run.attempt,
            "time": time,
            "metrics": {**known, **metrics},
        }
    if not merged:
        return
    new = insert(MetricPoint).values(list(merged.values()))
    same_attempt = col(MetricPoint.attempt) == new.excluded.attempt
    both = sa.case((same_attempt, col(MetricPoint.metrics).op("||")(new.excluded.metrics)), else_=new.excluded.metrics)
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["run", "step"],
            set_={"attempt": new.excluded.attempt, "time": new.excluded.time, "metrics": both},
        )
    )


async def points(session: Session, run: str, *, after_step: int, limit: int) -> Sequence[MetricPoint]:
    """In step order."""
    query = sa.select(MetricPoint).where(col(MetricPoint.run) == run, col(MetricPoint.step) > after_step)
    return (await session.scalars(query.order_by(col(MetricPoint.step)).limit(limit))).all()


async def latest_points(session: Session, run: Run, limit: int) -> Sequence[MetricPoint]:
    """Of its present attempt, newest first."""
    query = sa.select(MetricPoint).where(col(MetricPoint.run) == run.name, col(MetricPoint.attempt) == run.attempt)
    return (await session.scalars(query.order_by(col(MetricPoint.step).desc()).limit(limit))).all()


async def point_page(
    session: Session, run: str, *, after_step: int, page_size: int, page_token: str
) -> pages.Page[MetricPoint]:
    """The token is the last step of the page before. Raises: BadPageToken."""
    if page_token and not page_token.isdecimal():
        raise pages.BadPageToken()
    start = max(after_step, int(page_token or 0))
    size = min(page_size or DEFAULT_POINTS, MOST_POINTS)
    rows = await points(session, run, after_step=start if start else after_step - 1, limit=size + 1)
    total = sa.select(sa.func.count()).where(col(MetricPoint.run) == run, col(MetricPoint.step) > (after_step or -1))
    more = len(rows) > size
    return pages.Page(rows[:size], str(rows[size - 1].step) if more else "", await session.scalar(total) or 0)


async def checkpoint_page(session: Session, run: str, *, page_size: int, page_token: str) -> pages.Page[Checkpoint]:
    query = sa.select(Checkpoint).where(col(Checkpoint.run) == run)
    return await pages.page(
        session, query, table=Checkpoint, page_size=page_size, page_token=page_token, order_by="step"
    )


async def latest_checkpoint(session: Session, run: str) -> Checkpoint | None:
    query = sa.select(Checkpoint).where(col(Checkpoint.run) == run).order_by(col(Checkpoint.step).desc()).limit(1)
    found: Checkpoint | None = await session.scalar(query)
    return found


async def alarm_page(session: Session, run: str, *, page_size: int, page_token: str) -> pages.Page[Alarm]:
    query = sa.select(Alarm).where(col(Alarm.run) == run)
    return await pages.page(
        session, query, table=Alarm, page_size=page_size, page_token=page_token, order_by="create_time"
    )


async def sample_page(session: Session, run: str, *, page_size: int, page_token: str) -> pages.Page[Sample]:
    query = sa.select(Sample).where(col(Sample.run) == run)
    return await pages.page(session, query, table=Sample, page_size=page_size, page_token=page_token, order_by="step")


async def alarm(session: Session, name: str) -> Alarm | None:
    found: Alarm | None = await session.scalar(sa.select(Alarm).where(col(Alarm.name) == name))
    return found


async def forget_checkpoints(session: Session, run: Run, attempt: int, *, but: Sequence[int]) -> None:
    """Those of an attempt that its trainer has dropped: nobody can go on from them."""
    dropped = col(Checkpoint.attempt) == attempt, col(Checkpoint.step).not_in(but)
    await session.execute(sa.delete(Checkpoint).where(col(Checkpoint.run) == run.name, *dropped))


async def checkpoint(session: Session, name: str) -> Checkpoint | None:
    found: Checkpoint | None = await session.scalar(sa.select(Checkpoint).where(col(Checkpoint.name) == name))
    return found


async def open_runs_of(session: Session, pipeline: str) -> Sequence[Run]:
    query = sa.select(Run).where(col(Run.pipeline) == pipeline, col(Run.state).not_in(RUN_ENDED))
    return (await session.scalars(query)).all()


async def cost_of(session: Session, pipeline: str) -> int:
    """Of its runs, in millionths of a US dollar."""
    total = await session.scalar(sa.select(sa.func.sum(col(Run.cost_microusd))).where(col(Run.pipeline) == pipeline))
    return int(total or 0)


async def wake_run(session: Session, name: str) -> None:
    await session.execute(
        sa.update(Run).where(col(Run.name) == name, col(Run.state).not_in(RUN_ENDED)).values(due=None)
    )


async def wake_pipeline(session: Session, name: str) -> None:
    ended = col(Pipeline.state).in_(PIPELINE_ENDED)
    await session.execute(sa.update(Pipeline).where(col(Pipeline.name) == name, ~ended).values(due=None))


async def note_model_version(session: Session, run: str, version: str) -> None:
    """Remembers what a run was registered as."""
    found = await session.scalar(sa.select(Run).where(col(Run.name) == run).with_for_update(key_share=True))
    if found is not None:
        found.model_version = version
