"""What api_gateway said of keys and projects."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlmodel import Field

from services.inference_gateway.models.base import Table


class KnownKey(Table, table=True):
    """What api_gateway said of a key: enough to admit requests while it is away."""

    name: str = Field(primary_key=True)
    project: str = Field(index=True)
    secret_sha256: str
    role: str
    active: bool
    requests_per_minute: int = 0
    limits: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    expire_unix_seconds: int = Field(default=0, sa_type=sa.BigInteger)


class KnownProject(Table, table=True):
    """What api_gateway said of a project."""

    project: str = Field(primary_key=True)
    active: bool
    consent_to_keep: bool
    requests_per_minute: int = 0
    limits: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    regions: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    keep_personal_data: bool = False
    retention_days: int = 0
