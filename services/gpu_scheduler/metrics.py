"""Gauges of this service: queue depth, above all."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Gauge

from services.gpu_scheduler.models import ENDED, WorkloadState

ADMISSION = "admission_gauges"  # the key in Context.state


class Gauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._workloads = Gauge(
            "gyre_workloads", "Workloads that wait or hold resources, by state.", ["state"], registry=registry
        )

    def show(self, counts: Mapping[str, int]) -> None:
        """QUEUED is the depth of the queues."""
        for state in WorkloadState:
            if state not in ENDED:
                self._workloads.labels(state=state.value).set(counts.get(state.value, 0))
