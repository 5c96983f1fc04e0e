"""What the control plane shows of deployments, roll-outs, experiments, batches, adapters, routes, budgets and money.
Workers count the rest (`proxy/metrics.py`).
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gyre.inference_gateway.v1.spending_pb2 import ProjectSpending
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.inference_gateway.models.comparing import ExperimentState
from services.inference_gateway.models.deployments import Replica, ReplicaState
from services.inference_gateway.models.rollouts import RolloutState
from services.inference_gateway.proxy.allowance import PICO_IN_MICRO
from services.inference_gateway.proxy.snapshot import Snapshot, TargetState
from services.inference_gateway.proxy.usage import UsageLine

MICRO_IN_USD = 1_000_000
CAN_BE_ASKED = (TargetState.READY, TargetState.ASLEEP)  # one that sleeps wakes for whoever asks


class Gauges:
    """One a control plane."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._published = Gauge(
            "gyre_gateway_published_snapshot_revision", "The newest snapshot there is for workers.", registry=registry
        )
        self._ready = Gauge(
            "gyre_gateway_ready_targets",
            "Targets of a deployment that can be asked.",
            ["project", "deployment"],
            registry=registry,
        )
        self._asleep = Gauge(
            "gyre_gateway_sleeping_targets",
            "Targets of a deployment that sleep until somebody asks.",
            ["project", "deployment"],
            registry=registry,
        )
        self._rollouts = Gauge(
            "gyre_gateway_rollouts",
            "Changes of a split that there were, by how they stand.",
            ["state"],
            registry=registry,
        )
        self._budget = Gauge(
            "gyre_gateway_budget_used_ratio",
            "Used of a budget in its present period, of money or of tokens, whichever is more; 1 is all of it.",
            ["project", "key"],
            registry=registry,
        )
        self._replicas = Gauge(
            "gyre_replicas", "Replicas of deployments that are not stopped, by state.", ["state"], registry=registry
        )
        self._experiments = Gauge(
            "gyre_gateway_experiments", "Experiments that there were, by how they stand.", ["state"], registry=registry
        )
        self._batch_lines = Gauge(
            "gyre_gateway_batch_lines",
            "Lines of batches that are not over: answered, failed or waiting.",
            ["state"],
            registry=registry,
        )
        self._adapters = Counter(
            "gyre_gateway_adapters",
            "Adapters that engines were told to load, and to let go because others were used later.",
            ["event"],
            registry=registry,
        )
        self._cost = Counter(
            "gyre_gateway_cost_usd",
            "Money, by the prices of the targets that answered, as it comes to the books.",
            ["project", "gen_ai_request_model"],
            registry=registry,
        )

    def show_routes(self, snapshot: Snapshot) -> None:
        self._published.set(snapshot.revision)
        self._ready.clear()
        self._asleep.clear()
        for each in snapshot.deployments.values():
            ready = sum(target.state in CAN_BE_ASKED for target in each.targets)
            self._ready.labels(each.project, each.name).set(ready)
            asleep = sum(target.state is TargetState.ASLEEP for target in each.targets)
            self._asleep.labels(each.project, each.name).set(asleep)

    def show_replicas(self, replicas: Iterable[Replica]) -> None:
        counts = Count(replica.state for replica in replicas)
        for state in ReplicaState:
            if state is not ReplicaState.STOPPED:
                self._replicas.labels(state=state.value).set(counts[state])

    def show_rollouts(self, counts: Mapping[str, int]) -> None:
        for state in RolloutState:
            self._rollouts.labels(state.value).set(counts.get(state.value, 0))

    def show_experiments(self, counts: Mapping[str, int]) -> None:
        for state in ExperimentState:
            self._experiments.labels(state.value).set(counts.get(state.value, 0))

    def show_batch_lines(self, total: int, answered: int, failed: int) -> None:
        lines = {"answered": answered, "failed": failed, "waiting": total - answered - failed}
        for state, count in lines.items():
            self._batch_lines.labels(state).set(count)

    def count_adapter(self, event: str) -> None:
        """`event`: loaded or evicted."""
        self._adapters.labels(event).inc()

    def show_budgets(self, spendings: Iterable[ProjectSpending]) -> None:
        """Of those that have a budget. `key` is empty for all keys of the project together."""
        self._budget.clear()
        for each in spendings:
            project = each.project.name.rsplit("/", 1)[-1]
            for spending in (each.project, *each.keys):
                if (share := used_share(spending)) is not None:
                    key = spending.name.rsplit("/", 1)[-1] if "/keys/" in spending.name else ""
                    self._budget.labels(project, key).set(share)

    def count_cost(self, lines: Sequence[UsageLine]) -> None:
        for line in lines:
            if line.cost_picousd:
                model = line.deployment.rsplit("/", 1)[-1]
                self._cost.labels(line.project, model).inc(line.cost_picousd / PICO_IN_MICRO / MICRO_IN_USD)


def used_share(spending: Any) -> float | None:
    """Of the budget that is nearer to its end; None without one."""
    pairs = (spending.cost_microusd, spending.budget_microusd), (spending.tokens, spending.budget_tokens)
    return max((used / budget for used, budget in pairs if budget), default=None)
