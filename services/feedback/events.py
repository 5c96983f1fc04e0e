"""Reactions to other services' events."""

from __future__ import annotations

from typing import Any

from gyre.inference_gateway.v1.events_pb2 import CompletionDeleted, CompletionRecorded
from gyre_kit.db import Session
from gyre_kit.inbox import Handler

from services.feedback import forgetting, store


async def look_again_now(session: Session, event: CompletionRecorded) -> None:
    """The completion that feedback waited for is there; the reconciler fetches its texts, which no event carries."""
    for feedback in await store.pending_for(session, event.name):
        feedback.due = None


async def forget_texts(session: Session, event: CompletionDeleted) -> None:
    """The completion is kept no longer: no more are the texts that feedback copied."""
    asked = event.cause == CompletionDeleted.CAUSE_REQUEST
    await forgetting.completion_deleted(session, event.name, asked=asked)


HANDLERS: dict[Any, Handler] = {CompletionRecorded: look_again_now, CompletionDeleted: forget_texts}
