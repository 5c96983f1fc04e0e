"""Settings that only this service has."""

from __future__ import annotations

from gyre_kit.settings import KitSettings
from pydantic import Field


class Settings(KitSettings):
    keep_deleted_days: int = Field(7, ge=0, description="How long the bytes of a deleted model version are kept.")
    convert_cpu_milli: int = Field(500, ge=100, description="CPU that importing or quantising asks for, milli-cores.")
    convert_memory_bytes: int = Field(3_000_000_000, gt=0, description="Memory that importing or quantising asks for.")
    model_upload_hours: int = Field(
        72, ge=1, description="How long an unfinished upload of weights is kept after its last part."
    )
