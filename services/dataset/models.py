"""Tables of the schema `dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.names import last, parent_of
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("dataset")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class DatasetState(StrEnum):
    ACTIVE = "ACTIVE"
    DELETED = "DELETED"


class Dataset(Table, Resource, table=True):
    """A named collection of versions. The last four fields sum up its versions, so that lists need no join."""

    State: ClassVar[type[DatasetState]] = DatasetState
    TRANSITIONS: ClassVar[Mapping[DatasetState, frozenset[DatasetState]]] = {
        DatasetState.ACTIVE: frozenset({DatasetState.DELETED}),
        DatasetState.DELETED: frozenset(),
    }
    __table_args__ = (
        sa.UniqueConstraint("project", "request_id"),
        sa.CheckConstraint("type IN ('SFT', 'PREFERENCE', 'EVALUATION', 'PROMPT')"),
    )

    state: str = Field(index=True)
    type: str
    description: str = ""
    origin: str = ""
    licence: str = ""
    language: str = ""
    newest_number: int = 0
    latest_version: str = ""
    latest_version_state: str = ""
    row_count: int = Field(default=0, sa_type=sa.BigInteger)
    size_bytes: int = Field(default=0, sa_type=sa.BigInteger)


class VersionState(StrEnum):
    IMPORTING = "IMPORTING"
    READY = "READY"
    FAILED = "FAILED"
    DELETED = "DELETED"


class Version(Table, Resource, Leased, table=True):
    """An immutable set of rows. `mix_in` and `split_settings` are as asked for, in the words of their protos."""

    State: ClassVar[type[VersionState]] = VersionState
    TRANSITIONS: ClassVar[Mapping[VersionState, frozenset[VersionState]]] = {
        VersionState.IMPORTING: frozenset({VersionState.READY, VersionState.FAILED, VersionState.DELETED}),
        VersionState.READY: frozenset({VersionState.DELETED}),
        VersionState.FAILED: frozenset({VersionState.DELETED}),
        VersionState.DELETED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("dataset", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(index=True)
    dataset: str = Field(foreign_key="dataset.dataset.name", index=True)
    number: int
    type: str
    source_uri: str = ""
    source_filename: str = ""
    row_format: str = ""
    file_type: str = ""
    split_settings: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    mix_in: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    derived_from: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    origin: str = ""
    licence: str = ""

    failure_reason: str = ""
    failure_message: str = ""
    crashes: int = 0
    encoding: str = ""
    uri: str = ""
    digest: str = ""
    row_count: int = Field(default=0, sa_type=sa.BigInteger)
    train_count: int = Field(default=0, sa_type=sa.BigInteger)
    test_count: int = Field(default=0, sa_type=sa.BigInteger)
    refused_count: int = Field(default=0, sa_type=sa.BigInteger)
    duplicate_count: int = Field(default=0, sa_type=sa.BigInteger)
    near_duplicate_count: int = Field(default=0, sa_type=sa.BigInteger)
    size_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    profile_json: str = ""
    slices: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    train_uri: str = ""
    train_digest: str = ""
    test_uri: str = ""
    test_digest: str = ""
    delete_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    collected: bool = False

    @property
    def prefix(self) -> str:
        """Where its files lie: `dataset/<project>/<slug>/<n>`."""
        return f"dataset/{self.project}/{last(parent_of(self.name))}/{self.number}"


class Pin(Table, table=True):
    """Somebody needs a version until `expire_time`."""

    version: str = Field(primary_key=True, foreign_key="dataset.version.name")
    holder: str = Field(primary_key=True)
    project: str = Field(index=True)
    expire_time: datetime = Field(sa_type=DateTime(timezone=True))


class Upload(Table, Resource, table=True):
    """A file that came in whole."""

    uri: str = Field(index=True)
    filename: str
    size_bytes: int = Field(sa_type=sa.BigInteger)
    digest: str
    detected_row_format: str = ""
    detected_file_type: str = ""
    detected_encoding: str = ""
