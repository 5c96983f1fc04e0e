"""Settings that only this service has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from gyre_kit.settings import KitSettings
from pydantic import Field, field_validator, model_validator

MODULES = (
    "gyre_trainers.run",
    "gyre_trainers.trial",
    "services.dataset.work",
    "services.evaluation.work",
    "services.inference_gateway.engine",
    "services.inference_gateway.engine_vllm",
    "services.model_registry.work",
)


class Settings(KitSettings):
    workload_modules: tuple[str, ...] = Field(MODULES, description="Python modules that a workload may run.")
    scheduling_policy: Literal["fifo", "best-effort", "backfill", "fair", "las", "hetero"] = Field(
        "hetero", description="Who is first, on what, and who has to go for whom."
    )
    cycle_idle_seconds: float = Field(
        10.0,
        ge=0.1,
        description="PostgreSQL ends an admission cycle that is silent for so long (its process is stopped, its machine "
        "cut off), so that another scheduler goes on.",
    )
    node_id: str = Field("", description="Name of this machine among the nodes. Empty: its host name.")
    node_cpu_milli: int = Field(0, ge=0, description="Thousandths of a core to give away. 0: all that there are.")
    node_memory_bytes: int = Field(0, ge=0, description="Memory to give away. 0: all that there is.")
    node_lost_seconds: float = Field(60.0, gt=0, description="A node that is not heard of for so long is lost.")
    node_gone_seconds: float = Field(
        600.0, gt=0, description="A node that is not heard of for so long is gone: its work is queued again."
    )
    simulated_cards: int = Field(0, ge=0, le=64, description="Cards made up for demonstrations, labelled as such.")
    work_limits: Literal["none", "memory", "all"] = Field(
        "memory",
        description="What the kernel holds local work to, where it lets us (a delegated cgroup of version 2): its memory "
        "and its share of the cores; `all`: at no time more cores than it asked for, either.",
    )
    ray_address: str = Field("", description="Head of a Ray cluster whose nodes take work, host:port. Empty: none.")
    ray_work_folder: str = Field(
        "~/.gyre/work", description="Folder on each node of the Ray cluster in which attempts run."
    )
    ray_runtime_env: str = Field("{}", description="Ray's runtime environment for work there, as a JSON object.")
    slurm_partition: str = Field("", description="Partition of a Slurm cluster whose nodes take work. Empty: none.")
    replica_host: str = Field("", description="Host by which others reach a replica of this node. Empty: `bind`.")
    cpu_hour_microusd: int = Field(40_000, ge=0, description="Price of a core for an hour, millionths of a US dollar.")
    gpu_hour_microusd: int = Field(2_500_000, ge=0, description="Price of a card for an hour, likewise.")
    max_waiting_per_project: int = Field(
        100_000, ge=1, description="Workloads of one project that may wait; more are refused (TOO_MANY_WAITING)."
    )
    default_max_attempts: int = Field(5, ge=1, description="Attempts of a workload that names no number.")
    backoff_seconds: float = Field(1.0, gt=0, description="Wait before the second attempt; doubles with each fault.")
    backoff_max_seconds: float = Field(60.0, gt=0, description="Longest wait between two attempts.")
    replica_start_seconds: float = Field(
        300.0, gt=0, description="A replica that is not ready by then is started anew."
    )
    stop_grace_seconds: float = Field(30.0, ge=0, description="Between SIGTERM and SIGKILL: time for a checkpoint.")
    credential_seconds: int = Field(900, ge=120, description="How long a worker's token holds; renewed while it runs.")
    what_if_seconds: float = Field(60.0, gt=0, description="Longest replay of a what-if; it is ended after that.")
    what_if_memory_bytes: int = Field(1 << 30, ge=1 << 28, description="Memory that a replay of a what-if may take.")
    work_retention_days: int = Field(14, ge=1, description="How long logs of ended workloads are kept.")

    @model_validator(mode="after")
    def _is_lost_before_it_is_gone(self) -> Self:
        if self.node_gone_seconds < self.node_lost_seconds:
            raise ValueError("node_gone_seconds must not be less than node_lost_seconds")
        return self

    @field_validator("ray_runtime_env")
    @classmethod
    def _is_object(cls, given: str) -> str:
        if not isinstance(json.loads(given), dict):
            raise ValueError("GYRE_RAY_RUNTIME_ENV has to be a JSON object")
        return given

    @property
    def work_folder(self) -> Path:
        return self.resolved_home / "work"

    @property
    def replica_address(self) -> str:
        return self.replica_host or self.bind
