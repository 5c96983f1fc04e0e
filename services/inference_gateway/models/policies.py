"""What a project wants done to its traffic, and its prompts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from gyre_kit.resources import Resource
from sqlalchemy import DateTime
from sqlmodel import Field

from services.inference_gateway.models.base import Table


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
