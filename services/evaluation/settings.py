"""Settings that only this service has."""

from __future__ import annotations

from gyre_kit.settings import VllmSettings
from pydantic import Field


class Settings(VllmSettings):
    evaluate_cpu_milli: int = Field(500, ge=100, description="CPU that one evaluation asks for, milli-cores.")
    evaluate_memory_bytes: int = Field(1_500_000_000, gt=0, description="Memory that one evaluation asks for.")
    evaluate_parallel: int = Field(8, ge=1, le=64, description="Rows that an evaluation asks at a time.")
    pin_days: int = Field(1, ge=1, le=30, description="How long an evaluation holds on to what it measures.")
