"""Every query of this service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session

from services.feedback.models import Batch, Feedback, FeedbackState

FILTERS = ("state", "rating", "slice", "reviewer", "batch", "completion", "completion_deleted")


async def feedback_page(session: Session, request: Any) -> pages.Page[Feedback]:
    text_in = ("messages", "answer", "correction", "number")
    return await resources.listed(session, sa.select(Feedback), Feedback, request, allowed=FILTERS, text_in=text_in)


async def batch_page(session: Session, request: Any) -> pages.Page[Batch]:
    text_in = ("display_name", "dataset", "number")
    return await resources.listed(session, sa.select(Batch), Batch, request, allowed=("state",), text_in=text_in)


async def pending_for(session: Session, completion: str) -> Sequence[Feedback]:
    """Feedback that waits for exactly this completion."""
    query = sa.select(Feedback).where(Feedback.state == FeedbackState.PENDING, Feedback.completion == completion)
    return (await session.scalars(query.with_for_update(key_share=True))).all()


async def about(session: Session, completion: str) -> Sequence[Feedback]:
    """All feedback on a completion, locked."""
    query = sa.select(Feedback).where(Feedback.completion == completion).order_by(Feedback.name)
    return (await session.scalars(query.with_for_update(key_share=True))).all()


async def batches_of(session: Session, feedback: Sequence[Feedback]) -> dict[str, Batch]:
    """By name."""
    names = {each.batch for each in feedback if each.batch}
    if not names:
        return {}
    return {batch.name: batch for batch in await session.scalars(sa.select(Batch).where(Batch.name.in_(names)))}


async def approved_and_free(session: Session, project: str, names: Sequence[str]) -> Sequence[Feedback]:
    """Approved feedback that no batch has taken, locked; only `names` if any are given."""
    query = sa.select(Feedback).where(
        Feedback.project == project, Feedback.state == FeedbackState.APPROVED, Feedback.batch == ""
    )
    if names:
        query = query.where(Feedback.name.in_(names))
    return (await session.scalars(query.order_by(Feedback.number).with_for_update(key_share=True))).all()


async def of_batch(session: Session, batch: str) -> Sequence[Feedback]:
    return (await session.scalars(sa.select(Feedback).where(Feedback.batch == batch).order_by(Feedback.number))).all()


async def answering_versions(session: Session, batch: str) -> Sequence[str]:
    """Registry versions whose answers the batch is about."""
    query = sa.select(Feedback.model_version).where(Feedback.batch == batch, Feedback.model_version != "")
    return (await session.scalars(query.distinct().order_by(Feedback.model_version))).all()
