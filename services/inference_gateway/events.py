"""Reactions to other services' events."""

from __future__ import annotations

from typing import Any

from gyre.api_gateway.v1 import key_pb2, project_pb2
from gyre.api_gateway.v1.events_pb2 import KeyChanged, ProjectChanged
from gyre.feedback.v1.events_pb2 import FeedbackSubmitted
from gyre.gpu_scheduler.v1.events_pb2 import WorkloadFailed, WorkloadFinished, WorkloadStarted
from gyre.model_registry.v1.events_pb2 import AliasMoved
from gyre_kit.db import Session
from gyre_kit.events import to_dict
from gyre_kit.inbox import Handler
from gyre_kit.names import last, project_of
from gyre_kit.render import enum_name

from services.inference_gateway import store
from services.inference_gateway.models.projects import KnownKey, KnownProject
from services.inference_gateway.traces import store as trace_store


async def know_key(session: Session, event: KeyChanged) -> None:
    key = KnownKey(
        name=event.name,
        project=project_of(event.name),
        secret_sha256=event.secret_sha256,
        role=enum_name(event, "role"),
        active=event.state == key_pb2.ApiKey.STATE_ACTIVE,
        requests_per_minute=event.requests_per_minute,
        limits=to_dict(event.limits),
        expire_unix_seconds=event.expire_unix_seconds,
    )
    await store.put_key(session, key)


async def know_project(session: Session, event: ProjectChanged) -> None:
    project = KnownProject(
        project=last(event.name),
        active=event.state == project_pb2.Project.STATE_ACTIVE,
        consent_to_keep=event.consent_to_keep,
        requests_per_minute=event.requests_per_minute,
        limits=to_dict(event.limits),
        regions=list(event.regions),
        keep_personal_data=event.keep_personal_data,
        retention_days=event.retention_days,
    )
    await store.put_project(session, project)


async def remember_alias(session: Session, event: AliasMoved) -> None:
    """Deployments that follow the alias are shifted by the reconciler."""
    for deployment in await store.deployments_following(session, event.name):
        deployment.alias_variant, deployment.alias_refused, deployment.due = event.to_variant, "", None


async def note_rating(session: Session, event: FeedbackSubmitted) -> None:
    """Counted for the target that answered: a rollout is judged by it. What was not kept cannot be told apart. The
    completion has the newest thumb, so that it is found by it."""
    rating = enum_name(event, "rating")
    if rating in ("THUMBS_UP", "THUMBS_DOWN"):
        completion = f"projects/{project_of(event.name)}/completions/{last(event.completion)}"
        await store.count_rating(session, completion, liked=rating == "THUMBS_UP")
        await trace_store.rate(session, completion, rating)


async def look_again_now(session: Session, event: Any) -> None:
    await store.due_for_workload(session, event.name)


HANDLERS: dict[Any, Handler] = {
    KeyChanged: know_key,
    ProjectChanged: know_project,
    AliasMoved: remember_alias,
    FeedbackSubmitted: note_rating,
    WorkloadStarted: look_again_now,
    WorkloadFinished: look_again_now,
    WorkloadFailed: look_again_now,
}
