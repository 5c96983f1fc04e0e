"""Use cases: models and their immutable versions. Variants are in variants.py, aliases in aliases.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gyre.model_registry.v1 import events_pb2, model_pb2, version_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Conflict, Invalid, Precondition
from gyre_kit.names import project_of, slug
from gyre_kit.states import transition
from gyre_kit.storage import uri_of

from services.model_registry import files, history, store
from services.model_registry.models import (
    Model,
    ModelState,
    Pin,
    Variant,
    VariantState,
    Version,
    VersionState,
    parents_of,
)

UPLOADS = "gyre://dataset/uploads/"
BUNDLED = "bundled://smollm2"
HUBS = ("hf://", "ms://")
SOURCES = (*HUBS, UPLOADS, files.UPLOADS)
LONGEST_PIN = timedelta(days=30)


class ModelExists(AlreadyExists):
    """There is a model of that name already; add a version to it, or choose another name."""


class FieldImmutable(Invalid):
    """Of a model only display_name, description, origin and licence can be changed."""


class BadSource(Invalid):
    """A source is bundled://smollm2, hf://owner/name, ms://owner/name, or the uri of an upload."""


class UploadGone(Invalid):
    """There is no such upload any more; upload the archive again, and name the uri that the upload answers with."""


class VersionNotReady(Precondition):
    """Only a version that is READY can be used."""


class Pinned(Precondition):
    """It is in use; what holds it must let go first."""


class Aliased(Precondition):
    """An alias points to it; move the alias first."""


class DigestMismatch(Conflict):
    """The run is registered with another digest already."""


@dataclass(frozen=True)
class Import:
    """Weights from elsewhere."""

    source: str
    revision: str = ""
    origin: str = ""
    licence: str = ""
    card: str = ""
    display_name: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Registration:
    """Weights that a run made: `uri` is the prefix of its output, `digest` that of its manifest."""

    uri: str
    digest: str
    run: str
    base_version: str = ""
    dataset_versions: Sequence[str] = ()
    pipeline: str = ""
    origin: str = ""
    licence: str = ""
    card: str = ""
    display_name: str = ""


@dataclass(frozen=True)
class Stored:
    """What lies in the store when a version's files are all there."""

    uri: str
    digest: str
    size_bytes: int
    architecture: str
    parameter_count: int
    origin: str = ""
    licence: str = ""
    card: str = ""
    gguf_sha256: str = ""
    gguf_bytes: int = 0
    quantisation: str = ""


async def create_model(session: Session, project: str, model_id: str, given: dict[str, Any], request_id: str) -> Model:
    """Raises: BadName; ModelExists."""
    if earlier := await resources.by_request(session, Model, project, request_id):
        return earlier
    name = f"projects/{project}/models/{slug(model_id)}"
    if await session.get(Model, name):
        raise ModelExists(name=name)
    model = Model(name=name, project=project, request_id=request_id or None, **given)
    model.display_name = model.display_name or model_id
    session.add(model)
    await session.flush()
    return model


async def update_model(session: Session, given: model_pb2.Model, fields: Sequence[str]) -> Model:
    """Versions that had the model's licence or origin follow. Raises: NotFound; FieldImmutable; EtagMismatch."""
    if wrong := set(fields) - {"display_name", "description", "origin", "licence"}:
        raise FieldImmutable(fields=", ".join(sorted(wrong)))
    model = await resources.get(session, Model, given.name, lock=True)
    resources.check_etag(model, given.etag)
    said = set(fields) & {"licence", "origin"}
    for version in await store.versions_of(session, model.name) if said else ():
        for name in said:
            if not version.run and getattr(version, name) == getattr(model, name):
                setattr(version, name, getattr(given, name))
    for name in fields:
        setattr(model, name, getattr(given, name))
    await session.flush()
    return model


async def delete_model(session: Session, name: str, etag: str) -> Model:
    """Tombstones the model with its versions. Raises: NotFound; EtagMismatch; Pinned; Aliased."""
    model = await resources.get(session, Model, name, lock=True)
    resources.check_etag(model, etag)
    for version in await store.versions_of(session, name):
        await _delete_version(session, version, aliased_is_fine=True)
    await transition(session, model, ModelState.DELETED)
    return model


async def import_version(session: Session, model_name: str, wanted: Import) -> Version:
    """A version that a job will fill. Raises: NotFound; BadSource."""
    project = project_of(model_name)
    if earlier := await resources.by_request(session, Version, project, wanted.request_id):
        return earlier
    if wanted.source != BUNDLED and not wanted.source.startswith(SOURCES):
        raise BadSource(field="source", given=wanted.source[:120])
    version = await _new_version(session, model_name, wanted.request_id)
    version.source, version.source_revision = wanted.source, wanted.revision
    version.origin, version.licence, version.card = wanted.origin, wanted.licence, wanted.card
    version.display_name = wanted.display_name
    session.add(version)
    await session.flush()
    return version


async def register_version(session: Session, model_name: str, made: Registration) -> Version:
    """The one version of a run, READY as soon as its files were taken over. Raises: NotFound; DigestMismatch."""
    if earlier := await store.version_of_run(session, made.run):
        if earlier.source_digest != made.digest:
            raise DigestMismatch(run=made.run, version=earlier.name)
        return earlier
    version = await _new_version(session, model_name, "")
    version.source, version.source_digest = made.uri, made.digest
    version.run, version.base_version, version.pipeline = made.run, made.base_version, made.pipeline
    version.dataset_versions = list(made.dataset_versions)
    version.origin, version.licence, version.card = made.origin, made.licence, made.card
    version.display_name = made.display_name
    session.add(version)
    await session.flush()
    return version


async def finish_version(session: Session, version: Version, stored: Stored) -> None:
    """Its files are in the store: READY, with the variant that they are beside it and its lineage written down."""
    version.uri, version.digest, version.size_bytes = stored.uri, stored.digest, stored.size_bytes
    version.architecture, version.parameter_count = stored.architecture, stored.parameter_count
    version.origin, version.licence = version.origin or stored.origin, version.licence or stored.licence
    version.card = version.card or stored.card
    model = await resources.get(session, Model, version.model, lock=True)
    model.origin, model.licence = model.origin or version.origin, model.licence or version.licence
    itself = _as_variant(version, stored)
    session.add(itself)
    await history.add_edges(session, version.project, [*_lineage(version), (version.name, itself.name, "stored_as")])
    await transition(session, version, VersionState.READY, _registered(session, version))


def _as_variant(version: Version, stored: Stored) -> Variant:
    """The form in which a version came: the Hugging Face folder, or the one GGUF file."""
    if not stored.gguf_sha256:
        return Variant(
            name=f"{version.name}/variants/hf",
            project=version.project,
            display_name="Hugging Face",
            state=VariantState.READY,
            version=version.name,
            format="HF",
            uri=stored.uri,
            digest=stored.digest,
            size_bytes=stored.size_bytes,
        )
    called = stored.quantisation or "GGUF"
    return Variant(
        name=f"{version.name}/variants/{called.lower().replace('_', '-')}",
        project=version.project,
        display_name=called,
        state=VariantState.READY,
        version=version.name,
        format="GGUF",
        quantisation=stored.quantisation,
        uri=uri_of(f"{files.BLOBS}/{stored.gguf_sha256}"),
        digest=f"sha256:{stored.gguf_sha256}",
        size_bytes=stored.gguf_bytes,
    )


async def fail_version(session: Session, version: Version, reason: str, message: str) -> None:
    version.failure_reason, version.failure_message = reason, message
    await transition(session, version, VersionState.FAILED)


async def delete_version(session: Session, name: str, etag: str) -> Version:
    """Tombstones a version and its variants. Raises: NotFound; EtagMismatch; Pinned; Aliased."""
    version = await resources.get(session, Version, name, lock=True)
    resources.check_etag(version, etag)
    await _delete_version(session, version, aliased_is_fine=False)
    return version


async def pin_version(session: Session, name: str, holder: str, ttl: timedelta) -> Version:
    """Raises: NotFound; VersionNotReady."""
    version = await resources.get(session, Version, name, lock=True)
    if version.state != VersionState.READY:
        raise VersionNotReady(name=name, state=version.state)
    expires = session.clock.now() + min(ttl or LONGEST_PIN, LONGEST_PIN)
    await store.put_pin(session, Pin(version=name, holder=holder, project=version.project, expire_time=expires))
    return version


async def ready_version(session: Session, name: str) -> Version:
    """Raises: NotFound; VersionNotReady."""
    version = await resources.get(session, Version, name)
    if version.state != VersionState.READY:
        raise VersionNotReady(name=name, state=version.state)
    return version


async def _new_version(session: Session, model_name: str, request_id: str) -> Version:
    """The next number of its model, whose row is locked until the transaction ends."""
    model = await resources.get(session, Model, model_name, lock=True)
    number = await store.next_version_number(session, model.name)
    return Version(
        name=f"{model.name}/versions/{number}",
        project=model.project,
        model=model.name,
        number=number,
        state=VersionState.IMPORTING,
        request_id=request_id or None,
    )


async def _delete_version(session: Session, version: Version, *, aliased_is_fine: bool) -> None:
    if pins := await store.pins_of(session, version.name, session.clock.now()):
        raise Pinned(name=version.name, holders=", ".join(sorted(pin.holder for pin in pins)))
    if not aliased_is_fine and (aliases := await store.aliases_at(session, version.name)):
        raise Aliased(name=version.name, aliases=", ".join(alias.name for alias in aliases))
    for variant in await store.variants_of(session, version.name):
        await transition(session, variant, VariantState.DELETED)
    version.delete_time = session.clock.now()
    deleted = events_pb2.VersionDeleted(name=version.name, digest=version.digest)
    deleted.delete_time.FromDatetime(session.clock.now())
    await transition(session, version, VersionState.DELETED, deleted)


def _lineage(version: Version) -> list[tuple[str, str, str]]:
    edges = [(dataset, version.run or version.name, "trained_on") for dataset in version.dataset_versions]
    edges.append((version.base_version, version.run or version.name, "based_on"))
    edges.append((version.run, version.name, "made"))
    edges.append((version.pipeline, version.run, "conducted"))
    return edges


def _registered(session: Session, version: Version) -> events_pb2.VersionRegistered:
    event = events_pb2.VersionRegistered(
        name=version.name,
        uri=version.uri,
        digest=version.digest,
        size_bytes=version.size_bytes,
        architecture=version.architecture,
        parameter_count=version.parameter_count,
        parents=version_pb2.Parents(**parents_of(version)),
    )
    event.register_time.FromDatetime(session.clock.now())
    return event
