"""What a run is watched for, as its recipe or its maker chose. The trainer has the defaults and does the watching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import json_format
from gyre.training_scheduler.v1 import run_pb2

# Limit: above what, and up to what (gyre_trainers/spec.py).
BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "spike_deviations": (0, 1e6),
    "divergence_ratio": (1, 1e6),
    "largest_kl": (0, 1e6),
    "smallest_entropy_ratio": (0, 1),
    "largest_length_ratio": (1, 1e6),
}


def fault(given: run_pb2.Health) -> tuple[str, float, str] | None:
    """Field, value and what is wrong with it."""
    for field, value in given.ListFields():
        if field.name in BOUNDS:
            lowest, highest = BOUNDS[field.name]
            if not lowest < value < highest:
                return field.name, value, f"must be above {lowest:g} and below {highest:g}"
    return None


def rules(stored: Mapping[str, Any]) -> dict[str, Any]:
    """As the trainer's spec.json wants them: what was chosen, actions by their short names."""
    health = json_format.ParseDict(dict(stored), run_pb2.Health())
    found: dict[str, Any] = {}
    for field, value in health.ListFields():
        action = field.enum_type
        found[field.name] = action.values_by_number[value].name.removeprefix("ACTION_") if action else value
    return found
