"""Reactions to other services' events: a run's result becomes a version, and what led to what is remembered."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from gyre.dataset.v1.events_pb2 import VersionLicenceChanged, VersionReady
from gyre.evaluation.v1.events_pb2 import VerdictGiven
from gyre.feedback.v1.events_pb2 import BatchReady
from gyre.inference_gateway.v1.events_pb2 import DeploymentDeleted, DeploymentReady, TrafficShifted
from gyre.training_scheduler.v1.events_pb2 import RunQueued, RunSucceeded
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.inbox import Handler
from gyre_kit.names import project_of

from services.model_registry import history, service
from services.model_registry.models import KnownData, Model

log = logging.getLogger(__name__)


async def register_result(session: Session, event: RunSucceeded) -> None:
    """What it was made of is remembered; a run that asked for it gets its version, whose files a reconciler takes."""
    await note_run(session, event)
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


async def note_run(session: Session, event: RunQueued | RunSucceeded) -> None:
    """Also of a run that registers nothing: it used the data all the same."""
    edges = [(dataset, event.name, "trained_on") for dataset in event.datasets]
    edges += [(event.base.split("/variants/", 1)[0], event.name, "based_on"), (event.pipeline, event.name, "conducted")]
    if isinstance(event, RunSucceeded):
        edges.append((event.reward_model.split("/variants/", 1)[0], event.name, "rewarded_by"))
    time = event.queue_time if isinstance(event, RunQueued) else event.end_time
    await history.add_edges(session, project_of(event.name), edges, _when(session, time))


async def note_data(session: Session, event: VersionReady) -> None:
    time = _when(session, event.ready_time)
    data = KnownData(
        name=event.name,
        project=project_of(event.name),
        licence=event.licence,
        origin=event.origin,
        row_count=event.row_count,
        adds_rows=not event.all_derived,
        time=time,
        licence_time=time,
    )
    await history.put_data(session, data)
    edges = [(source, event.name, "derived") for source in event.derived_from]
    await history.add_edges(session, data.project, edges, time)


async def correct_licence(session: Session, event: VersionLicenceChanged) -> None:
    time = _when(session, event.change_time)
    data = KnownData(
        name=event.name,
        project=project_of(event.name),
        licence=event.licence,
        origin=event.origin,
        time=time,
        licence_time=time,
    )
    await history.put_data(session, data)


async def note_batch(session: Session, event: BatchReady) -> None:
    """Its pieces of feedback are too many to be nodes; the models that they are about are not."""
    edges = [(version, event.name, "answered") for version in event.model_versions]
    edges += [(event.name, version, "derived") for version in (event.sft_version, event.preference_version)]
    await history.add_edges(session, project_of(event.name), edges, _when(session, event.ready_time))


async def note_verdict(session: Session, event: VerdictGiven) -> None:
    edges = [(event.candidate_variant, event.name, "judged_by")]
    await history.add_edges(session, project_of(event.name), edges, _when(session, event.give_time))


async def note_split(session: Session, event: DeploymentReady | TrafficShifted) -> None:
    time = event.ready_time if isinstance(event, DeploymentReady) else event.shift_time
    await history.put_split(
        session, event.name, project_of(event.name), _when(session, time), event.alias, _shares(event.shares)
    )


async def note_end(session: Session, event: DeploymentDeleted) -> None:
    await history.put_split(session, event.name, project_of(event.name), _when(session, event.delete_time), "", {})


def _shares(shares: Iterable[Any]) -> dict[str, int]:
    """Two engines may serve one variant; an upstream of unknown weights is nobody's descendant."""
    counted: Counter[str] = Counter()
    for share in shares:
        if served := share.variant or share.model_version:
            counted[served] += share.weight_percent
    return dict(counted)


def _when(session: Session, time: Timestamp) -> datetime:
    """Now, for events of before they said when."""
    return time.ToDatetime(tzinfo=UTC) if time.seconds else session.clock.now()


HANDLERS: dict[Any, Handler] = {
    RunQueued: note_run,
    RunSucceeded: register_result,
    VersionReady: note_data,
    VersionLicenceChanged: correct_licence,
    BatchReady: note_batch,
    VerdictGiven: note_verdict,
    DeploymentReady: note_split,
    TrafficShifted: note_split,
    DeploymentDeleted: note_end,
}
