"""Prompts that leave own hardware: how many of each project went to which rented engine, or external guardrail hook, since
this worker began."""

from __future__ import annotations

from collections import Counter

from prometheus_client import Counter as Metric

from services.inference_gateway.proxy.snapshot import Target

Place = tuple[str, str, str]  # project, host of the engine or hook, region


class SentOut:
    """One worker's count; it is told with the worker's status."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._counts: Counter[Place] = Counter()

    def count(self, project: str, target: Target) -> None:
        self.count_at((project, target.sent_to, target.region))

    def count_at(self, place: Place) -> None:
        self._counts[place] += 1
        self._metric.labels(*place).inc()

    def as_json(self) -> list[list[str | int]]:
        return [[*place, count] for place, count in self._counts.items()]


def from_json(given: list[tuple[str, str, str, int]]) -> Counter[Place]:
    return Counter({(project, upstream, region): count for project, upstream, region, count in given})
