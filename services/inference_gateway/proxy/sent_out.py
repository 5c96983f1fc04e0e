"""Prompts that leave own hardware: how many of each project went to which rented engine, or external guardrail hook, since
this worker began."""

from __future__ import annotations

from prometheus_client import Counter as Metric

from services.inference_gateway.proxy.occurrences import Occurrences, Place
from services.inference_gateway.proxy.snapshot import Target


class SentOut(Occurrences):
    """By project, host of the engine and region."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric

    def count_prompt(self, project: str, target: Target) -> None:
        self.count_at((project, target.sent_to, target.region))

    def count_at(self, place: Place) -> None:
        self.count(*place)
        self._metric.labels(*place).inc()
