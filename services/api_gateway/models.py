"""Tables of the schema `api_gateway`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("api_gateway")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class ProjectState(StrEnum):
    ACTIVE = "ACTIVE"
    DELETED = "DELETED"


class Project(Table, Resource, table=True):
    """A team's room: everything else belongs to one."""

    State: ClassVar[type[ProjectState]] = ProjectState
    TRANSITIONS: ClassVar[Mapping[ProjectState, frozenset[ProjectState]]] = {
        ProjectState.ACTIVE: frozenset({ProjectState.DELETED}),
        ProjectState.DELETED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("request_id"),)

    state: str = ProjectState.ACTIVE
    consent_to_keep: bool = False
    consented_by: str = ""
    consent_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    requests_per_minute: int = 0
    limits: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    regions: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    keep_personal_data: bool = False
    retention_days: int = 0


class KeyState(StrEnum):
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"


class ApiKey(Table, Resource, table=True):
    """32 random bytes that somebody else holds; here lies their SHA-256."""

    State: ClassVar[type[KeyState]] = KeyState
    TRANSITIONS: ClassVar[Mapping[KeyState, frozenset[KeyState]]] = {
        KeyState.ACTIVE: frozenset({KeyState.REVOKED}),
        KeyState.REVOKED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str = Field(default=KeyState.ACTIVE, index=True)
    role: str
    secret_sha256: str = Field(unique=True)
    prefix: str
    requests_per_minute: int = 0
    all_projects: bool = False
    hidden: bool = False
    revoke_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    limits: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    expire_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))

    @property
    def expire_unix_seconds(self) -> int:
        """0: never."""
        return int(self.expire_time.timestamp()) if self.expire_time else 0


class AuditEntry(Table, Resource, table=True):
    """Who changed what, and whether it worked. Entries are written once and never touched again."""

    actor: str = Field(index=True)
    action: str = Field(index=True)
    resource: str = ""
    outcome: str
    reason: str = ""
    trace_id: str = ""
