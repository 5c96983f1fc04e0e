"""Settings of the control plane. Those of the data plane are in proxy/settings.py."""

from __future__ import annotations

from gyre_kit.settings import VllmSettings
from pydantic import Field

GIB = 1024**3


class Settings(VllmSettings):
    upstream_url: str = Field("", description="An OpenAI-compatible engine that already runs, with its /v1.")
    upstream_region: str = Field("", description="Where it computes, if it is rented, for example eu.")
    upstream_model: str = Field("", description="The model's name at that engine. Empty: the first that it lists.")
    upstream_deployment: str = Field("", description="Name under which it is served. Empty: its model's name.")
    upstream_key_ref: str = Field("", description="Variable with its key: GYRE_UPSTREAM_KEY…")
    replica_cpu_milli: int = Field(250, ge=50, description="CPU that one replica asks for, milli-cores.")
    replica_memory_bytes: int = Field(900_000_000, gt=0, description="Memory that one replica asks for.")
    replica_parallel: int = Field(4, ge=1, le=256, description="Requests that a replica computes at once.")
    replica_context_size: int = Field(2048, ge=64, description="Tokens of one request with its answer.")
    replica_threads: int = Field(1, ge=1, description="Threads with which a replica computes.")
    replica_adapters: int = Field(8, ge=1, le=64, description="Adapters that one vLLM replica holds in memory at once.")
    replica_input_price_microusd: int = Field(
        0,
        ge=0,
        le=10**9,
        description="What a million tokens of prompts cost on an own replica, millionths of a dollar.",
    )
    replica_output_price_microusd: int = Field(
        0,
        ge=0,
        le=10**9,
        description="What a million tokens of answers cost on an own replica, millionths of a dollar.",
    )
    warm_up_seconds: float = Field(
        12.0, ge=0, description="How long a start waits for the replicas that served before to answer again."
    )
    standby_seconds: float = Field(
        1800.0, ge=0, description="How long a target that was replaced stays warm, so that a roll-back takes no time."
    )
    session_hold_seconds: float = Field(
        14_400.0, ge=0, description="How long sessions that go on keep a target that was replaced, at most."
    )
    files_max_bytes: int = Field(10 * GIB, gt=0, description="What the files of one project may take together.")
    batch_max_requests: int = Field(50_000, ge=1, description="Requests of one batch.")
    batch_concurrency: int = Field(8, ge=1, le=256, description="Requests that one batch has running at once.")
    drain_seconds: float = Field(60.0, ge=0, description="How long a target that was left out may finish answers.")
