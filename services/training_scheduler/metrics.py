"""Counters of this service: alarms of runs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

COUNTERS = "counters"  # the key in Context.state


class Counters:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._alarms = Counter(
            "gyre_training_alarms",
            "Alarms of training runs, by kind and by what was done.",
            ["kind", "action"],
            registry=registry,
        )

    def alarm(self, kind: str, action: str) -> None:
        self._alarms.labels(kind=kind, action=action).inc()
