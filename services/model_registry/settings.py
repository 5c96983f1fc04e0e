"""Settings that only this service has."""

from __future__ import annotations

from gyre_kit.settings import KitSettings
from pydantic import Field


class Settings(KitSettings):
    keep_deleted_days: int = Field(7, ge=0, description="How long the bytes of a deleted model version are kept.")
    convert_cpu_milli: int = Field(500, ge=100, description="CPU that importing or quantising asks for, milli-cores.")
    convert_memory_bytes: int = Field(3_000_000_000, gt=0, description="Memory that importing or quantising asks for.")
    llmcompressor_python: str = Field(
        "",
        description="Python of an environment that llmcompressor is installed in, the same on all nodes, for AWQ, GPTQ "
        "and FP8. Empty: that of Gyre itself.",
    )
    compress_cards: int = Field(
        1, ge=0, le=64, description="Cards that making AWQ, GPTQ or FP8 asks for; 0: on the CPU, to try it out."
    )
    compress_memory_bytes: int = Field(
        4_000_000_000, gt=0, description="Memory that making AWQ, GPTQ or FP8 asks for above twice the weights."
    )
    model_upload_hours: int = Field(
        72, ge=1, description="How long an unfinished upload of weights is kept after its last part."
    )
