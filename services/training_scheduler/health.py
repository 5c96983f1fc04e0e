"""What a run is watched for, as its recipe or its maker chose. The trainer has the defaults and does the watching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from gyre.training_scheduler.v1 import run_pb2
from gyre_trainers.methods import Method, health_rules
from gyre_trainers.settings import Action, BadSetting, Health, bad_setting
from pydantic import ValidationError


def filled(method: str, given: run_pb2.Health) -> run_pb2.Health:
    """With the defaults of the rules that watch the method. Raises: BadSetting for a limit out of its range, or a rule
    that does not watch it."""
    chosen, watching = _chosen(given), health_rules(Method(method))
    for name in chosen:
        if name not in watching:
            raise BadSetting(name, f"does not watch {method}, which has {', '.join(watching)}", chosen[name])
    try:
        rules = Health.model_validate(chosen)
    except ValidationError as error:
        raise bad_setting(error, Health) from error
    return run_pb2.Health(**{name: _as_sent(getattr(rules, name)) for name in watching})


def rules(stored: Mapping[str, Any]) -> dict[str, Any]:
    """As the trainer's spec.json wants them: actions by their short names."""
    return _chosen(json_format.ParseDict(dict(stored), run_pb2.Health()))


def _as_sent(value: Action | float) -> Any:
    return run_pb2.Alarm.Action.Value(f"ACTION_{value}") if isinstance(value, Action) else value


def _chosen(health: run_pb2.Health) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in health.ListFields():
        action = field.enum_type
        found[field.name] = action.values_by_number[value].name.removeprefix("ACTION_") if action else value
    return found
