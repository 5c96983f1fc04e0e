"""Rent or own: the arithmetic."""

from __future__ import annotations

import pytest
from gyre.evaluation.v1.comparison_pb2 import Candidate, Comparison
from gyre.evaluation.v1.evaluation_pb2 import CostFigures
from gyre.gpu_scheduler.v1.node_pb2 import Flavor
from gyre.inference_gateway.v1.deployment_pb2 import Deployment, Target

from services.api_gateway.rent_or_own import (
    MONTH_HOURS,
    MONTH_SECONDS,
    Own,
    Rented,
    Traffic,
    break_even,
    capacity,
    machines,
    own_month,
    rented_month,
)
from services.api_gateway.rest.rent_or_own import Asked, answer

DOLLAR = 1_000_000
RENTED = Rented("big", 1 * DOLLAR, 4 * DOLLAR)
CARD = Own("card", 2 * DOLLAR, 1000.0)


def test_rented_costs_what_is_computed() -> None:
    assert rented_month(Traffic(3e6, 1e6), RENTED) == 7 * DOLLAR


def test_own_costs_the_whole_month_however_little_is_asked() -> None:
    assert own_month(Traffic(0, 0), CARD, 0.5) == 2 * DOLLAR * MONTH_HOURS


def test_more_traffic_than_a_machine_can_take_needs_another() -> None:
    full = capacity(CARD, 0.5)
    assert full == 1000 * 0.5 * MONTH_SECONDS
    assert [machines(Traffic(0, full * share), CARD, 0.5) for share in (0.9, 1.0, 1.1, 2.5)] == [1, 1, 2, 3]


@pytest.mark.parametrize("prompts", [0, 3, 10])
def test_at_the_break_even_both_cost_the_same(prompts: float) -> None:
    mix = Traffic(prompts, 1)
    found = break_even(mix, RENTED, CARD, 0.9)
    assert found is not None
    at = Traffic(prompts * found, found)
    assert rented_month(at, RENTED) == pytest.approx(own_month(at, CARD, 0.9))


def test_a_machine_that_is_dear_even_when_full_has_no_break_even() -> None:
    slow = Own("slow", 2 * DOLLAR, 10.0)
    assert break_even(Traffic(1, 1), RENTED, slow, 1.0) is None
    assert break_even(Traffic(1, 1), Rented("free", 0, 0), CARD, 1.0) is None


def test_where_nothing_was_generated_only_answers_are_compared() -> None:
    assert break_even(Traffic(5, 0), RENTED, CARD, 0.9) == break_even(Traffic(0, 1), RENTED, CARD, 0.9)


VARIANT = "projects/p/models/hotline/versions/3/variants/q8-0"
ATTACHED = Deployment(
    name="projects/p/deployments/rented",
    targets=[
        Target(upstream_url="https://x/v1", upstream_model="big", input_price_microusd=1, output_price_microusd=4),
        Target(variant=VARIANT, input_price_microusd=9, output_price_microusd=9),
        Target(upstream_url="https://y/v1", upstream_model="gift"),
    ],
)
MEASURED = Comparison(
    recommended=VARIANT,
    candidates=[
        Candidate(variant=VARIANT, flavor="flavors/cpu", tokens_per_second=20.0, cost=CostFigures(threads=2)),
        Candidate(variant=f"{VARIANT}-other", flavor="flavors/cpu", tokens_per_second=90.0),
    ],
)
CORES = Flavor(name="flavors/cpu", cpu_hour_microusd=40_000)


def test_prices_are_those_of_attached_engines_and_speeds_those_that_were_measured() -> None:
    found = answer(Asked(), Traffic(10, 20), [ATTACHED], [MEASURED, MEASURED], [CORES])
    assert [(it.name, it.output_price_microusd, it.typed) for it in found.rented] == [("rented (big)", 4, False)]
    assert [(it.name, it.hour_microusd, it.machines) for it in found.owned] == [("hotline v3 q8-0", 80_000, 1)]
    assert (found.input_tokens, found.output_tokens, found.typed_traffic) == (10, 20, False)


def test_what_is_typed_counts_beside_what_is_known() -> None:
    asked = Asked(
        output_tokens=1e9, input_price_microusd=DOLLAR, output_price_microusd=4 * DOLLAR,
        hour_price_microusd=2 * DOLLAR, tokens_per_second=1000.0,
    )  # fmt: skip
    found = answer(asked, Traffic(10, 20), [], [], [])
    (rented,), (own,) = found.rented, found.owned
    assert (rented.month_microusd, own.month_microusd) == (4000 * DOLLAR, 2 * DOLLAR * MONTH_HOURS)
    assert own.break_even[0].output_tokens == pytest.approx(365e6)
    assert found.typed_traffic and rented.typed and own.typed
