"""What training held here, as tests/load/bench_planner.py measured it (docs/benchmarks/planner.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.training_scheduler.planning.architecture import TYPICAL, from_config
from services.training_scheduler.planning.settings import Job, Settings
from services.training_scheduler.recipes import default_of

FILE: Final = Path(__file__).resolve().parents[3] / "docs" / "benchmarks" / "planner.json"


@dataclass(frozen=True)
class Row:
    job: Job
    settings: Settings
    peak_bytes: int
    step_seconds: float  # of the second step; 0 where the method has a loop of its own
    held_out: bool


def rows() -> list[Row]:
    found = []
    for row in json.loads(FILE.read_text()):
        shape = (from_config(row["shape"]) if row["shape"] else None) or TYPICAL[0]  # none: SmolLM2-135M
        wanted = default_of(row["method"]).hyperparameters | row["hyperparameters"]
        job = Job(row["method"], shape, 40, wanted, shape)
        seconds = row["step_seconds"][-1] if row["step_seconds"] else 0.0
        found.append(Row(job, job.asked("cpu"), row["peak_bytes"], seconds, row["held_out"]))
    return found
