"""Settings that only this service has."""

from __future__ import annotations

from gyre_kit.settings import KitSettings
from pydantic import Field


class Settings(KitSettings):
    trainer_cpu_milli: int = Field(1500, ge=100, description="Thousandths of a core that a trainer asks for.")
    follow_seconds: float = Field(2.0, gt=0, description="How often an open run's workload is looked at.")
    conduct_seconds: float = Field(1.0, gt=0, description="How often a pipeline looks at what it waits for.")
    watch_seconds: float = Field(0.4, gt=0, description="How often a watched run or pipeline is read.")
