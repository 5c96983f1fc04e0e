"""What is served: deployments, the targets behind them, and their replicas."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field

from services.inference_gateway.models.base import Table


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
    min_replicas: int = 1
    max_replicas: int = 1
    idle_seconds: float = 300.0
    schedule: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)  # as `schedule.Schedule` has it
    failure_reason: str = ""
    failure_message: str = ""
    fallbacks: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    fallback_seconds: float = 0.0  # without a first byte; 0: never for that
    experiment: str = ""  # the running one: the split stays as it is


class TargetState(StrEnum):
    PENDING = "PENDING"
    STARTING = "STARTING"
    READY = "READY"
    STANDBY = "STANDBY"
    DRAINING = "DRAINING"
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    ASLEEP = "ASLEEP"


T = TargetState


class Target(Table, Resource, table=True):
    """What serves one thing behind a deployment: `replicas` of a variant, or an engine that ran before. Its name is
    `{deployment}/targets/{id}`.
    """

    State: ClassVar[type[TargetState]] = TargetState
    TRANSITIONS: ClassVar[Mapping[TargetState, frozenset[TargetState]]] = {
        T.PENDING: frozenset({T.STARTING, T.READY, T.FAILED, T.DRAINING, T.ASLEEP}),
        T.STARTING: frozenset({T.PENDING, T.READY, T.FAILED, T.DRAINING, T.ASLEEP}),
        T.READY: frozenset({T.PENDING, T.STARTING, T.STANDBY, T.FAILED, T.DRAINING, T.ASLEEP}),
        T.STANDBY: frozenset({T.READY, T.STARTING, T.DRAINING}),
        T.FAILED: frozenset({T.DRAINING, T.READY, T.PENDING, T.STARTING}),
        T.ASLEEP: frozenset({T.PENDING, T.DRAINING}),
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
    replicas: int = 0
    upstream_url: str = ""
    upstream_model: str = ""
    upstream_key_ref: str = ""
    liked: int = 0
    disliked: int = 0
    input_price_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    output_price_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    places: int = 0
    region: str = ""
    adapters: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)  # as `targets.Adapter` has them
    shadow_percent: int = 0
    failure_reason: str = ""
    failure_message: str = ""
    ready_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    standby_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    drain_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    wake_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    cold_start_seconds: float = 0.0


class ReplicaState(StrEnum):
    PENDING = "PENDING"
    STARTING = "STARTING"
    READY = "READY"
    FAILED = "FAILED"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"


P = ReplicaState


class Replica(Table, Resource, table=True):
    """One engine that was launched for `target` (its id). Its name is `{deployment}/replicas/{id}`."""

    State: ClassVar[type[ReplicaState]] = ReplicaState
    TRANSITIONS: ClassVar[Mapping[ReplicaState, frozenset[ReplicaState]]] = {
        P.PENDING: frozenset({P.STARTING, P.READY, P.FAILED, P.DRAINING}),
        P.STARTING: frozenset({P.PENDING, P.READY, P.FAILED, P.DRAINING}),
        P.READY: frozenset({P.PENDING, P.STARTING, P.FAILED, P.DRAINING}),
        P.FAILED: frozenset({P.PENDING, P.DRAINING}),
        P.DRAINING: frozenset({P.STOPPED}),
        P.STOPPED: frozenset(),
    }

    state: str = Field(default=ReplicaState.PENDING, index=True)
    id: str = Field(index=True)
    deployment: str = Field(index=True)
    target: str = Field(index=True)
    workload: str = Field(default="", index=True)
    address: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    failures: int = 0
    ready_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    retry_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    drain_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
