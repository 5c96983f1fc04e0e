"""Tables of the schema `training_scheduler`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

import sqlalchemy as sa
from gyre_kit.db import tables
from gyre_kit.reconcile import Leased
from gyre_kit.resources import Numbered, Resource
from sqlalchemy import DateTime
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

TABLES = tables("training_scheduler")


class Table(SQLModel, registry=TABLES):
    metadata = TABLES.metadata


class RunState(StrEnum):
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    STOPPING = "STOPPING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


RUN_ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
RUN_GOES_ON = frozenset({RunState.QUEUED, RunState.STARTING, RunState.RUNNING})  # nobody asked it to do otherwise
RUN_HELD = frozenset({RunState.PAUSING, RunState.PAUSED})  # it shall hold no card
ASKED = frozenset({RunState.PAUSING, RunState.STOPPING, RunState.CANCELLING})


class Run(Table, Resource, Numbered, Leased, table=True):
    """One training job. `spec` is what was asked for, `inputs` what was pinned for it; neither changes."""

    State: ClassVar[type[RunState]] = RunState
    TRANSITIONS: ClassVar[Mapping[RunState, frozenset[RunState]]] = {
        RunState.QUEUED: RUN_ENDED | ASKED | {RunState.STARTING, RunState.RUNNING},
        RunState.STARTING: RUN_ENDED | ASKED | {RunState.QUEUED, RunState.RUNNING},
        # To RUNNING again: a new attempt reports before anybody saw the old one end.
        RunState.RUNNING: RUN_ENDED | ASKED | {RunState.RUNNING, RunState.QUEUED, RunState.STARTING},
        # An end: it came before the pause did.
        RunState.PAUSING: RUN_ENDED | {RunState.PAUSED, RunState.QUEUED, RunState.STOPPING, RunState.CANCELLING},
        RunState.PAUSED: RUN_ENDED | {RunState.QUEUED, RunState.STOPPING, RunState.CANCELLING},
        RunState.STOPPING: RUN_ENDED | {RunState.CANCELLING},
        # SUCCEEDED: it was done before the stop reached it.
        RunState.CANCELLING: frozenset({RunState.CANCELLED, RunState.SUCCEEDED}),
        RunState.SUCCEEDED: frozenset(),
        RunState.FAILED: frozenset(),
        RunState.CANCELLED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(index=True)
    method: str
    base: str
    pipeline: str = Field(default="", index=True)
    register_as: str = ""
    spec: dict[str, Any] = Field(sa_type=sa.JSON)  # RunSpec, every default filled in
    inputs: dict[str, Any] = Field(sa_type=sa.JSON)  # base, reward_model, data: uri and digest of each
    base_version: str = ""
    base_parameters: int = Field(default=0, sa_type=sa.BigInteger)
    estimate: dict[str, Any] = Field(sa_type=sa.JSON)
    requests: dict[str, Any] = Field(sa_type=sa.JSON)
    pins: list[str] = Field(default_factory=list, sa_type=sa.JSON)  # versions that this run still holds
    workload: str = Field(default="", index=True)
    waiting_reason: str = ""
    attempt: int = 0  # the highest seen: the fence
    started_attempt: int = 0  # the latest that reported
    completed_attempt: int = 0
    completed_digest: str = ""
    resumed_from_step: int = 0
    step: int = 0
    total_steps: int = 0
    pace_step: int = 0  # step and time from which the speed of this attempt is measured
    pace_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    heartbeat_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    loss: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict, sa_type=sa.JSON)
    output_uri: str = ""
    output_digest: str = ""
    content_digest: str = ""  # of the output's paths and contents alone
    model_version: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    start_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    cost_microusd: int = Field(default=0, sa_type=sa.BigInteger)
    held_seconds: float = 0.0  # for which that was paid
    flavor: str = ""  # to which its workload was admitted
    forked_from: str = ""  # the checkpoint whose weights it began with
    stopped_early: bool = False
    held: bool = False  # its workload is held, by us
    stopped_by: str = ""  # kind of the alarm that ended its trainer

    @property
    def ended(self) -> bool:
        return self.state in RUN_ENDED


class MetricPoint(Table, table=True):
    """Values at one step. A later attempt that repeats the step replaces them."""

    __tablename__ = "metric_point"

    run: str = Field(primary_key=True)
    step: int = Field(primary_key=True)
    project: str = Field(index=True)
    attempt: int
    time: datetime = Field(sa_type=DateTime(timezone=True))
    metrics: dict[str, float] = Field(sa_type=JSONB)


class Checkpoint(Table, table=True):
    """A state from which a run can go on; named by its step, so a later attempt's replaces an earlier one's."""

    name: str = Field(primary_key=True)
    run: str = Field(index=True)
    project: str = Field(index=True)
    step: int
    attempt: int
    uri: str
    digest: str
    size_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    create_time: datetime = Field(sa_type=DateTime(timezone=True))


class Alarm(Table, table=True):
    """What was wrong with a run at a step, and what was done about it."""

    name: str = Field(primary_key=True)
    run: str = Field(index=True)
    project: str = Field(index=True)
    kind: str
    action: str
    step: int
    attempt: int
    values: dict[str, float] = Field(sa_type=JSONB)
    detail: str = ""
    create_time: datetime = Field(sa_type=DateTime(timezone=True))


class Sample(Table, table=True):
    """What the model answered to a prompt at a step. Texts live here alone, never in an event."""

    __tablename__ = "run_sample"

    name: str = Field(primary_key=True)
    run: str = Field(index=True)
    project: str = Field(index=True)
    step: int
    number: int
    prompt: str
    expected: str
    answer: str


class PipelineState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    REFUSED = "REFUSED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


PIPELINE_ENDED = frozenset(
    {PipelineState.SUCCEEDED, PipelineState.REFUSED, PipelineState.FAILED, PipelineState.CANCELLED}
)


# In the order in which they run; the folder `stages` has a function for each.
TRAINING: Final = ("sft", "dpo", "reward", "ppo")
STAGES: Final = ("collect", "data", *TRAINING, "register", "quantise", "evaluate", "gate", "promote", "shift")


class StageState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"


class Pipeline(Table, Resource, Numbered, Leased, table=True):
    """One lap of the loop. `stages` holds what each stage did, as the proto's Stage in JSON."""

    State: ClassVar[type[PipelineState]] = PipelineState
    TRANSITIONS: ClassVar[Mapping[PipelineState, frozenset[PipelineState]]] = {
        PipelineState.QUEUED: frozenset({PipelineState.RUNNING, PipelineState.CANCELLING}),
        PipelineState.RUNNING: frozenset(
            {PipelineState.SUCCEEDED, PipelineState.REFUSED, PipelineState.FAILED, PipelineState.CANCELLING}
        ),
        PipelineState.CANCELLING: frozenset({PipelineState.CANCELLED}),
        PipelineState.SUCCEEDED: frozenset(),
        PipelineState.REFUSED: frozenset(),
        PipelineState.FAILED: frozenset(),
        PipelineState.CANCELLED: frozenset(),
    }
    __table_args__ = (sa.UniqueConstraint("project", "number"), sa.UniqueConstraint("project", "request_id"))

    state: str = Field(index=True)
    base: str
    feedback_batch: str = ""
    spec: dict[str, Any] = Field(sa_type=sa.JSON)  # PipelineSpec as asked for
    stages: list[dict[str, Any]] = Field(sa_type=sa.JSON)
    model_version: str = ""
    verdict: str = ""
    failure_reason: str = ""
    failure_message: str = ""
    start_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    end_time: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    cost_microusd: int = Field(default=0, sa_type=sa.BigInteger)

    @property
    def ended(self) -> bool:
        return self.state in PIPELINE_ENDED
