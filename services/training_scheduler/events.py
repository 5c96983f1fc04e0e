"""Reactions to other services' events. They only make somebody look earlier, or note where something went."""

from __future__ import annotations

from typing import Any

from gyre.gpu_scheduler.v1.events_pb2 import (
    WorkloadAdmitted,
    WorkloadCancelled,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadPreempted,
    WorkloadStarted,
)
from gyre.model_registry.v1.events_pb2 import VersionRegistered
from gyre_kit.db import Session
from gyre_kit.inbox import Handler

from services.training_scheduler import store

WorkloadChanged = (
    WorkloadAdmitted | WorkloadStarted | WorkloadPreempted | WorkloadFinished | WorkloadFailed | WorkloadCancelled
)


async def look_at_the_run(session: Session, event: WorkloadChanged) -> None:
    """A workload names its owner; if that is a run of ours, it is followed now rather than at the next look."""
    await store.wake_run(session, event.owner)


async def note_registration(session: Session, event: VersionRegistered) -> None:
    """A run that led to a registry version remembers it."""
    if event.parents.run:
        await store.note_model_version(session, event.parents.run, event.name)


HANDLERS: dict[Any, Handler] = {
    WorkloadAdmitted: look_at_the_run,
    WorkloadStarted: look_at_the_run,
    WorkloadPreempted: look_at_the_run,
    WorkloadFinished: look_at_the_run,
    WorkloadFailed: look_at_the_run,
    WorkloadCancelled: look_at_the_run,
    VersionRegistered: note_registration,
}
