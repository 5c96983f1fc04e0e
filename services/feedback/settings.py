"""Settings that only this service has."""

from __future__ import annotations

from gyre_kit.settings import KitSettings
from pydantic import Field


class Settings(KitSettings):
    pending_minutes: int = Field(
        60, ge=1, description="How long feedback waits for a completion that is not known yet."
    )
