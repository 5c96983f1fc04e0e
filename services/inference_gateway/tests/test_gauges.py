"""What the control plane shows of deployments, roll-outs, budgets and money."""

from __future__ import annotations

from typing import Any

import pytest
from gyre.inference_gateway.v1.spending_pb2 import ProjectSpending, Spending
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT
from prometheus_client import CollectorRegistry

from services.inference_gateway.batches import store as batch_store
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.gauges import Gauges
from services.inference_gateway.models.batches import BatchState, InferenceBatch
from services.inference_gateway.proxy.snapshot import Deployment, Target, TargetState, make_snapshot
from services.inference_gateway.tests.test_usage import MICRO, line

KEY = "projects/hall/keys/01J"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gauges(registry: CollectorRegistry) -> Gauges:
    return Gauges(registry)


def series(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    found: Any = (sample for metric in registry.collect() for sample in metric.samples if sample.name == name)
    return {tuple(sample.labels.values()): sample.value for sample in found}


def test_a_deployment_without_a_ready_target_is_shown_at_0_and_one_that_is_gone_is_not(
    gauges: Gauges, registry: CollectorRegistry
) -> None:
    targets = Target("1"), Target("2", state=TargetState.STANDBY), Target("3", state=TargetState.UNHEALTHY)
    both = [Deployment("hotline", "hall", targets), Deployment("broken", "hall", targets[1:])]
    gauges.show_routes(make_snapshot(7, {}, {}, both))
    assert series(registry, "gyre_gateway_ready_targets") == {("hall", "hotline"): 1, ("hall", "broken"): 0}
    gauges.show_routes(make_snapshot(8, {}, {}, both[:1]))
    assert series(registry, "gyre_gateway_ready_targets") == {("hall", "hotline"): 1}
    asleep = [Deployment("hotline", "hall", (*targets, Target("4", state=TargetState.ASLEEP)))]
    gauges.show_routes(make_snapshot(8, {}, {}, asleep))
    assert series(registry, "gyre_gateway_ready_targets") == {("hall", "hotline"): 2}
    assert series(registry, "gyre_gateway_sleeping_targets") == {("hall", "hotline"): 1}
    assert series(registry, "gyre_gateway_published_snapshot_revision") == {(): 8}


def test_of_two_budgets_the_one_nearer_to_its_end_is_shown_and_none_where_there_is_none(
    gauges: Gauges, registry: CollectorRegistry
) -> None:
    project = Spending(name="projects/hall", tokens=500, cost_microusd=10)
    key = Spending(name=KEY, tokens=500, budget_tokens=1000, cost_microusd=9, budget_microusd=10)
    gauges.show_budgets([ProjectSpending(project=project, keys=[key])])
    assert series(registry, "gyre_gateway_budget_used_ratio") == {("hall", "01J"): 0.9}


def test_money_is_counted_in_dollars_by_project_and_model(gauges: Gauges, registry: CollectorRegistry) -> None:
    gauges.count_cost([line(cost_picousd=2_500_000 * MICRO), line(), line(deployment="free", cost_picousd=0)])
    ((labels, dollars),) = series(registry, "gyre_gateway_cost_usd_total").items()
    assert labels[1] == "hotline" and dollars == pytest.approx(2.500003)


def test_experiments_lines_of_batches_and_adapters_are_shown_by_how_they_stand(
    gauges: Gauges, registry: CollectorRegistry
) -> None:
    gauges.show_experiments({"RUNNING": 2})
    assert series(registry, "gyre_gateway_experiments") == {("RUNNING",): 2, ("DECIDED",): 0, ("STOPPED",): 0}
    gauges.show_batch_lines(total=10, answered=6, failed=1)
    assert series(registry, "gyre_gateway_batch_lines") == {("answered",): 6, ("failed",): 1, ("waiting",): 3}
    for event in ("loaded", "loaded", "evicted"):
        gauges.count_adapter(event)
    assert series(registry, "gyre_gateway_adapters_total") == {("loaded",): 2, ("evicted",): 1}


async def test_only_lines_of_batches_that_are_not_over_count(session: Session) -> None:
    assert await batch_store.open_lines(session) == (0, 0, 0)
    for number, state in enumerate((BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.COMPLETED), start=1):
        session.add(
            InferenceBatch(
                name=f"projects/{PROJECT}/inferenceBatches/{number}", project=PROJECT, number=number, state=state, endpoint="",
                total_count=10, completed_count=4, failed_count=1, expire_time=session.clock.now(),
            )
        )  # fmt: skip
    await session.flush()
    assert await batch_store.open_lines(session) == (20, 8, 2)
    assert await traffic_store.experiment_counts(session) == {}
