"""Reactions to other services' events."""

from __future__ import annotations

from gyre.inference_gateway.v1.events_pb2 import CompletionRecorded
from gyre_kit.db import Session

from services.feedback import store


async def look_again_now(session: Session, event: CompletionRecorded) -> None:
    """The completion that feedback waited for is there; the reconciler fetches its texts, which no event carries."""
    for feedback in await store.pending_for(session, event.name):
        feedback.due = None


HANDLERS = {CompletionRecorded: look_again_now}
