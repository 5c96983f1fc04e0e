"""What a stage gets to see, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import json_format
from gyre.training_scheduler.v1 import pipeline_pb2
from gyre_kit.names import last

from services.training_scheduler.models import TRAINING, Pipeline, StageState

Facts = Mapping[str, str]
NOTHING: Final[Facts] = MappingProxyType({})


class Outcome(StrEnum):
    DONE = "DONE"
    WAITING = "WAITING"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    # Everything ran, and the gate said no.
    REFUSED = "REFUSED"


@dataclass(frozen=True)
class StageResult:
    """`facts` are added to the stage's `result`, which the stage finds again at its next call: its whole memory."""

    outcome: Outcome
    message: str = ""
    resource: str = ""
    facts: Facts = field(default_factory=dict)
    reason: str = ""
    again: bool = False  # look again at once


def done(message: str, *, resource: str = "", facts: Facts = NOTHING) -> StageResult:
    return StageResult(Outcome.DONE, message, resource, facts)


def waiting(message: str, *, resource: str = "", facts: Facts = NOTHING, again: bool = False) -> StageResult:
    return StageResult(Outcome.WAITING, message, resource, facts, again=again)


def skipped(message: str, *, facts: Facts = NOTHING) -> StageResult:
    return StageResult(Outcome.SKIPPED, message, facts=facts)


def failed(reason: str, message: str, *, resource: str = "", facts: Facts = NOTHING) -> StageResult:
    return StageResult(Outcome.FAILED, message, resource, facts, reason)


def refused(reason: str, message: str, *, resource: str = "", facts: Facts = NOTHING) -> StageResult:
    return StageResult(Outcome.REFUSED, message, resource, facts, reason)


class Lap:
    """A pipeline as its stages see it: what was asked for, and what the stages before have made."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.name = pipeline.name
        self.project = pipeline.project
        self.parent = f"projects/{pipeline.project}"
        self.title = pipeline.display_name  # what people call it, and so what it makes
        self.created_by = pipeline.created_by
        self.spec = spec_to_proto(pipeline.spec)
        self._stages = {stage["id"]: stage for stage in pipeline.stages}

    def request_id(self, step: str) -> str:
        """The same at every try of the same step, so that others make one thing of many calls."""
        return f"{last(self.name)}-{step}"

    def facts(self, stage: str) -> dict[str, str]:
        return dict(self._stages.get(stage, {}).get("result", {}))

    def made_by(self, *stages: str) -> str:
        """The resource of the last of these that succeeded; empty where all were skipped, or a lap of old has none."""
        entries = [self._stages[stage] for stage in reversed(stages) if stage in self._stages]
        made = (str(entry.get("resource", "")) for entry in entries if entry["state"] == StageState.SUCCEEDED)
        return next(made, "")

    def training(self, stage: str) -> pipeline_pb2.TrainingStep | None:
        """What was asked for in a stage that trains; None if it was left out."""
        return training_steps(self.spec).get(stage)

    @property
    def feedback_batch(self) -> str:
        """The batch that was named, or that was collected; empty where there is none."""
        return self.spec.feedback_batch or self.made_by("collect")

    @property
    def trained(self) -> list[str]:
        """The runs of this lap that succeeded, in their order."""
        return [run for stage in TRAINING if (run := self.made_by(stage))]

    @property
    def result(self) -> str:
        """The run that made what is registered; empty where nothing was trained. A reward model answers nobody."""
        return self.made_by("sft", "dpo", "ppo")

    @property
    def served_variant(self) -> str:
        """What is evaluated and served: the first quantisation, or the HF variant where there is none."""
        return self.facts("quantise").get("served", "")


def training_steps(spec: pipeline_pb2.PipelineSpec) -> dict[str, pipeline_pb2.TrainingStep]:
    """Those that were asked for, in the order in which they run."""
    return {name: getattr(spec, name) for name in TRAINING if spec.HasField(name)}


def spec_to_proto(values: dict[str, Any]) -> pipeline_pb2.PipelineSpec:
    return json_format.ParseDict(values, pipeline_pb2.PipelineSpec())


def spec_to_json(spec: pipeline_pb2.PipelineSpec) -> dict[str, Any]:
    values: dict[str, Any] = json_format.MessageToDict(
        spec, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return values
