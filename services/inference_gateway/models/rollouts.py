"""How the split of a deployment changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field

from services.inference_gateway.models.base import Table


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
