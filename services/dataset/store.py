"""Every query of this service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session

from services.dataset.models import Dataset, DatasetState, Pin, Upload, Version, VersionState

DATASET_FILTERS = ("state", "type", "licence", "origin", "language", "latest_version_state", "created_by")
VERSION_FILTERS = ("state", "dataset", "row_format", "file_type", "type", "failure_reason", "digest")


async def dataset_page(session: Session, project: str, request: Any) -> pages.Page[Dataset]:
    """Data sets that are not deleted, unless the filter asks for a state."""
    query = sa.select(Dataset).where(Dataset.project == project)
    if not _asks_for_state(request.filter):
        query = query.where(Dataset.state == DatasetState.ACTIVE)
    text_in = ("name", "display_name", "description")
    return await resources.listed(session, query, Dataset, request, allowed=DATASET_FILTERS, text_in=text_in)


async def version_page(session: Session, project: str, dataset: str, request: Any) -> pages.Page[Version]:
    """Versions of `dataset`, or of every data set of the project if it is empty; not the deleted ones unless asked."""
    query = sa.select(Version).where(Version.project == project)
    if dataset:
        query = query.where(Version.dataset == dataset)
    if not _asks_for_state(request.filter):
        query = query.where(Version.state != VersionState.DELETED)
    text_in = ("name", "display_name", "source_filename", "source_uri")
    return await resources.listed(session, query, Version, request, allowed=VERSION_FILTERS, text_in=text_in)


async def upload_of(session: Session, uri: str) -> Upload | None:
    """Locked, so that it is not forgotten while a version takes it."""
    found: Upload | None = await session.scalar(
        sa.select(Upload).where(Upload.uri == uri).with_for_update(key_share=True)
    )
    return found


async def versions_of(session: Session, dataset: str) -> Sequence[Version]:
    """Those that are not deleted, oldest first, locked."""
    query = sa.select(Version).where(Version.dataset == dataset, Version.state != VersionState.DELETED)
    return (await session.scalars(query.order_by(Version.number).with_for_update(key_share=True))).all()


async def newest_ready(session: Session, dataset: str) -> Version | None:
    query = sa.select(Version).where(Version.dataset == dataset, Version.state == VersionState.READY)
    found: Version | None = await session.scalar(query.order_by(Version.number.desc()).limit(1))
    return found


async def newest(session: Session, dataset: str) -> Version | None:
    query = sa.select(Version).where(Version.dataset == dataset, Version.state != VersionState.DELETED)
    found: Version | None = await session.scalar(query.order_by(Version.number.desc()).limit(1))
    return found


async def stored_bytes(session: Session, dataset: str) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(Version.size_bytes), 0))
    total = await session.scalar(query.where(Version.dataset == dataset, Version.state != VersionState.DELETED))
    return int(total or 0)


async def pins_of(session: Session, versions: Sequence[str]) -> Sequence[Pin]:
    """Pins that hold now."""
    query = sa.select(Pin).where(Pin.version.in_(versions), Pin.expire_time > session.clock.now())
    return (await session.scalars(query.order_by(Pin.version, Pin.holder))).all()


async def pin(session: Session, version: Version, holder: str, until: datetime) -> None:
    """Sets or renews the pin of one holder."""
    held = await session.get(Pin, (version.name, holder))
    if held is None:
        session.add(Pin(version=version.name, holder=holder, project=version.project, expire_time=until))
    else:
        held.expire_time = until
    await session.flush()


async def unpin(session: Session, version: str, holder: str) -> None:
    await session.execute(sa.delete(Pin).where(Pin.version == version, Pin.holder == holder))


async def drop_expired_pins(session: Session) -> None:
    await session.execute(sa.delete(Pin).where(Pin.expire_time <= session.clock.now()))


def is_collectable(before: datetime) -> sa.ColumnElement[bool]:
    """Holds for versions that were deleted before `before` and whose files are still there."""
    return sa.and_(Version.state == VersionState.DELETED, sa.not_(Version.collected), Version.delete_time <= before)


def is_forgettable(before: datetime) -> sa.ColumnElement[bool]:
    """Holds for uploads older than `before` that no version has, deleted ones apart."""
    used = sa.exists().where(Version.source_uri == Upload.uri, Version.state != VersionState.DELETED)
    return sa.and_(Upload.create_time < before, ~used)


async def forget_uploads(session: Session, before: datetime, limit: int = 500) -> None:
    """Upload rows that a version is just being made from are locked, and so left alone."""
    old = sa.select(Upload.name).where(is_forgettable(before)).limit(limit).with_for_update(skip_locked=True)
    await session.execute(sa.delete(Upload).where(Upload.name.in_(list(await session.scalars(old)))))


async def known_uploads(session: Session, uris: Sequence[str]) -> set[str]:
    return set(await session.scalars(sa.select(Upload.uri).where(Upload.uri.in_(uris))))


def _asks_for_state(filter: str) -> bool:
    return any(term.replace(" ", "").startswith("state=") for term in filter.split(" AND "))
