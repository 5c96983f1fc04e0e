"""Use cases: what becomes of feedback when the completion that it is about is deleted.

It copied the conversation, so its texts go as well. Two things stay: what is in a batch, for the data set versions that
the batch made do not change, and say so; and, where nobody asked for the deletion but the project's retention did, what
a reviewer had approved, for that was kept to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping

from gyre.feedback.v1 import events_pb2, feedback_pb2
from gyre_kit.db import Session
from gyre_kit.outbox import emit
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.feedback import store
from services.feedback.models import Batch, Feedback, FeedbackState


async def completion_deleted(session: Session, completion: str, *, asked: bool) -> None:
    """`asked`: somebody wanted it; else it grew too old."""
    for feedback in await store.about(session, completion):
        feedback.completion_deleted = True
        if feedback.state == FeedbackState.APPROVED and not (asked or feedback.batch):
            continue
        await _forget(session, feedback)
    await session.flush()


async def released(session: Session, batch: str) -> None:
    """A batch failed, and what it let go of may be of a completion that is gone."""
    for feedback in await store.of_batch(session, batch):
        feedback.batch = ""
        if feedback.completion_deleted:
            await _forget(session, feedback)
    await session.flush()


def dataset_versions(feedback: Feedback, batches: Mapping[str, Batch]) -> list[str]:
    """Those that hold rows of it, as far as is known by now. `batches` by name."""
    batch = batches.get(feedback.batch)
    return [name for name in (batch.sft_version, batch.preference_version) if name] if batch else []


async def _forget(session: Session, feedback: Feedback) -> None:
    event = events_pb2.FeedbackForgotten(name=feedback.name, completion=feedback.completion)
    event.forget_time.FromDatetime(session.clock.now())
    if feedback.batch:
        held = dataset_versions(feedback, await store.batches_of(session, [feedback]))
        event.state = enum_number(feedback_pb2.Feedback.State.DESCRIPTOR, feedback.state)
        event.dataset_versions.extend(held)
        await emit(session, feedback.name, event)
        return
    if feedback.state == FeedbackState.FORGOTTEN:
        return
    feedback.messages, feedback.answer, feedback.correction, feedback.comment = [], "", "", ""
    feedback.reject_reason = feedback.submitter = ""
    event.state = feedback_pb2.Feedback.STATE_FORGOTTEN
    await transition(session, feedback, FeedbackState.FORGOTTEN, event)
