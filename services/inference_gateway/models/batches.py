"""Files of `/v1/files`, and batches that are answered in the background."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Numbered, Resource
from sqlalchemy import DateTime
from sqlmodel import Field

from services.inference_gateway.models.base import Table


class StoredFile(Table, Resource, table=True):
    """A file of `/v1/files`. Its name is `projects/{p}/files/{id}`; `purpose` as OpenAI has it."""

    purpose: str = Field(index=True)
    size_bytes: int = Field(sa_type=sa.BigInteger)
    uri: str
    digest: str


class BatchState(StrEnum):
    VALIDATING = "VALIDATING"
    IN_PROGRESS = "IN_PROGRESS"
    FINALIZING = "FINALIZING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


B = BatchState


class InferenceBatch(Table, Resource, Numbered, Leased, table=True):
    """Many requests answered in the background. Its name is `projects/{p}/inferenceBatches/{id}`.

    Files are ids, versions are names. `api_key` asked for it and is billed; empty where no key did.
    """

    State: ClassVar[type[BatchState]] = BatchState
    TRANSITIONS: ClassVar[Mapping[BatchState, frozenset[BatchState]]] = {
        B.VALIDATING: frozenset({B.IN_PROGRESS, B.FAILED, B.CANCELLING}),
        B.IN_PROGRESS: frozenset({B.FINALIZING, B.CANCELLING}),
        B.FINALIZING: frozenset({B.COMPLETED, B.EXPIRED, B.FAILED}),
        B.CANCELLING: frozenset({B.CANCELLED}),
        B.COMPLETED: frozenset(),
        B.FAILED: frozenset(),
        B.CANCELLED: frozenset(),
        B.EXPIRED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str = Field(default=BatchState.VALIDATING, index=True)
    endpoint: str
    window: str = ""  # as the client wrote it, for example 24h
    details: dict[str, str] = Field(default_factory=dict, sa_type=sa.JSON)  # what a client calls metadata
    api_key: str = ""
    input_file: str = Field(default="", index=True)
    output_file: str = ""
    error_file: str = ""
    source_version: str = Field(default="", index=True)
    model: str = ""
    system: str = ""
    max_tokens: int = 0
    temperature: float | None = None
    result_dataset: str = ""
    result_version: str = ""
    model_versions: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    total_count: int = 0
    completed_count: int = 0
    failed_count: int = 0
    errors: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)  # as the proto `LineError` has them
    failure_reason: str = ""
    failure_message: str = ""
    start_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    finalize_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    cancel_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    expire_time: datetime = Field(sa_type=DateTime(timezone=True))
