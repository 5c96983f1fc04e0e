"""Use cases: versions come into being: an import begins, and ends well or badly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gyre.dataset.v1 import dataset_pb2, events_pb2
from gyre_kit import resources
from gyre_kit.auth import Identity
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, NotFound, Precondition
from gyre_kit.names import last, project_of
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.dataset import service, store
from services.dataset.models import Dataset, Version, VersionState

UPLOADS = "gyre://dataset/uploads/"
TEST_FRACTION, NEAR_DUPLICATE_THRESHOLD = 0.2, 0.7


class SourceNotFound(NotFound):
    """There is no such file to import: upload it, and name the uri that the upload answers with."""


class SourceRequired(Invalid):
    """A version is made of a source_uri, of other versions (mix_in), or of both."""


class BadSplit(Invalid):
    """test_fraction is 0 to below 1, near_duplicate_threshold 0.5 to 1, holdouts name each slice once with a count over 0."""


class TypeMismatch(Precondition):
    """Only versions of data sets of the same type can be mixed."""


@dataclass(frozen=True)
class NewVersion:
    """`split_settings` and `mix_in` in the words of their protos; a missing key has its default."""

    dataset: str
    source_uri: str = ""
    display_name: str = ""
    row_format: str = ""
    file_type: str = ""
    split_settings: dict[str, Any] = field(default_factory=dict)
    mix_in: list[dict[str, Any]] = field(default_factory=list)
    origin: str = ""
    licence: str = ""
    derived_from: list[str] = field(default_factory=list)
    request_id: str = ""


async def create_version(session: Session, new: NewVersion, *, by: Identity) -> Version:
    """Starts an import: the version is IMPORTING, and a reconciler does the rest.

    Raises: DatasetNotFound; SourceRequired; SourceNotFound; BadSplit; VersionNotFound; VersionNotReady; TypeMismatch.
    """
    project = project_of(new.dataset)
    if earlier := await resources.by_request(session, Version, project, new.request_id):
        return earlier
    dataset = await service.active(session, new.dataset)
    filename = await _check_source(session, new, by)
    settings = _split_settings(new.split_settings, dataset.type)
    mixed = [await _check_mixed(session, dataset, mix) for mix in new.mix_in]
    dataset.newest_number += 1
    version = Version(
        name=f"{dataset.name}/versions/{dataset.newest_number}",
        project=project,
        dataset=dataset.name,
        number=dataset.newest_number,
        type=dataset.type,
        state=VersionState.IMPORTING,
        display_name=new.display_name or filename or f"version {dataset.newest_number}",
        source_uri=new.source_uri,
        source_filename=filename,
        row_format=new.row_format,
        file_type=new.file_type,
        split_settings=settings,
        mix_in=mixed,
        derived_from=[*(mix["version"] for mix in mixed), *new.derived_from],
        origin=new.origin or dataset.origin,
        licence=new.licence or dataset.licence,
        request_id=new.request_id or None,
    )
    session.add(version)
    await session.flush()
    await service.sum_up(session, dataset)
    return version


async def finish_version(session: Session, version: Version, facts: dict[str, Any]) -> None:
    """All files are in place; `facts` are the fields that the import found."""
    dataset = await service.get_dataset(session, version.dataset, lock=True)
    for key, value in facts.items():
        setattr(version, key, value)
    ready = events_pb2.VersionReady(
        name=version.name,
        type=enum_number(dataset_pb2.Dataset.Type.DESCRIPTOR, version.type),
        uri=version.uri,
        digest=version.digest,
        row_count=version.row_count,
        train_count=version.train_count,
        test_count=version.test_count,
        refused_count=version.refused_count,
        duplicate_count=version.duplicate_count,
        size_bytes=version.size_bytes,
        derived_from=version.derived_from,
        licence=version.licence,
        origin=version.origin,
        all_derived=not version.source_uri or any("/batches/" in name for name in version.derived_from),
    )
    ready.ready_time.FromDatetime(session.clock.now())
    await transition(session, version, VersionState.READY, ready)
    await service.sum_up(session, dataset)


async def fail_version(session: Session, version: Version, facts: dict[str, Any]) -> None:
    """`facts` hold failure_reason and failure_message, and what else the import found."""
    dataset = await service.get_dataset(session, version.dataset, lock=True)
    for key, value in facts.items():
        setattr(version, key, value)
    failed = events_pb2.VersionFailed(
        name=version.name, failure_reason=version.failure_reason, refused_count=version.refused_count
    )
    failed.fail_time.FromDatetime(session.clock.now())
    await transition(session, version, VersionState.FAILED, failed)
    await service.sum_up(session, dataset)


async def _check_source(session: Session, new: NewVersion, by: Identity) -> str:
    """People import what they uploaded; other objects of the store are named by services alone. Returns the file name."""
    if not new.source_uri:
        if not new.mix_in:
            raise SourceRequired(field="source_uri")
        return ""
    if not new.source_uri.startswith(UPLOADS) and by.subject.startswith("services/"):
        return last(new.source_uri)
    upload = await store.upload_of(session, new.source_uri)
    if upload is None:
        raise SourceNotFound(source_uri=new.source_uri[:200])
    return upload.filename


def _split_settings(given: dict[str, Any], dataset_type: str) -> dict[str, Any]:
    """With defaults filled in. An EVALUATION data set that says nothing is held out as a whole."""
    fraction = given.get("test_fraction", 1.0 if dataset_type == "EVALUATION" else TEST_FRACTION)
    threshold = given.get("near_duplicate_threshold", NEAR_DUPLICATE_THRESHOLD)
    holdouts = given.get("holdouts", [])
    slices = [holdout["slice"] for holdout in holdouts]
    if "test_fraction" in given and not 0 <= fraction < 1:
        raise BadSplit(field="split_settings.test_fraction", given=fraction)
    if not 0.5 <= threshold <= 1:
        raise BadSplit(field="split_settings.near_duplicate_threshold", given=threshold)
    if len(set(slices)) < len(slices) or any(holdout["test_rows"] <= 0 for holdout in holdouts):
        raise BadSplit(field="split_settings.holdouts")
    return {
        "test_fraction": fraction,
        "seed": given.get("seed", 0),
        "holdouts": holdouts,
        "near_duplicate_threshold": threshold,
    }


async def _check_mixed(session: Session, dataset: Dataset, mix: dict[str, Any]) -> dict[str, Any]:
    version = await service.get_version(session, mix["version"])
    if version.type != dataset.type:
        raise TypeMismatch(version=version.name, type=version.type, wanted=dataset.type)
    if version.state != VersionState.READY:
        raise service.VersionNotReady(name=version.name, state=version.state)
    return {"version": version.name, "max_rows": mix.get("max_rows", 0)}
