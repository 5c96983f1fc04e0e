"""Every query of this service."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit import pages, resources
from gyre_kit.db import Session
from sqlalchemy.dialects.postgresql import insert

from services.model_registry.models import (
    Alias,
    AliasMove,
    Model,
    ModelState,
    ModelUpload,
    ModelUploadState,
    Pin,
    UploadPart,
    Variant,
    VariantState,
    Version,
    VersionState,
)


async def model_page(session: Session, project: str, request: Any) -> pages.Page[Model]:
    query = sa.select(Model).where(Model.project == project)
    if "state" not in request.filter:
        query = query.where(Model.state == ModelState.ACTIVE)
    text_in = ("name", "display_name")
    return await resources.listed(session, query, Model, request, allowed=("state",), text_in=text_in)


async def version_page(session: Session, parent: str, request: Any) -> pages.Page[Version]:
    """The versions of one model, or of all where the parent ends in `/models/-`."""
    query = sa.select(Version).where(Version.state != VersionState.DELETED)
    if not parent.endswith("/-"):
        query = query.where(Version.model == parent)
    allowed, text_in = ("state", "run"), ("name", "display_name", "source")
    return await resources.listed(session, query, Version, request, allowed=allowed, text_in=text_in)


async def variant_page(session: Session, version: str, request: Any) -> pages.Page[Variant]:
    query = sa.select(Variant).where(Variant.version == version, Variant.state != VariantState.DELETED)
    allowed = ("state", "format", "quantisation")
    return await resources.listed(session, query, Variant, request, allowed=allowed, order_by="format desc")


async def alias_page(session: Session, model: str, request: Any) -> pages.Page[Alias]:
    query = sa.select(Alias).where(Alias.model == model)
    return await resources.listed(session, query, Alias, request, order_by="name")


async def move_page(session: Session, alias: str, request: Any) -> pages.Page[AliasMove]:
    query = sa.select(AliasMove).where(AliasMove.alias == alias)
    return await resources.listed(session, query, AliasMove, request, order_by="number desc")


async def next_version_number(session: Session, model: str) -> int:
    """The caller holds the model's row."""
    newest = await session.scalar(sa.select(sa.func.max(Version.number)).where(Version.model == model))
    return (newest or 0) + 1


async def newest_version(session: Session, model: str, state: str = "") -> Version | None:
    query = sa.select(Version).where(Version.model == model, Version.state != VersionState.DELETED)
    if state:
        query = query.where(Version.state == state)
    found: Version | None = await session.scalar(query.order_by(Version.number.desc()).limit(1))
    return found


async def version_of_run(session: Session, run: str) -> Version | None:
    found: Version | None = await session.scalar(sa.select(Version).where(Version.run == run))
    return found


async def versions_of(session: Session, model: str) -> Sequence[Version]:
    query = sa.select(Version).where(Version.model == model, Version.state != VersionState.DELETED)
    return (await session.scalars(query.order_by(Version.number))).all()


async def ready_versions(session: Session, project: str) -> Sequence[Version]:
    """Those with safetensors, newest first."""
    has_weights = sa.exists().where(Variant.version == Version.name, Variant.format == "HF")
    query = sa.select(Version).where(Version.project == project, Version.state == VersionState.READY, has_weights)
    return (await session.scalars(query.order_by(Version.create_time.desc(), Version.name))).all()


async def variants_of(session: Session, version: str) -> Sequence[Variant]:
    query = sa.select(Variant).where(Variant.version == version, Variant.state != VariantState.DELETED)
    return (await session.scalars(query.order_by(Variant.format.desc(), Variant.name))).all()


async def stored_bytes(session: Session, model: str) -> int:
    """Bytes of everything that is READY. The variant as which a version came is its files, and not counted twice."""
    versions = sa.select(sa.func.coalesce(sa.func.sum(Version.size_bytes), 0)).where(
        Version.model == model, Version.state == VersionState.READY
    )
    variants = (
        sa.select(sa.func.coalesce(sa.func.sum(Variant.size_bytes), 0))
        .join(Version, Version.name == Variant.version)
        .where(Version.model == model, Variant.state == VariantState.READY, Variant.uri != Version.uri)
        .where(sa.or_(Variant.format != "GGUF", Variant.workload != ""))
    )
    return int(await session.scalar(versions) or 0) + int(await session.scalar(variants) or 0)


async def aliases_of(session: Session, model: str) -> Sequence[Alias]:
    return (await session.scalars(sa.select(Alias).where(Alias.model == model).order_by(Alias.name))).all()


async def aliases_at(session: Session, version: str) -> Sequence[Alias]:
    return (await session.scalars(sa.select(Alias).where(Alias.version == version))).all()


async def moves_of(session: Session, alias: str) -> int:
    return await session.scalar(sa.select(sa.func.count()).where(AliasMove.alias == alias)) or 0


async def move_in_force(session: Session, alias: str, time: datetime) -> AliasMove | None:
    query = sa.select(AliasMove).where(AliasMove.alias == alias, AliasMove.create_time <= time)
    found: AliasMove | None = await session.scalar(query.order_by(AliasMove.number.desc()).limit(1))
    return found


async def pins_of(session: Session, version: str, now: datetime) -> Sequence[Pin]:
    return (await session.scalars(sa.select(Pin).where(Pin.version == version, Pin.expire_time > now))).all()


async def put_pin(session: Session, pin: Pin) -> None:
    values = pin.model_dump()
    statement = insert(Pin).values(**values)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["version", "holder"], set_={"expire_time": statement.excluded.expire_time}
        )
    )


async def drop_pin(session: Session, version: str, holder: str) -> None:
    await session.execute(sa.delete(Pin).where(Pin.version == version, Pin.holder == holder))


async def versions_and_variants(session: Session, names: Sequence[str]) -> dict[str, Version | Variant]:
    found: dict[str, Version | Variant] = {}
    tables: tuple[type[Any], ...] = (Version, Variant)
    for table in tables:
        found |= {row.name: row for row in await session.scalars(sa.select(table).where(table.name.in_(names)))}
    return found


async def licences_of_models(session: Session, names: Sequence[str]) -> dict[str, str]:
    rows = await session.execute(sa.select(Model.name, Model.licence).where(Model.name.in_(names)))
    return {row[0]: row[1] for row in rows}


async def uncollected(session: Session, before: datetime) -> Sequence[Version]:
    query = sa.select(Version).where(
        Version.state == VersionState.DELETED,
        Version.collected.is_(False),
        Version.delete_time < before,
    )
    return (await session.scalars(query.limit(20))).all()


async def uris_in_use(session: Session) -> set[str]:
    """Manifests and blobs that something not deleted still names."""
    versions = await session.scalars(sa.select(Version.uri).where(Version.state != VersionState.DELETED))
    variants = await session.scalars(sa.select(Variant.uri).where(Variant.state != VariantState.DELETED))
    return {uri for uri in (*versions, *variants) if uri}


async def variant_uris(session: Session, version: str) -> Sequence[str]:
    """Of all variants, the deleted ones too."""
    return (await session.scalars(sa.select(Variant.uri).where(Variant.version == version))).all()


async def upload_page(session: Session, project: str, request: Any) -> pages.Page[ModelUpload]:
    query = sa.select(ModelUpload).where(ModelUpload.project == project)
    return await resources.listed(session, query, ModelUpload, request, allowed=("state", "kind"), order_by="")


async def upload_of(session: Session, upload_id: str) -> ModelUpload | None:
    name: Any = ModelUpload.name
    query = sa.select(ModelUpload).where(name.endswith(f"/modelUploads/{upload_id}", autoescape=True))
    found: ModelUpload | None = await session.scalar(query)
    return found


async def parts_of(session: Session, upload: str) -> Sequence[UploadPart]:
    query = sa.select(UploadPart).where(UploadPart.upload == upload)
    return (await session.scalars(query.order_by(UploadPart.path, UploadPart.number))).all()


async def put_part(session: Session, part: UploadPart) -> None:
    statement = insert(UploadPart).values(**part.model_dump())
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["upload", "path", "number"], set_={"digest": statement.excluded.digest}
        )
    )


async def received_bytes(session: Session, upload: str) -> int:
    query = sa.select(sa.func.coalesce(sa.func.sum(UploadPart.size_bytes), 0)).where(UploadPart.upload == upload)
    return int(await session.scalar(query) or 0)


async def ended_uploads(session: Session, before: datetime) -> Sequence[str]:
    """Uploads that got no part since `before`, and those whose version or variant is made or has failed."""
    importing = sa.exists().where(Version.name == ModelUpload.used_by, Version.state == VersionState.IMPORTING)
    creating = sa.exists().where(Variant.name == ModelUpload.used_by, Variant.state == VariantState.CREATING)
    left = sa.and_(ModelUpload.state == ModelUploadState.OPEN, ModelUpload.update_time < before)
    done = sa.and_(ModelUpload.state == ModelUploadState.USED, ~importing, ~creating)
    query = sa.select(ModelUpload.name).where(sa.or_(left, done)).limit(500)
    return (await session.scalars(query.with_for_update(skip_locked=True))).all()


async def drop_uploads(session: Session, names: Sequence[str]) -> None:
    await session.execute(sa.delete(UploadPart).where(UploadPart.upload.in_(names)))
    await session.execute(sa.delete(ModelUpload).where(ModelUpload.name.in_(names)))


async def known_uploads(session: Session, ids: Collection[str]) -> set[str]:
    """Those of `ids` that an upload has."""
    names = await session.scalars(sa.select(ModelUpload.name))
    return {name.rsplit("/", 1)[-1] for name in names} & set(ids)
