"""A comparison from its variants to its recommendation: the real service over gRPC, beside stand-ins of its neighbours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from gyre.evaluation.v1 import comparison_pb2, comparison_service_pb2, evaluation_service_pb2
from gyre.evaluation.v1.comparison_service_pb2_grpc import ComparisonServiceStub
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from gyre_kit.auth import acting_as
from gyre_kit.db import Database
from gyre_kit.errors import from_rpc
from gyre_kit.reconcile import Reconciler
from gyre_kit.storage import ObjectStore
from gyre_kit.testing import ENGINEER, PROJECT, STRANGER, Platform, eventually, expect_rpc_error, outbox_of

from services.evaluation import service
from services.evaluation.main import app
from services.evaluation.tests.neighbours import (
    BIG,
    CALIBRATION,
    CARD,
    CARD_HOUR,
    CORE_HOUR,
    FLAVOR,
    OTHER,
    VERSION,
    World,
    neighbours,
)

Comparison, Candidate = comparison_pb2.Comparison, comparison_pb2.Candidate
SUITE = f"projects/{PROJECT}/suites/heldout"
DATA = "projects/acme/datasets/hotline/versions/1"


class Served:
    """The service under test, which can be stopped and started again beside its neighbours."""

    def __init__(self, platform: Platform, world: World) -> None:
        self.platform, self.world = platform, world
        clients = platform.clients()
        self.stub: Any = clients.stub(ComparisonServiceStub)
        self.evaluations: Any = clients.stub(EvaluationServiceStub)
        self._stack = AsyncExitStack()
        self.db: Database

    async def start(self, **settings: Any) -> None:
        quick = [Reconciler(each.step, every=0.02) for each in app.reconcilers]
        quiet = replace(
            app, settings=self.platform.settings(type(app.settings), **settings), handlers={}, reconcilers=quick
        )
        (context,) = await self._stack.enter_async_context(self.platform.serving(quiet))
        self.db = context.db

    async def stop(self) -> None:
        await self._stack.aclose()

    async def restart(self, **settings: Any) -> None:
        """With settings of this service."""
        await self.stop()
        await self.start(**settings)

    async def create(self, **fields: Any) -> Any:
        wanted: dict[str, Any] = {"parent": f"projects/{PROJECT}", "version": VERSION, "suite": SUITE, "margin": 0.05}
        with acting_as(ENGINEER):
            return await self.stub.CreateComparison(comparison_service_pb2.CreateComparisonRequest(**wanted | fields))

    async def get(self, name: str) -> Any:
        with acting_as(ENGINEER):
            return await self.stub.GetComparison(comparison_service_pb2.GetComparisonRequest(name=name))

    async def flavor_costs(self, name: str) -> list[Any]:
        with acting_as(ENGINEER):
            request = comparison_service_pb2.ListFlavorCostsRequest(name=name)
            return list((await self.stub.ListFlavorCosts(request)).flavors)

    async def reached(self, name: str, state: int) -> Any:
        async def check() -> Any:
            now = await self.get(name)
            return now if now.state == state else None

        return await eventually(check, seconds=90)  # a lease that a stop left behind lasts 30

    async def all_evaluations(self) -> list[Any]:
        request = evaluation_service_pb2.ListEvaluationsRequest(parent=f"projects/{PROJECT}")
        with acting_as(ENGINEER):
            return list((await self.evaluations.ListEvaluations(request)).evaluations)


@pytest.fixture
async def served(platform: Platform, tmp_path: Path) -> AsyncIterator[Served]:
    world = World(tmp_path, ObjectStore.from_url(platform.settings().object_store_url))
    async with neighbours(platform, world):
        served = Served(platform, world)
        await served.start()
        scorer = {"kind": "JSON_FIELDS", "exact_fields": ["department"], "text_field": ""}
        with acting_as(ENGINEER):
            async with served.db.transaction() as session:
                await service.create_suite(session, PROJECT, "heldout", {"dataset_version": DATA, "scorer": scorer}, "")
        yield served
        await served.stop()
    await platform.empty("evaluation")


async def test_the_cheapest_that_is_not_too_bad_is_recommended_with_its_reason(served: Served) -> None:
    made = await served.create(request_id="once", calibration=CALIBRATION)
    assert (await served.create(request_id="once")).name == made.name
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)

    by_name = {it.quantisation: it for it in done.candidates}
    assert list(by_name) == ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"]
    assert {it.state for it in done.candidates} == {Candidate.STATE_MEASURED}
    assert [it.quantisation for it in done.candidates if it.calibrated] == ["Q6_K", "Q5_K_M", "Q4_K_M"]
    assert done.recommended == by_name["Q5_K_M"].variant == f"{VERSION}/variants/q5-k-m-hotline-2"
    assert done.recommendation_reason == "CHEAPEST_WITHIN_MARGIN"
    assert "60% less than of F16" in done.recommendation_message
    assert {name for name, it in by_name.items() if it.on_front} == {"Q8_0", "Q5_K_M", "Q4_K_M"}
    assert {name for name, it in by_name.items() if it.within_margin} == {"F16", "Q8_0", "Q6_K", "Q5_K_M"}
    q4 = by_name["Q4_K_M"]
    assert q4.score.value == pytest.approx(0.6)
    assert q4.difference == pytest.approx(-0.3)
    assert q4.difference_lower < q4.difference < q4.difference_upper < 0
    assert (q4.flavor, q4.cost.memory_bytes, q4.size_bytes, q4.note) == (FLAVOR, 5, 1000, "all as promised")
    assert q4.million_tokens_microusd == CORE_HOUR / 3600 * 1e6 / 200
    assert served.world.most_running == 1
    async with served.db.transaction() as session:
        assert ("ComparisonCompleted", done.name) in await outbox_of(session)
        (payload,) = await session.scalars(
            sa.text("SELECT payload FROM outbox WHERE type LIKE '%.ComparisonCompleted'")
        )
    completed = json.loads(payload)
    assert all("note" not in it and "failure_message" not in it for it in completed["candidates"])
    assert completed["recommended"] == done.recommended


async def test_of_several_models_the_cheapest_that_is_about_as_good_as_the_best_is_recommended(served: Served) -> None:
    made = await served.create(version="", versions=[OTHER, VERSION], margin=0.06)
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)
    small, large = done.candidates
    assert [it.variant for it in (small, large)] == [f"{OTHER}/variants/q8-0", f"{VERSION}/variants/q8-0"]
    assert done.baseline == large.variant  # the best score
    assert (large.difference, small.difference) == (0, pytest.approx(-0.02))
    assert done.recommended == small.variant
    assert done.recommendation_reason == "CHEAPEST_WITHIN_MARGIN"
    assert "of small@2 Q8_0 cost" in done.recommendation_message
    assert "less than of hotline@1 Q8_0" in done.recommendation_message

    strict = await served.create(version="", versions=[OTHER, VERSION], margin=0.01)
    done = await served.reached(strict.name, Comparison.STATE_SUCCEEDED)
    assert (done.recommended, done.recommendation_reason) == (large.variant, "BASELINE_BEST")


async def test_models_none_of_which_can_be_made_fail_by_name(served: Served) -> None:
    served.world.broken = {"Q8_0"}
    made = await served.create(version="", versions=[OTHER, VERSION])
    failed = await served.reached(made.name, Comparison.STATE_FAILED)
    assert failed.failure_reason == "NOTHING_MEASURED"
    assert failed.failure_message == "small@2 Q8_0: it cannot be made"


async def test_nothing_is_measured_twice_when_the_service_dies_on_the_way(served: Served) -> None:
    served.world.hold = True
    made = await served.create(quantisations=["Q8_0"])

    async def running() -> bool:
        return bool(served.world.workloads)

    await eventually(running)
    await served.stop()
    served.world.hold = False
    await served.start()
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)
    assert len(await served.all_evaluations()) == len(done.candidates) == 2
    assert done.recommended.endswith("/q8-0")


async def test_a_stop_stops_the_evaluation_that_runs_and_starts_no_other(served: Served) -> None:
    served.world.hold = True
    made = await served.create()

    async def running() -> bool:
        return bool(served.world.workloads)

    await eventually(running)
    with acting_as(ENGINEER):
        await served.stub.CancelComparison(comparison_service_pb2.CancelComparisonRequest(name=made.name))
    await served.reached(made.name, Comparison.STATE_CANCELLED)
    (evaluation,) = await served.all_evaluations()
    assert evaluation.state == evaluation.STATE_CANCELLED
    with acting_as(ENGINEER):
        async with expect_rpc_error(grpc.StatusCode.FAILED_PRECONDITION) as errors:
            await served.stub.CancelComparison(comparison_service_pb2.CancelComparisonRequest(name=made.name))
    assert from_rpc(errors[0]).reason == "ALREADY_ENDED"


async def test_a_quantisation_that_cannot_be_made_leaves_the_others_and_a_broken_baseline_nothing(
    served: Served,
) -> None:
    served.world.broken = {"Q4_K_M"}
    made = await served.create(quantisations=["Q8_0", "Q4_K_M"])
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)
    broken = done.candidates[-1]
    assert (broken.state, broken.failure_reason, broken.on_front) == (Candidate.STATE_FAILED, "BAD_SOURCE", False)
    assert done.recommended.endswith("/q8-0")

    made = await served.create(quantisations=["Q8_0"], baseline="Q4_K_M")
    failed = await served.reached(made.name, Comparison.STATE_FAILED)
    assert failed.failure_reason == "BASELINE_FAILED"
    assert "it cannot be made" in failed.failure_message


async def test_a_job_that_fits_nowhere_fails_what_waits_for_it(served: Served) -> None:
    served.world.too_small = True
    made = await served.create(quantisations=["Q8_0"])
    await served.reached(made.name, Comparison.STATE_FAILED)
    assert ["No node has 64 cores." in each.failure_message for each in await served.all_evaluations()] == [True] * 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"margin": 1.5}, "margin"),
        ({"metric": "text"}, "metric"),  # the suite scores none
        ({"quantisations": ["F16"]}, "quantisations"),
        ({"quantisations": ["Q8_0", "Q8_0"]}, "quantisations"),
        ({"versions": [VERSION, OTHER]}, "versions"),  # beside a version
        ({"version": "", "versions": [VERSION]}, "quantisations"),
        ({"version": "", "versions": [VERSION, OTHER, OTHER]}, "versions"),
    ],
)
async def test_what_cannot_be_compared_is_refused_before_anything_is_made(
    served: Served, fields: dict[str, Any], says: str
) -> None:
    async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT) as errors:
        await served.create(**fields)
    assert from_rpc(errors[0]).reason == "BAD_COMPARISON"
    assert says in str(errors[0].details())
    assert not served.world.asked


async def test_each_flavor_has_the_figures_that_were_measured_there_and_no_others(served: Served) -> None:
    asked = {"quantisations": ["Q8_0"]}
    first = await served.reached((await served.create(**asked)).name, Comparison.STATE_SUCCEEDED)

    cpu, big, _ = await served.flavor_costs(first.name)
    assert [(it.quantisation, it.on_front) for it in cpu.costs] == [("Q8_0", True), ("F16", False)]
    assert cpu.flavor == FLAVOR and cpu.costs[0].score == pytest.approx(0.9)
    assert (big.flavor, big.cpu_hour_microusd, list(big.costs)) == (BIG, 2 * CORE_HOUR, [])

    second = await served.create(only_flavor=BIG, **asked)
    await served.reached(second.name, Comparison.STATE_SUCCEEDED)
    big, cpu, _ = await served.flavor_costs(first.name)
    assert (big.flavor, cpu.flavor) == (BIG, FLAVOR)
    assert {it.comparison for it in big.costs} == {second.name}
    assert {it.comparison for it in cpu.costs} == {first.name}
    assert [it.million_tokens_microusd for it in big.costs] == [2 * it.million_tokens_microusd for it in cpu.costs]


async def test_a_flavor_that_the_platform_does_not_have_is_refused(served: Served) -> None:
    async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT) as errors:
        await served.create(only_flavor="flavors/tpu")
    assert from_rpc(errors[0]).reason == "FLAVOR_UNKNOWN"
    assert "flavors/big|flavors/card|flavors/cpu" in str(errors[0].details())
    assert not served.world.asked


async def test_what_only_vllm_loads_is_measured_there_and_priced_by_the_time_of_its_cards(served: Served) -> None:
    served.world.cards = 2
    await served.restart(vllm_python="/opt/vllm/bin/python", vllm_cards=2, vllm_memory_bytes=7_000_000_000)
    made = await served.create(quantisations=["Q8_0", "AWQ", "FP8"], calibration=CALIBRATION)
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)

    q8, awq, fp8 = done.candidates[1:]
    assert [it.state for it in done.candidates] == [Candidate.STATE_MEASURED] * 4
    assert [it.variant.rsplit("/", 1)[1] for it in (awq, fp8)] == ["awq-hotline-2", "fp8"]
    assert [it.calibrated for it in (q8, awq, fp8)] == [False, True, False]
    million_at_100 = 1e6 / 100 / 3600  # hours
    assert (awq.flavor, awq.million_tokens_microusd) == (CARD, round(million_at_100 * (CORE_HOUR + 2 * CARD_HOUR)))
    assert (q8.flavor, q8.million_tokens_microusd) == (FLAVOR, round(million_at_100 * CORE_HOUR))

    asked = served.world.asked_for[awq.evaluation]
    spec = json.loads(asked.spec_json)
    assert (spec["engine"], spec["python"], spec["cards"]) == ("VLLM", "/opt/vllm/bin/python", 2)
    assert (asked.requests.gpu, asked.requests.memory_bytes) == (2, 7_000_000_000)
    others = served.world.asked_for[q8.evaluation]
    assert (others.requests.gpu, json.loads(others.spec_json)["engine"]) == (0, "LLAMA_CPP")
    prices = {it.flavor: (it.cpu_hour_microusd, it.gpu_hour_microusd) for it in await served.flavor_costs(made.name)}
    assert prices[CARD] == (CORE_HOUR, CARD_HOUR)


@pytest.mark.parametrize(
    ("settings", "fields", "code", "reason"),
    [
        ({}, {"quantisations": ["Q8_0", "FP8"]}, grpc.StatusCode.FAILED_PRECONDITION, "ENGINE_NOT_LAUNCHED"),
        ({"vllm_python": "/p", "vllm_cards": 1}, {"quantisations": ["FP8"]}, grpc.StatusCode.FAILED_PRECONDITION, "NO_GPU_FLAVOR"),
        ({"vllm_python": "/p"}, {"quantisations": ["AWQ"]}, grpc.StatusCode.INVALID_ARGUMENT, "CALIBRATION_NEEDED"),
    ],
)  # fmt: skip
async def test_what_vllm_could_not_measure_here_is_refused_before_anything_is_made(
    served: Served, settings: dict[str, Any], fields: dict[str, Any], code: grpc.StatusCode, reason: str
) -> None:
    await served.restart(**settings)
    async with expect_rpc_error(code) as errors:
        await served.create(**fields)
    assert from_rpc(errors[0]).reason == reason
    assert not served.world.asked


async def test_a_flavor_without_cards_measures_the_others_alone(served: Served) -> None:
    served.world.cards = 1
    await served.restart(vllm_python="/opt/vllm/bin/python", vllm_cards=1)
    made = await served.create(quantisations=["Q8_0", "FP8"], only_flavor=FLAVOR)
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)
    fp8 = done.candidates[-1]
    assert (fp8.state, fp8.failure_reason) == (Candidate.STATE_FAILED, "NO_GPU_FLAVOR")
    assert FLAVOR in fp8.failure_message
    assert done.recommended.endswith("/q8-0")


async def test_what_the_engine_cannot_load_fails_with_its_words_and_the_others_go_on(served: Served) -> None:
    await served.restart(vllm_python="/opt/vllm/bin/python")
    served.world.unloadable = {"FP8": "error: the engine cannot load this variant: vLLM cannot serve judged: no kernel"}
    made = await served.create(quantisations=["Q8_0", "FP8"])
    done = await served.reached(made.name, Comparison.STATE_SUCCEEDED)
    fp8 = done.candidates[-1]
    assert (fp8.state, fp8.failure_reason) == (Candidate.STATE_FAILED, "BAD_SPEC")
    assert "vLLM cannot serve judged: no kernel" in fp8.failure_message
    assert done.recommended.endswith("/q8-0")


async def test_another_projects_comparison_is_not_found(served: Served) -> None:
    made = await served.create(quantisations=["Q8_0"])
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await served.stub.GetComparison(comparison_service_pb2.GetComparisonRequest(name=made.name))
    await served.reached(made.name, Comparison.STATE_SUCCEEDED)
