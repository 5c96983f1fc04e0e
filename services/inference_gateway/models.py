"""Tables of the schema `inference_gateway`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field, SQLModel

TABLES = tables("inference_gateway")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class DeploymentState(StrEnum):
    PENDING = "PENDING"
    READY = "READY"
    DEGRADED = "DEGRADED"
    FAILED = "FAILED"
    DELETED = "DELETED"


D = DeploymentState


class Deployment(Table, Resource, Leased, table=True):
    """A name under which models are served. `rollout` names the change of its split that is on the way, if any."""

    State: ClassVar[type[DeploymentState]] = DeploymentState
    TRANSITIONS: ClassVar[Mapping[DeploymentState, frozenset[DeploymentState]]] = {
        D.PENDING: frozenset({D.READY, D.DEGRADED, D.FAILED, D.DELETED}),
        D.READY: frozenset({D.DEGRADED, D.FAILED, D.PENDING, D.DELETED}),
        D.DEGRADED: frozenset({D.READY, D.FAILED, D.PENDING, D.DELETED}),
        D.FAILED: frozenset({D.READY, D.DEGRADED, D.PENDING, D.DELETED}),
        D.DELETED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "request_id"),)

    state: str = Field(default=DeploymentState.PENDING, index=True)
    alias: str = Field(default="", index=True)
    alias_variant: str = ""
    alias_refused: str = ""  # what was rolled back; not followed again before the alias moves
    queue: str = ""
    rollout: str = ""
    failure_reason: str = ""
    failure_message: str = ""


class TargetState(StrEnum):
    PENDING = "PENDING"
    STARTING = "STARTING"
    READY = "READY"
    STANDBY = "STANDBY"
    DRAINING = "DRAINING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


T = TargetState


class Target(Table, Resource, table=True):
    """One engine behind a deployment. Its name is `{deployment}/targets/{id}`."""

    State: ClassVar[type[TargetState]] = TargetState
    TRANSITIONS: ClassVar[Mapping[TargetState, frozenset[TargetState]]] = {
        T.PENDING: frozenset({T.STARTING, T.READY, T.FAILED, T.DRAINING}),
        T.STARTING: frozenset({T.PENDING, T.READY, T.FAILED, T.DRAINING}),
        T.READY: frozenset({T.PENDING, T.STARTING, T.STANDBY, T.FAILED, T.DRAINING}),
        T.STANDBY: frozenset({T.READY, T.STARTING, T.DRAINING}),
        T.FAILED: frozenset({T.DRAINING, T.READY, T.STARTING}),
        T.DRAINING: frozenset({T.STOPPED}),
        T.STOPPED: frozenset(),
    }

    state: str = Field(default=TargetState.PENDING, index=True)
    id: str = Field(index=True)
    deployment: str = Field(index=True)
    engine: str
    model_version: str = ""
    variant: str = ""
    variant_uri: str = ""
    variant_digest: str = ""
    weight_percent: int = 0
    workload: str = ""
    address: str = ""
    upstream_url: str = ""
    upstream_model: str = ""
    upstream_key_ref: str = ""
    liked: int = 0
    disliked: int = 0
    input_price_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    output_price_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    places: int = 0
    failure_reason: str = ""
    failure_message: str = ""
    ready_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    standby_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    drain_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class RolloutState(StrEnum):
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


R = RolloutState


class Rollout(Table, Resource, table=True):
    """One change of a deployment's split. Its name is `{deployment}/rollouts/{number}`; shares are dicts as the proto
    `Share` has them.
    """

    State: ClassVar[type[RolloutState]] = RolloutState
    TRANSITIONS: ClassVar[Mapping[RolloutState, frozenset[RolloutState]]] = {
        R.RUNNING: frozenset({R.SUCCEEDED, R.FAILED, R.ROLLED_BACK}),
        R.SUCCEEDED: frozenset({R.ROLLED_BACK}),
        R.FAILED: frozenset(),
        R.ROLLED_BACK: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("deployment", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(default=RolloutState.RUNNING, index=True)
    deployment: str = Field(index=True)
    number: int
    before: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    after: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    steps: list[int] = Field(default_factory=list, sa_type=sa.JSON)
    step_seconds: float = 0.0
    step_times: list[str] = Field(default_factory=list, sa_type=sa.JSON)  # when each came into force, ISO 8601
    guard: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    evidence: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    reverts: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The steps that came into force, as the proto `RolloutStep` has them."""
        times = map(datetime.fromisoformat, self.step_times)
        return [{"percent": percent, "time": time} for percent, time in zip(self.steps, times, strict=False)]


class Completion(Table, Resource, table=True):
    """What was asked and answered, kept because the project consented. Texts live here alone."""

    deployment: str = Field(index=True)
    target: str = ""
    model_version: str = Field(default="", index=True)
    variant: str = ""
    messages: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    parameters_json: str = "{}"
    answer: str = ""
    finish_reason: str = ""
    usage: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    time_to_first_token_ms: float = 0.0
    duration_ms: float = 0.0
    api_key: str = ""
    streamed: bool = False


class Usage(Table, table=True):
    """What one key used of one target in one hour. Money is in picodollars: nothing is rounded before it is summed."""

    hour: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))
    project: str = Field(primary_key=True)
    api_key: str = Field(primary_key=True)
    deployment: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    model_version: str = ""
    upstream_model: str = ""
    request_count: int = Field(default=0, sa_type=sa.BigInteger)
    prompt_tokens: int = Field(default=0, sa_type=sa.BigInteger)
    completion_tokens: int = Field(default=0, sa_type=sa.BigInteger)
    cost_picousd: Decimal = Field(default=Decimal(), sa_type=sa.Numeric)


class UsageSegment(Table, table=True):
    """A segment of usage that was stored: one that comes again is passed over."""

    id: str = Field(primary_key=True)
    store_time: datetime = Field(index=True, sa_type=DateTime(timezone=True))


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
