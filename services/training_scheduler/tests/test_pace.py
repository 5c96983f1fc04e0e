"""What is left of a run, what it will cost and how well it uses its card."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.training_scheduler import pace
from services.training_scheduler.models import MetricPoint, Run, RunState

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST = 50  # points that the API asks for


def running(step: int, total: int, *, every: int = 1000, **fields: Any) -> Run:
    """A run whose attempt has done `step` steps of two seconds."""
    return Run(
        state=RunState.RUNNING,
        spec={"hyperparameters": {"checkpoint_every": every, "lora_rank": fields.pop("lora_rank", 0)}},
        step=step,
        total_steps=total,
        pace_step=0,
        pace_time=BEGIN,
        heartbeat_time=BEGIN + timedelta(seconds=2 * step),
        **{"metrics": {}, "estimate": {}, **fields},
    )


def points(seconds: Iterable[float]) -> list[MetricPoint]:
    """Newest first, the first of them at step 1; `seconds` is how long each later step took."""
    found, at = [MetricPoint(step=1, time=BEGIN, metrics={})], BEGIN
    for step, each in enumerate(seconds, start=2):
        at += timedelta(seconds=each)
        found.append(MetricPoint(step=step, time=at, metrics={}))
    return found[::-1][:NEWEST]


def left(run: Run, latest: Sequence[MetricPoint]) -> pace.Remaining:
    found = pace.remaining(run, BEGIN, latest)
    assert found is not None
    return found


def test_before_ten_steps_there_is_an_expected_time_and_no_bounds() -> None:
    nine, ten = left(running(9, 100), points([2] * 8)), left(running(10, 100), points([2] * 9))
    assert nine == pace.Remaining(timedelta(seconds=182))
    assert ten == pace.Remaining(*[timedelta(seconds=180)] * 3)


def test_one_stall_is_not_taken_for_the_rule_but_widens_the_bounds() -> None:
    even = [1.9, 2.1] * 14
    calm = left(running(29, 1029), points(even))
    held_up = left(running(29, 1029), points([*even[:20], 600, *even[21:]]))
    assert held_up.expected < calm.expected * 1.1
    assert calm.high is not None and held_up.high is not None
    assert held_up.high > calm.high * 5


def test_checkpoints_to_come_are_counted_by_those_that_were_timed() -> None:
    took = [12.0 if (step - 1) % 10 == 0 else 2.0 for step in range(2, 46)]
    found = left(running(45, 100, every=10), points(took))
    assert found.expected == timedelta(seconds=55 * 2 + 5 * 10)  # at 50, 60, 70, 80, 90
    assert found.low == found.high == found.expected


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_the_bounds_hold_95_times_in_100_whatever_was_seen(spread: float) -> None:
    held = 0
    for seed in range(400):
        drawn = random.Random(seed)
        steps = [drawn.lognormvariate(0, spread) for _ in range(200)]
        seen = drawn.choice([9, 12, 20, 49])
        found = left(running(seen + 1, 201), points(steps[:seen]))
        assert found.low is not None and found.high is not None
        held += found.low <= timedelta(seconds=sum(steps[seen:])) <= found.high
    assert held / 400 >= 0.93


def test_a_run_that_does_not_run_has_nothing_left_to_tell() -> None:
    run = running(20, 100)
    run.state = RunState.PAUSED
    assert pace.remaining(run, BEGIN, points([2] * 19)) is None
    assert pace.expected_cost_microusd(run, None) is None


def test_the_expected_cost_goes_on_at_the_price_that_was_paid() -> None:
    run = running(20, 100, cost_microusd=600, held_seconds=60.0)
    assert pace.expected_cost_microusd(run, left(run, points([2] * 19))) == 600 + 10 * 160
    assert pace.expected_cost_microusd(running(20, 100), left(run, points([2] * 19))) is None


def test_utilisation_is_of_the_card_that_it_was_planned_for_and_runs_on() -> None:
    planned = {"flavor": "flavors/h100", "peak_flops": 1e15}
    fields: dict[str, Any] = {
        "estimate": planned, "metrics": {"tokens_per_second": 1e4}, "base_parameters": 7 * 10**9,
    }  # fmt: skip
    on_card = running(20, 100, flavor="flavors/h100", **fields)
    assert pace.model_flops_utilisation(on_card) == pytest.approx(6 * 7e9 * 1e4 / 1e15)
    adapters = running(20, 100, flavor="flavors/h100", lora_rank=8, **fields)
    assert pace.model_flops_utilisation(adapters) == pytest.approx(4 * 7e9 * 1e4 / 1e15)
    assert pace.model_flops_utilisation(running(20, 100, flavor="flavors/a100", **fields)) is None
    on_cpu = fields | {"estimate": {"flavor": "flavors/cpu", "peak_flops": 0}}
    assert pace.model_flops_utilisation(running(20, 100, flavor="flavors/cpu", **on_cpu)) is None
