"""Tables of the schema `feedback`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Numbered, Resource
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("feedback")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class FeedbackState(StrEnum):
    PENDING = "PENDING"
    SUBMITTED = "SUBMITTED"
    IN_REVIEW = "IN_REVIEW"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    FORGOTTEN = "FORGOTTEN"


class Feedback(Table, Resource, Numbered, Leased, table=True):
    """What somebody said about one answer. Texts live here alone, never in an event."""

    State: ClassVar[type[FeedbackState]] = FeedbackState
    TRANSITIONS: ClassVar[Mapping[FeedbackState, frozenset[FeedbackState]]] = {
        FeedbackState.PENDING: frozenset({FeedbackState.SUBMITTED, FeedbackState.EXPIRED, FeedbackState.FORGOTTEN}),
        FeedbackState.SUBMITTED: frozenset({FeedbackState.IN_REVIEW, FeedbackState.FORGOTTEN}),
        FeedbackState.IN_REVIEW: frozenset(
            {FeedbackState.APPROVED, FeedbackState.REJECTED, FeedbackState.SUBMITTED, FeedbackState.FORGOTTEN}
        ),
        FeedbackState.APPROVED: frozenset({FeedbackState.SUBMITTED, FeedbackState.FORGOTTEN}),
        FeedbackState.REJECTED: frozenset({FeedbackState.SUBMITTED, FeedbackState.FORGOTTEN}),
        FeedbackState.EXPIRED: frozenset({FeedbackState.FORGOTTEN}),
        FeedbackState.FORGOTTEN: frozenset(),
    }
    __table_args__ = (
        sa.UniqueConstraint("project", "number"),
        sa.UniqueConstraint("project", "request_id"),
        sa.CheckConstraint("rating IN ('THUMBS_UP', 'THUMBS_DOWN', 'NONE')"),
    )

    state: str = Field(index=True)
    completion: str = Field(index=True)
    rating: str
    submitter: str = ""
    correction: str = ""
    comment: str = ""
    slice: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    answer: str = ""
    deployment: str = ""
    model_version: str = ""
    variant: str = ""
    reviewer: str = ""
    claim_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    decide_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    reject_reason: str = ""
    edited: bool = False
    batch: str = Field(default="", index=True)
    completion_deleted: bool = False


class BatchState(StrEnum):
    BUILDING = "BUILDING"
    READY = "READY"
    FAILED = "FAILED"


class Batch(Table, Resource, Numbered, Leased, table=True):
    """Approved feedback on its way into two dataset versions."""

    State: ClassVar[type[BatchState]] = BatchState
    TRANSITIONS: ClassVar[Mapping[BatchState, frozenset[BatchState]]] = {
        BatchState.BUILDING: frozenset({BatchState.READY, BatchState.FAILED}),
        BatchState.READY: frozenset(),
        BatchState.FAILED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(index=True)
    dataset: str
    count: int = 0
    sft_count: int = 0
    preference_count: int = 0
    sft_version: str = ""
    preference_version: str = ""
    rows_uri: str = ""
    rows_digest: str = ""
    failure_reason: str = ""
    failure_message: str = ""
