"""What was asked and answered, and the steps of applications around it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field

from services.inference_gateway.models.base import Table


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
        sa.Index("ix_inference_gateway_completion_shadow_of", "shadow_of", postgresql_where=sa.text("shadow_of <> ''")),
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
