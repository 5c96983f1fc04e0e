"""Use cases: name data sets, hold on to versions, let them go. How versions come into being is in creation.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from gyre.dataset.v1 import events_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import AlreadyExists, Exhausted, Invalid, NotFound, Precondition
from gyre_kit.names import BadName, parent_of, slug
from gyre_kit.outbox import emit
from gyre_kit.states import transition

from services.dataset import store
from services.dataset.models import Dataset, DatasetState, Upload, Version, VersionState

TYPES = ("SFT", "PREFERENCE", "EVALUATION", "PROMPT")
EDITABLE = ("display_name", "description", "origin", "licence", "language")
LONGEST_PIN = timedelta(days=30)


class InvalidSlug(BadName):
    """A data set's id has 1 to 63 lower-case letters, digits and hyphens, and begins and ends with a letter or digit."""


class TypeRequired(Invalid):
    """Say what the data set is for: SFT, PREFERENCE, EVALUATION or PROMPT."""


class DatasetExists(AlreadyExists):
    """The project has, or had, a data set of that id; choose another."""


class DatasetNotFound(NotFound):
    """There is no such data set; `gyre datasets list` shows those there are."""


class VersionNotFound(NotFound):
    """There is no such version of the data set."""


class FieldImmutable(Invalid):
    """Only display_name, description, origin, licence and language can be changed."""


class VersionNotReady(Precondition):
    """The version is not READY: wait for the import, or look at its failure_message."""


class Pinned(Precondition):
    """Others need this version; delete what holds it, or wait until the pins expire."""


class BadTtl(Invalid):
    """A pin lasts more than 0 seconds and at most 30 days."""


class HolderRequired(Invalid):
    """A pin names the resource that needs the version."""


class HeaderRequired(Invalid):
    """The first message of an upload is its header, with parent and filename; the others carry bytes."""


class DigestMismatch(Invalid):
    """The bytes that came are not those that were meant; send the file again."""


class FileTooLarge(Exhausted):
    """The file is too large: split it, or let an administrator raise GYRE_MAX_UPLOAD_BYTES."""


class FileNotUsable(Invalid):
    """Nothing of a file can be used. Its reason is the importer's: NOT_UTF8, BROKEN_JSON, NO_ROW_UNDERSTOOD …"""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self._reason = reason

    @property
    def reason(self) -> str:
        return self._reason


@dataclass(frozen=True)
class NewDataset:
    project: str
    dataset_id: str
    type: str
    display_name: str = ""
    description: str = ""
    origin: str = ""
    licence: str = ""
    language: str = ""
    request_id: str = ""


async def create_dataset(session: Session, new: NewDataset) -> Dataset:
    """Raises: InvalidSlug; TypeRequired; DatasetExists."""
    if earlier := await resources.by_request(session, Dataset, new.project, new.request_id):
        return earlier
    name = f"projects/{new.project}/datasets/{_slug(new.dataset_id)}"
    if new.type not in TYPES:
        raise TypeRequired(field="type")
    if await session.get(Dataset, name) is not None:
        raise DatasetExists(name=name)
    dataset = Dataset(
        name=name,
        project=new.project,
        state=DatasetState.ACTIVE,
        type=new.type,
        display_name=new.display_name or new.dataset_id,
        description=new.description,
        origin=new.origin,
        licence=new.licence,
        language=new.language,
        request_id=new.request_id or None,
    )
    session.add(dataset)
    await session.flush()
    return dataset


async def get_dataset(session: Session, name: str, *, lock: bool = False) -> Dataset:
    """Raises: DatasetNotFound."""
    try:
        return await resources.get(session, Dataset, name, lock=lock)
    except NotFound:
        raise DatasetNotFound(name=name) from None


async def update_dataset(session: Session, name: str, changes: dict[str, str], *, etag: str = "") -> Dataset:
    """Versions that had the data set's licence or origin follow. Raises: DatasetNotFound; EtagMismatch; FieldImmutable."""
    dataset = await active(session, name)
    resources.check_etag(dataset, etag)
    for key in changes:
        if key not in EDITABLE:
            raise FieldImmutable(field=key)
    said = {key: value for key, value in changes.items() if key in ("licence", "origin")}
    for version in await store.versions_of(session, name) if said else ():
        await _say_anew(session, dataset, version, said)
    for key, value in changes.items():
        setattr(dataset, key, value)
    await session.flush()
    return dataset


async def delete_dataset(session: Session, name: str, *, etag: str = "") -> Dataset:
    """Tombstones it and its versions. Raises: DatasetNotFound; EtagMismatch; Pinned."""
    dataset = await get_dataset(session, name, lock=True)
    resources.check_etag(dataset, etag)
    if dataset.state == DatasetState.DELETED:
        return dataset
    versions = await store.versions_of(session, name)
    await _check_unpinned(session, versions)
    for version in versions:
        await _tombstone(session, version)
    await transition(session, dataset, DatasetState.DELETED)
    await sum_up(session, dataset)
    return dataset


async def get_version(session: Session, name: str, *, lock: bool = False) -> Version:
    """Raises: VersionNotFound."""
    try:
        return await resources.get(session, Version, name, lock=lock)
    except NotFound:
        raise VersionNotFound(name=name) from None


async def ready_version(session: Session, name: str, *, lock: bool = False) -> Version:
    """Raises: VersionNotFound; VersionNotReady."""
    version = await get_version(session, name, lock=lock)
    if version.state != VersionState.READY:
        raise VersionNotReady(name=name, state=version.state)
    return version


async def delete_version(session: Session, name: str, *, etag: str = "") -> Version:
    """Raises: VersionNotFound; EtagMismatch; Pinned."""
    dataset = await get_dataset(session, parent_of(name), lock=True)
    version = await get_version(session, name, lock=True)
    resources.check_etag(version, etag)
    if version.state == VersionState.DELETED:
        return version
    await _check_unpinned(session, [version])
    await _tombstone(session, version)
    await sum_up(session, dataset)
    return version


async def pin_version(session: Session, name: str, holder: str, ttl: timedelta) -> Version:
    """Raises: VersionNotFound; VersionNotReady; HolderRequired; BadTtl."""
    if not holder:
        raise HolderRequired(field="holder")
    if not timedelta(0) < ttl <= LONGEST_PIN:
        raise BadTtl(field="ttl", seconds=int(ttl.total_seconds()))
    version = await ready_version(session, name, lock=True)
    await store.pin(session, version, holder, session.clock.now() + ttl)
    return version


async def keep_upload(session: Session, upload: Upload) -> Upload:
    session.add(upload)
    await session.flush()
    return upload


def _slug(text: str) -> str:
    try:
        return slug(text)
    except BadName:
        raise InvalidSlug(given=text[:80]) from None


async def active(session: Session, name: str) -> Dataset:
    """Locked, for something to be done with it. Raises: DatasetNotFound, if it was deleted too."""
    dataset = await get_dataset(session, name, lock=True)
    if dataset.state == DatasetState.DELETED:
        raise DatasetNotFound(name=name)
    return dataset


async def _say_anew(session: Session, dataset: Dataset, version: Version, said: Mapping[str, str]) -> None:
    """What is said of its licence and origin is no part of its rows, and may be corrected."""
    changed = {key for key, value in said.items() if getattr(version, key) == getattr(dataset, key) != value}
    for key in changed:
        setattr(version, key, said[key])
    if changed and version.state == VersionState.READY:
        await session.flush()  # takes the lock on its row before its outbox insert
        event = events_pb2.VersionLicenceChanged(name=version.name, licence=version.licence, origin=version.origin)
        event.change_time.FromDatetime(session.clock.now())
        await emit(session, version.name, event)


async def _check_unpinned(session: Session, versions: Sequence[Version]) -> None:
    pins = await store.pins_of(session, [version.name for version in versions])
    if pins:
        raise Pinned(version=pins[0].version, holders=", ".join(pin.holder for pin in pins))


async def _tombstone(session: Session, version: Version) -> None:
    version.delete_time = session.clock.now()
    deleted = events_pb2.VersionDeleted(name=version.name, digest=version.digest)
    deleted.delete_time.FromDatetime(session.clock.now())
    await transition(session, version, VersionState.DELETED, deleted)


async def sum_up(session: Session, dataset: Dataset) -> None:
    """Brings the fields of the data set that tell of its versions up to date."""
    await session.flush()
    ready, newest = await store.newest_ready(session, dataset.name), await store.newest(session, dataset.name)
    dataset.latest_version = ready.name if ready else ""
    dataset.row_count = ready.row_count if ready else 0
    dataset.latest_version_state = newest.state if newest else ""
    dataset.size_bytes = await store.stored_bytes(session, dataset.name)
    await session.flush()
