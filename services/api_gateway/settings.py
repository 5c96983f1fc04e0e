"""Settings that only this service has."""

from __future__ import annotations

from pathlib import Path

from gyre_kit.settings import KitSettings
from pydantic import Field

CONSOLE_BUILD = Path(__file__).resolve().parents[1] / "console" / "dist"


class Settings(KitSettings):
    console_folder: Path = Field(CONSOLE_BUILD, description="The built console.")
    session_hours: int = Field(12, ge=1, le=720, description="How long a sign-in to the console lasts.")
    secure_cookies: bool = Field(False, description="Set where the console is served over https.")
