"""Gauges of this service: queue depth, above all; nodes and cards by state."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.gpu_scheduler.models import ENDED, NodeState, WorkloadState

ADMISSION = "admission_gauges"  # the keys in Context.state
FLEET = "fleet_gauges"
CARD_STATES = ("FREE", "BUSY", "SICK")


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


class FleetGauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._nodes = Gauge("gyre_nodes", "Nodes by state.", ["state"], registry=registry)
        self._cards = Gauge("gyre_cards", "Cards by state: FREE, BUSY or SICK.", ["state"], registry=registry)
        self.name_conflicts = Counter(
            "gyre_node_name_conflicts", "Readings of a machine that claimed another's name.", registry=registry
        )

    def show(self, nodes: Mapping[str, int], cards: Mapping[str, int]) -> None:
        for state in NodeState:
            self._nodes.labels(state=state.value).set(nodes.get(state.value, 0))
        for name in CARD_STATES:
            self._cards.labels(state=name).set(cards.get(name, 0))
