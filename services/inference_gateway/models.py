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
from gyre_kit.resources import Numbered, Resource
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
    min_replicas: int = 1
    max_replicas: int = 1
    idle_seconds: float = 300.0
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
    """What was asked and answered, kept because the project consented. Texts live here and in `Span` alone."""

    __table_args__ = (
        sa.Index("ix_inference_gateway_completion_project_time", "project", "create_time"),
        sa.Index(
            "ix_inference_gateway_completion_session", "project", "session", postgresql_where=sa.text("session <> ''")
        ),
        sa.Index(
            "ix_inference_gateway_completion_prompt", "project", "prompt", postgresql_where=sa.text("prompt <> ''")
        ),
    )

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
    shadow_of: str = ""
    session: str = ""
    trace: str = Field(default="", index=True)
    span_id: str = ""
    parent_span_id: str = ""
    tool_calls: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    error: str = ""
    cached_tokens: int = 0
    cost_microusd: float = 0.0
    rating: str = ""
    prompt: str = ""  # name of the version that was filled in
    guardrails: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    cached: bool = False


class Trace(Table, table=True):
    """Sums over the completions and spans of one trace, kept with every one that comes or goes: lists need no joins."""

    __table_args__ = (sa.Index("ix_inference_gateway_trace_project_start", "project", "start_time"),)

    name: str = Field(primary_key=True)
    project: str
    session: str = Field(default="", index=True)
    start_time: datetime = Field(sa_type=DateTime(timezone=True))
    end_time: datetime = Field(sa_type=DateTime(timezone=True))
    duration_ms: float = 0.0
    opening: str = ""
    deployment: str = ""
    model_version: str = ""
    completion_count: int = 0
    span_count: int = 0
    error_count: int = 0
    prompt_tokens: int = Field(default=0, sa_type=sa.BigInteger)
    completion_tokens: int = Field(default=0, sa_type=sa.BigInteger)
    total_tokens: int = Field(default=0, sa_type=sa.BigInteger)
    cost_microusd: float = 0.0


class Span(Table, table=True):
    """A step that the application told of by OTLP. Its name is `{trace}/spans/{span id}`."""

    __table_args__ = (sa.Index("ix_inference_gateway_span_project_start", "project", "start_time"),)

    name: str = Field(primary_key=True)
    project: str
    trace: str = Field(index=True)
    session: str = Field(default="", index=True)
    span_id: str
    parent_span_id: str = ""
    kind: str = "OTHER"
    title: str = ""
    start_time: datetime = Field(sa_type=DateTime(timezone=True))
    duration_ms: float = 0.0
    error: str = ""
    input: str = ""
    output: str = ""
    attributes_json: str = "{}"


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
    regions: list[str] = Field(default_factory=list, sa_type=sa.JSON)
    keep_personal_data: bool = False
    retention_days: int = 0


class ShadowPair(Table, Resource, table=True):
    """One request that a live target and a shadow answered, in figures; texts are in completions, if anywhere. Its name
    is `{deployment}/shadows/{target}/pairs/{id of the live completion}`.
    """

    shadow: str = Field(index=True)  # `{deployment}/shadows/{target}`
    completion: str = ""
    shadow_completion: str = ""
    agrees: bool = False
    similarity: float = 0.0
    length: int = 0  # characters
    shadow_length: int = 0
    duration_ms: float = 0.0
    shadow_duration_ms: float = 0.0
    failure_reason: str = ""


class ExperimentState(StrEnum):
    RUNNING = "RUNNING"
    DECIDED = "DECIDED"
    STOPPED = "STOPPED"


E = ExperimentState


class Experiment(Table, Resource, table=True):
    """A comparison of two targets. Its name is `{deployment}/experiments/{number}`; arms are dicts as the proto `Arm`
    has them, points as `ExperimentPoint` has them, with their time in ISO 8601.
    """

    State: ClassVar[type[ExperimentState]] = ExperimentState
    TRANSITIONS: ClassVar[Mapping[ExperimentState, frozenset[ExperimentState]]] = {
        E.RUNNING: frozenset({E.DECIDED, E.STOPPED}),
        E.DECIDED: frozenset(),
        E.STOPPED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("deployment", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(default=ExperimentState.RUNNING, index=True)
    deployment: str = Field(index=True)
    number: int
    metric: str
    a: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    b: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    min_effect: float
    error_chance: float
    bucket: int | None = None  # above it an answer is slow or long; None until that is known
    difference: float = 0.0
    low: float = 0.0
    high: float = 0.0
    winner: str = ""
    history: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)
    rollout: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class SentOut(Table, table=True):
    """How many prompts of a project went to one rented engine."""

    project: str = Field(primary_key=True)
    upstream: str = Field(primary_key=True)
    region: str = Field(primary_key=True)
    prompt_count: int = Field(default=0, sa_type=sa.BigInteger)
    last_time: datetime = Field(sa_type=DateTime(timezone=True))


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


class TrafficPolicy(Table, Resource, table=True):
    """A project's. Its name is `projects/{project}/trafficPolicy`; actions are names of the proto's enum, `hook` and
    `cache` dicts as `proxy/policy.py` has them (empty: none)."""

    prompt_data: str = "ALLOW"
    answer_data: str = "ALLOW"
    injection: str = "ALLOW"
    hook: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    cache: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)


class Finding(Table, table=True):
    """How often a guardrail found something, or the exact cache did something, in one hour."""

    project: str = Field(primary_key=True)
    hour: datetime = Field(primary_key=True, sa_type=DateTime(timezone=True))
    what: str = Field(primary_key=True)
    action: str = Field(primary_key=True)
    count: int = Field(default=0, sa_type=sa.BigInteger)
    last_time: datetime = Field(sa_type=DateTime(timezone=True))


class Prompt(Table, Resource, table=True):
    """Its name is `projects/{project}/prompts/{slug}`. `history`: moves of labels as the proto has them, newest first,
    times in ISO 8601."""

    newest_version: int = 0
    labels: dict[str, int] = Field(default_factory=dict, sa_type=sa.JSON)
    history: list[dict[str, Any]] = Field(default_factory=list, sa_type=sa.JSON)


class PromptVersion(Table, Resource, table=True):
    """Never changed. Its name is `{prompt}/versions/{number}`; `uses`: how often each variable stands in it."""

    __table_args__ = (sa.UniqueConstraint("prompt", "number"),)

    prompt: str = Field(index=True)
    number: int
    comment: str = ""
    messages: list[dict[str, str]] = Field(default_factory=list, sa_type=sa.JSON)
    parameters: dict[str, Any] = Field(default_factory=dict, sa_type=sa.JSON)
    uses: dict[str, int] = Field(default_factory=dict, sa_type=sa.JSON)
