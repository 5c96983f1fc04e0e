"""Tables of the schema `model_registry`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Resource
from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("model_registry")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class ModelState(StrEnum):
    ACTIVE = "ACTIVE"
    DELETED = "DELETED"


class Model(Table, Resource, table=True):
    """A named family of weights."""

    State: ClassVar[type[ModelState]] = ModelState
    TRANSITIONS: ClassVar[Mapping[ModelState, frozenset[ModelState]]] = {
        ModelState.ACTIVE: frozenset({ModelState.DELETED}),
        ModelState.DELETED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str = Field(default=ModelState.ACTIVE, index=True)
    description: str = ""
    origin: str = ""
    licence: str = ""


class VersionState(StrEnum):
    IMPORTING = "IMPORTING"
    READY = "READY"
    FAILED = "FAILED"
    DELETED = "DELETED"


class Version(Table, Resource, Leased, table=True):
    """Immutable weights. IMPORTING covers both ways in: an import job, and taking over a run's output."""

    State: ClassVar[type[VersionState]] = VersionState
    TRANSITIONS: ClassVar[Mapping[VersionState, frozenset[VersionState]]] = {
        VersionState.IMPORTING: frozenset({VersionState.READY, VersionState.FAILED, VersionState.DELETED}),
        VersionState.READY: frozenset({VersionState.DELETED}),
        VersionState.FAILED: frozenset({VersionState.DELETED}),
        VersionState.DELETED: frozenset(),
    }
    __table_args__ = (
        sa.UniqueConstraint("model", "number"),
        sa.UniqueConstraint("project", "request_id"),
        sa.Index("one_version_a_run", "run", unique=True, postgresql_where=sa.text("run <> ''")),
    )

    state: str = Field(index=True)
    model: str = Field(index=True)
    number: int
    source: str = ""
    source_revision: str = ""
    source_digest: str = ""
    run: str = ""
    base_version: str = ""
    dataset_versions: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    pipeline: str = ""
    uri: str = ""
    digest: str = ""
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    architecture: str = ""
    parameter_count: int = Field(default=0, sa_type=BigInteger)
    origin: str = ""
    licence: str = ""
    card: str = ""
    workload: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    delete_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    collected: bool = False


class VariantState(StrEnum):
    CREATING = "CREATING"
    READY = "READY"
    FAILED = "FAILED"
    DELETED = "DELETED"


class Variant(Table, Resource, Leased, table=True):
    """One form of a version's weights."""

    State: ClassVar[type[VariantState]] = VariantState
    TRANSITIONS: ClassVar[Mapping[VariantState, frozenset[VariantState]]] = {
        VariantState.CREATING: frozenset({VariantState.READY, VariantState.FAILED, VariantState.DELETED}),
        VariantState.READY: frozenset({VariantState.DELETED}),
        VariantState.FAILED: frozenset({VariantState.DELETED, VariantState.CREATING}),
        VariantState.DELETED: frozenset(),
    }

    state: str = Field(index=True)
    version: str = Field(index=True)
    format: str
    quantisation: str = ""
    uri: str = ""
    digest: str = ""
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    note: str = ""
    calibration: str = ""
    calibration_uri: str = ""
    calibration_digest: str = ""
    source: str = ""
    workload: str = ""
    failure_reason: str = ""
    failure_message: str = ""


class ModelUploadState(StrEnum):
    OPEN = "OPEN"
    USED = "USED"


class ModelUpload(Table, Resource, table=True):
    """Files that are being sent. `files` are {path, size_bytes}; what is there of them is in UploadPart."""

    State: ClassVar[type[ModelUploadState]] = ModelUploadState
    TRANSITIONS: ClassVar[Mapping[ModelUploadState, frozenset[ModelUploadState]]] = {
        ModelUploadState.OPEN: frozenset({ModelUploadState.USED}),
        ModelUploadState.USED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str = Field(default=ModelUploadState.OPEN, index=True)
    kind: str
    files: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    received_bytes: int = Field(default=0, sa_type=BigInteger)
    used_by: str = ""


class UploadPart(Table, table=True):
    """One part that lies in the store, under its number and digest."""

    upload: str = Field(primary_key=True)
    path: str = Field(primary_key=True)
    number: int = Field(primary_key=True)
    project: str = Field(index=True)
    size_bytes: int = Field(sa_type=BigInteger)
    digest: str


class Alias(Table, Resource, table=True):
    """A name for whichever version should be used now."""

    model: str = Field(index=True)
    version: str
    variant: str = ""
    gated: bool = False


class AliasMove(Table, Resource, table=True):
    """One move of an alias. Written once."""

    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    alias: str = Field(index=True)
    number: int
    from_version: str = ""
    to_version: str
    to_variant: str = ""
    verdict: str = ""

    @property
    def moved_by(self) -> str:
        return self.created_by

    @property
    def move_time(self) -> datetime:
        return self.create_time


class Pin(Table, table=True):
    """Keeps a version from being deleted until it expires."""

    version: str = Field(primary_key=True)
    holder: str = Field(primary_key=True)
    project: str = Field(index=True)
    expire_time: datetime = Field(sa_type=DateTime(timezone=True))


class Edge(Table, table=True):
    """What led to what, for good. What holds for a while only is in AliasMove and Serving."""

    __table_args__ = (sa.Index("edge_by_target", "target"),)

    source: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    relation: str = Field(primary_key=True)
    project: str = Field(index=True)
    time: datetime = Field(sa_type=DateTime(timezone=True))


class Serving(Table, table=True):
    """A share of a deployment's split from `time` on, until the next split; a deployment that is gone has an empty one.

    Splits are kept whole and by their time: whichever order they are heard of in, the last before a time was in force.
    """

    __table_args__ = (sa.Index("serving_by_served", "served"), sa.Index("serving_by_alias", "alias"))

    deployment: str = Field(primary_key=True)
    time: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))
    served: str = Field(primary_key=True)  # variant or version; empty for an upstream, or where nothing is served
    project: str = Field(index=True)
    alias: str = ""
    weight_percent: int = 0


class KnownData(Table, table=True):
    """What a data set version says of itself."""

    name: str = Field(primary_key=True)
    project: str = Field(index=True)
    licence: str = ""
    origin: str = ""
    row_count: int = Field(default=0, sa_type=BigInteger)
    adds_rows: bool = True  # beyond those of the versions and batches that it was made of
    time: datetime = Field(sa_type=DateTime(timezone=True))
    licence_time: datetime = Field(sa_type=DateTime(timezone=True))  # when licence and origin were last stated


class LicencePolicy(Table, Resource, table=True):
    """What a project refuses to deploy."""

    refuse_terms: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    refuse_unknown: bool = False
    updated_by: str = ""


class CardText(Table, Resource, table=True):
    """What people wrote into a version's card: [title, body] of each section."""

    sections: list[list[str]] = Field(default_factory=list, sa_type=sa.JSON)
    updated_by: str = ""


def parents_of(version: Version) -> dict[str, Any]:
    """The version's `Parents`, as the protos have it."""
    return {
        "run": version.run,
        "base_version": version.base_version,
        "dataset_versions": version.dataset_versions,
        "pipeline": version.pipeline,
    }
