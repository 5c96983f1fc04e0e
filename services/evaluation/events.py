"""Reactions to other services' events."""

from __future__ import annotations

from typing import Any

from gyre.gpu_scheduler.v1.events_pb2 import WorkloadCancelled, WorkloadFailed, WorkloadFinished
from gyre_kit.db import Session

from services.evaluation import store


async def look_again_now(session: Session, event: Any) -> None:
    """A job ended: its evaluation, if it is one of ours, need not wait for the next look."""
    await store.make_due(session, workload=event.name)


HANDLERS = {WorkloadFinished: look_again_now, WorkloadFailed: look_again_now, WorkloadCancelled: look_again_now}
