"""What a run is watched for, as its recipe or its maker chose. The trainer has the defaults and does the watching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from gyre.training_scheduler.v1 import run_pb2
from gyre_trainers.settings import bad_setting
from gyre_trainers.spec import Health
from pydantic import ValidationError


def check(given: run_pb2.Health) -> None:
    """Raises: BadSetting for a limit that is out of its range."""
    try:
        Health.model_validate(_chosen(given))
    except ValidationError as error:
        raise bad_setting(error, Health) from error


def rules(stored: Mapping[str, Any]) -> dict[str, Any]:
    """As the trainer's spec.json wants them: what was chosen, actions by their short names."""
    return _chosen(json_format.ParseDict(dict(stored), run_pb2.Health()))


def _chosen(health: run_pb2.Health) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in health.ListFields():
        action = field.enum_type
        found[field.name] = action.values_by_number[value].name.removeprefix("ACTION_") if action else value
    return found
