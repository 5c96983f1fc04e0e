"""What was used, and what left for rented engines."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import DateTime
from sqlmodel import Field

from services.inference_gateway.models.base import Table


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


class SentOut(Table, table=True):
    """How many prompts of a project went to one rented engine."""

    project: str = Field(primary_key=True)
    upstream: str = Field(primary_key=True)
    region: str = Field(primary_key=True)
    prompt_count: int = Field(default=0, sa_type=sa.BigInteger)
    last_time: datetime = Field(sa_type=DateTime(timezone=True))
