"""Models compared on live traffic: shadows and experiments."""

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


class ShadowPair(Table, Resource, table=True):
    """One request that a live target and a shadow answered, in figures; texts are in completions, if anywhere. Its name
    is `{deployment}/shadows/{target}/pairs/{id of the live completion}`.
    """

    __table_args__ = (sa.Index("ix_inference_gateway_shadowpair_project_time", "project", "create_time"),)

    shadow: str = Field(index=True)  # `{deployment}/shadows/{target}`
    completion: str = Field(default="", index=True)
    shadow_completion: str = Field(default="", index=True)
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
