"""Reactions to other services' events."""

from __future__ import annotations

import logging

from gyre.training_scheduler.v1.events_pb2 import RunSucceeded
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.names import project_of

from services.model_registry import service
from services.model_registry.models import Model

log = logging.getLogger(__name__)


async def register_result(session: Session, event: RunSucceeded) -> None:
    """A run that asked for it gets its version; a reconciler takes the files over."""
    if not event.register_as:
        return
    model = event.register_as
    if not model.startswith("projects/"):
        model = f"projects/{project_of(event.name)}/models/{model}"
    try:
        await resources.get(session, Model, model)
    except NotFound:
        await service.create_model(session, project_of(event.name), model.rsplit("/", 1)[-1], {}, "")
    made = service.Registration(
        uri=event.output_uri,
        digest=event.output_digest,
        run=event.name,
        base_version=event.base.split("/variants/", 1)[0],
        dataset_versions=list(event.datasets),
        pipeline=event.pipeline,
    )
    await service.register_version(session, model, made)


HANDLERS = {RunSucceeded: register_result}
