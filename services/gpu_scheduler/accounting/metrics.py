"""What Prometheus is told of queues and capacity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.gpu_scheduler.accounting.capacity import Fragmentation

ACCOUNTING = "accounting_gauges"  # the key in Context.state
WAIT_BUCKETS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 72 * 3600)  # seconds


@dataclass(frozen=True)
class FlavorNow:
    """Of all nodes of one flavor that take or finish work: what there is, what is held, what that costs an hour."""

    flavor: str
    cores: float = 0.0
    cores_held: float = 0.0
    cards: float = 0.0
    cards_held: float = 0.0
    usd_per_hour: float = 0.0


class Gauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        def by_flavor(name: str, help: str) -> Gauge:
            return Gauge(name, help, ["flavor"], registry=registry)

        def by_queue(name: str, help: str) -> Gauge:
            return Gauge(name, help, ["queue"], registry=registry)

        self._of_flavor = {
            "cores": by_flavor("gyre_capacity_cores", "Cores of nodes that are there."),
            "cores_held": by_flavor("gyre_held_cores", "Cores that workloads hold."),
            "cards": by_flavor("gyre_capacity_cards", "Cards that are present."),
            "cards_held": by_flavor("gyre_held_cards", "Cards that workloads hold."),
            "usd_per_hour": by_flavor("gyre_held_usd_per_hour", "What is held now costs so many US dollars an hour."),
        }
        self._fragmentation = Gauge(
            "gyre_card_fragmentation_ratio", "Free cards that the smallest waiting gang cannot use.", registry=registry
        )
        self._free = Gauge("gyre_free_cards", "Free cards on nodes that take work.", registry=registry)
        self._waiting = by_queue("gyre_queue_waiting_workloads", "Workloads that wait.")
        self._head = by_queue("gyre_queue_head_wait_seconds", "How long the first of an active queue has waited.")
        self._wait = Histogram(
            "gyre_workload_wait_seconds", "From queueing to the first admission.", ["queue"], registry=registry,
            buckets=WAIT_BUCKETS,
        )  # fmt: skip
        self._preemptions = Counter("gyre_preemptions", "Attempts that had to give way.", ["queue"], registry=registry)
        self._seen: set[str] = set()

    def show_capacity(self, flavors: Iterable[FlavorNow], fragmentation: Fragmentation) -> None:
        for gauge in self._of_flavor.values():
            gauge.clear()
        for flavor in flavors:
            for name, gauge in self._of_flavor.items():
                gauge.labels(flavor=flavor.flavor).set(getattr(flavor, name))
        self._fragmentation.set(fragmentation.ratio)
        self._free.set(fragmentation.free_cards)

    def show_queues(self, heads: Sequence[tuple[str, bool, int, datetime]], now: datetime) -> None:
        """A held queue's first waits because somebody wants it to: it does not starve."""
        self._waiting.clear()
        self._head.clear()
        for queue, held, count, since in heads:
            self._waiting.labels(queue=queue).set(count)
            if not held:
                self._head.labels(queue=queue).set(max(0.0, (now - since).total_seconds()))

    def count(self, waits: Sequence[tuple[str, str, float]], preemptions: Mapping[str, Sequence[str]]) -> None:
        """Counts what it has not counted yet; both are told again while they are recent."""
        told = {f"wait {name}" for name, _, _ in waits}
        told |= {f"preempted {name}" for names in preemptions.values() for name in names}
        for name, queue, seconds in waits:
            if f"wait {name}" not in self._seen:
                self._wait.labels(queue=queue).observe(seconds)
        for queue, names in preemptions.items():
            self._preemptions.labels(queue=queue).inc(sum(f"preempted {name}" not in self._seen for name in names))
        self._seen = told
