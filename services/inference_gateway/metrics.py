"""Gauges of the control plane. What the data plane counts is in proxy/metrics.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from services.inference_gateway.models import Replica, ReplicaState


class Gauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._replicas = Gauge(
            "gyre_replicas", "Replicas of deployments that are not stopped, by state.", ["state"], registry=registry
        )

    def show(self, replicas: Iterable[Replica]) -> None:
        counts = Counter(replica.state for replica in replicas)
        for state in ReplicaState:
            if state is not ReplicaState.STOPPED:
                self._replicas.labels(state=state.value).set(counts[state])
