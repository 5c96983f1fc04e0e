"""What the demo has made so far: each step adds to it, the report reads it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gyre.dataset.v1.version_pb2 import Row
from gyre.evaluation.v1.evaluation_pb2 import Evaluation
from gyre.training_scheduler.v1.pipeline_pb2 import Pipeline

from gyre_sdk.client import Gyre
from gyre_sdk.demo.plan import Plan
from gyre_sdk.demo.show import Show


@dataclass
class Asked:
    """One answer that the application got, and the row behind the question."""

    completion: str
    row: Row
    answer: str


@dataclass
class Story:
    plan: Plan
    show: Show
    gyre: Gyre  # as the engineer
    application: Gyre  # as the application: it asks and says what it thinks
    reviewer: Gyre  # as the domain expert
    project: str
    taught: str = ""  # data set version of lap 1
    suites: list[str] = field(default_factory=list)
    reported_suites: list[str] = field(default_factory=list)  # the gate does not look at them
    to_ask: list[Row] = field(default_factory=list)
    base_version: str = ""
    base_variants: dict[str, str] = field(default_factory=dict)
    lap1_version: str = ""
    lap1_variants: dict[str, str] = field(default_factory=dict)
    evaluations: dict[str, list[Evaluation]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    batch: str = ""
    last_approval: float = 0.0  # Unix seconds
    lap2: Pipeline | None = None
    improved_after: float | None = None  # seconds from the last approval
    improved_completion: str = ""

    @property
    def deployment(self) -> str:
        return self.plan.slug
