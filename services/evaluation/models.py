"""Tables of the schema `evaluation`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Numbered, Resource
from sqlalchemy import BigInteger, DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("evaluation")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class SuiteState(StrEnum):
    ACTIVE = "ACTIVE"
    DELETED = "DELETED"


class Suite(Table, Resource, table=True):
    """What is asked and how it is scored. Fixed once made, or old scores would mean something else."""

    State: ClassVar[type[SuiteState]] = SuiteState
    TRANSITIONS: ClassVar[Mapping[SuiteState, frozenset[SuiteState]]] = {
        SuiteState.ACTIVE: frozenset({SuiteState.DELETED}),
        SuiteState.DELETED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str = Field(default=SuiteState.ACTIVE, index=True)
    dataset_version: str
    split: str = "TEST"
    slices: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    scorer: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    max_tokens: int = 128
    max_rows: int = 0


class EvaluationState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


S = EvaluationState


class Evaluation(Table, Resource, Numbered, Leased, table=True):
    """One variant measured on one suite."""

    State: ClassVar[type[EvaluationState]] = EvaluationState
    TRANSITIONS: ClassVar[Mapping[EvaluationState, frozenset[EvaluationState]]] = {
        S.QUEUED: frozenset({S.RUNNING, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
        S.RUNNING: frozenset({S.QUEUED, S.CANCELLING, S.SUCCEEDED, S.FAILED}),
        S.CANCELLING: frozenset({S.CANCELLED, S.SUCCEEDED, S.FAILED}),
        S.SUCCEEDED: frozenset(),
        S.FAILED: frozenset(),
        S.CANCELLED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(index=True)
    variant: str = Field(index=True)
    suite: str = Field(index=True)
    queue: str = ""
    priority: int = 0
    pipeline: str = ""
    spec: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    workload: str = ""
    waiting_reason: str = ""
    scores: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    results_uri: str = ""
    results_digest: str = ""
    row_count: int = 0
    latency_p50_ms: float = 0.0
    latency_p95_ms: float = 0.0
    tokens_per_second: float = 0.0
    cost_microusd: int = Field(default=0, sa_type=BigInteger)
    cost: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    failure_reason: str = ""
    failure_message: str = ""
    start_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Comparison(Table, Resource, Numbered, Leased, table=True):
    """The quantisations of one version, or several models (then `version` is empty), measured on one suite.
    `candidates` are as the proto has them.
    """

    State: ClassVar[type[EvaluationState]] = EvaluationState
    TRANSITIONS: ClassVar[Mapping[EvaluationState, frozenset[EvaluationState]]] = {
        S.QUEUED: frozenset({S.RUNNING, S.CANCELLING}),
        S.RUNNING: frozenset({S.CANCELLING, S.SUCCEEDED, S.FAILED}),
        S.CANCELLING: frozenset({S.CANCELLED}),
        S.SUCCEEDED: frozenset(),
        S.FAILED: frozenset(),
        S.CANCELLED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(default=S.QUEUED, index=True)
    version: str = Field(index=True)
    suite: str
    baseline: str
    metric: str
    margin: float
    calibration: str = ""
    queue: str = ""
    only_flavor: str = ""
    candidates: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    recommended: str = ""
    recommendation_reason: str = ""
    recommendation_message: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    start_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Verdict(Table, Resource, Numbered, table=True):
    """Whether a candidate may replace a baseline. Written once."""

    __table_args__ = (sa.UniqueConstraint("project", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(index=True)
    candidate: str = Field(index=True)
    baseline: str
    candidate_variant: str = Field(index=True)
    baseline_variant: str
    outcomes: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    seed: int = Field(default=0, sa_type=BigInteger)
    resamples: int
