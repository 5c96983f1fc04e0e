"""Settings that only this service has."""

from __future__ import annotations

from gyre_kit.settings import KitSettings
from pydantic import Field


class Settings(KitSettings):
    max_rows: int = Field(300_000, gt=0, description="Most rows of one source.")
    max_row_characters: int = Field(100_000, gt=0, description="Longest row, all of its turns together.")
    upload_hours: int = Field(24, ge=1, description="How long an upload is kept that no version uses.")
    tombstone_days: int = Field(7, ge=0, description="How long the files of a deleted version are kept.")
