from __future__ import annotations

from datetime import timedelta

from gyre.inference_gateway.v1.events_pb2 import CompletionRecorded
from gyre_kit.db import Session
from gyre_kit.testing import ENGINEER, PROJECT

from services.feedback import service
from services.feedback.main import app

NAME = f"projects/{PROJECT}/completions/chatcmpl-7"


async def test_a_recorded_completion_makes_its_pending_feedback_due_at_once(session: Session) -> None:
    feedback = await service.submit(session, service.Submission(PROJECT, NAME, rating="THUMBS_UP"), None, by=ENGINEER)
    feedback.due = session.clock.now() + timedelta(seconds=60)
    await session.flush()
    await app.handlers[CompletionRecorded](session, CompletionRecorded(name=NAME))
    assert feedback.due is None
