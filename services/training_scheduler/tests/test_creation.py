"""What is asked for and refused when a run is created."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from gyre.training_scheduler.v1 import method_service_pb2, recipe_service_pb2, run_pb2, run_service_pb2
from gyre.training_scheduler.v1.method_service_pb2_grpc import MethodServiceStub
from gyre.training_scheduler.v1.recipe_service_pb2_grpc import RecipeServiceStub
from gyre_kit.auth import acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.testing import ENGINEER, VIEWER, expect_rpc_error
from gyre_trainers.methods import PPOSettings
from gyre_trainers.spec import Spec

from services.training_scheduler.tests.calls import Run, count, create, launched, refusal
from services.training_scheduler.tests.served import create_request
from services.training_scheduler.tests.world import BASE, PAIRS, SFT_ROWS, World, card_node, cpu_node, model_version


async def test_a_run_comes_back_queued_with_defaults_estimate_and_pins(runs: Any, world: World) -> None:
    run = await create(runs, hyperparameters=run_pb2.Hyperparameters(epochs=1))
    assert run.state == Run.STATE_QUEUED
    assert (run.spec.recipe, run.spec.hyperparameters.lora_rank) == ("recipes/sft-lora", 8)
    assert (run.estimate.flavor, run.estimate.steps) == ("flavors/cpu", 10)
    assert world.pins[run.name] == {SFT_ROWS, BASE}


async def test_the_trainer_can_read_the_spec_that_the_launcher_completes(runs: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    injected = {
        "attempt": 2,
        "object_store": "file:///objects",
        "report_address": "127.0.0.1:8102",
        "credential_file": "/work/credential",
    }
    spec = Spec.model_validate(json.loads(workload.spec.spec_json) | injected)
    assert spec.output == f"runs/{run.name.rsplit('/', 1)[-1]}/2"
    assert (workload.spec.module, workload.spec.owner) == ("gyre_trainers.run", run.name)
    assert workload.spec.requests.cpu_milli == 1500


async def test_the_same_request_id_gives_the_same_run(runs: Any, world: World) -> None:
    request = create_request()
    request.request_id = "once"
    with acting_as(ENGINEER):
        first, second = await runs.CreateRun(request), await runs.CreateRun(request)
    assert first.name == second.name


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"method": 0}, "INVALID_ARGUMENT", "METHOD_REQUIRED"),
        ({"datasets": []}, "INVALID_ARGUMENT", "DATASETS_REQUIRED"),
        ({"base": ""}, "INVALID_ARGUMENT", "BASE_REQUIRED"),
        ({"hyperparameters": run_pb2.Hyperparameters(learning_rate=7)}, "INVALID_ARGUMENT", "BAD_HYPERPARAMETER"),
        ({"seed": -1}, "INVALID_ARGUMENT", "BAD_HYPERPARAMETER"),
        ({"method": run_pb2.METHOD_PPO}, "INVALID_ARGUMENT", "REWARD_MODEL_REQUIRED"),
        ({"recipe": "recipes/dpo-lora"}, "INVALID_ARGUMENT", "RECIPE_MISMATCH"),
        ({"recipe": "recipes/none"}, "NOT_FOUND", "RECIPE_NOT_FOUND"),
        ({"datasets": [f"{SFT_ROWS}9"]}, "NOT_FOUND", "VERSION_NOT_FOUND"),
        ({"base": f"{BASE}9"}, "NOT_FOUND", "BASE_NOT_FOUND"),
        ({"base": "projects/acme/runs/none"}, "NOT_FOUND", "BASE_NOT_FOUND"),
        ({"queue": "projects/acme/queues/none"}, "NOT_FOUND", "QUEUE_NOT_FOUND"),
        ({"datasets": [PAIRS]}, "INVALID_ARGUMENT", "TYPE_MISMATCH"),
    ],
)
async def test_bad_input_is_refused_with_a_reason_and_leaves_nothing(
    runs: Any, world: World, fields: dict[str, Any], code: str, reason: str
) -> None:
    before = await count(runs)
    assert await refusal(runs.CreateRun(create_request(**fields)), grpc.StatusCode[code]) == reason
    assert await count(runs) == before
    assert world.pins == {}


@pytest.mark.parametrize(
    ("method", "own", "field"),
    [
        (run_pb2.METHOD_PPO, {"cliprange": -1}, "hyperparameters.own.cliprange"),
        (run_pb2.METHOD_PPO, {"num_mini_batches": 3}, "hyperparameters.own.num_mini_batches"),
        (run_pb2.METHOD_PPO, {"kl_estimator": "k2"}, "hyperparameters.own.kl_estimator"),
        (run_pb2.METHOD_PPO, {"clip_range": 0.3}, "hyperparameters.own.clip_range"),
        (run_pb2.METHOD_SFT, {"cliprange": 0.3}, "hyperparameters.own.cliprange"),
    ],
)
async def test_a_setting_that_the_method_does_not_take_is_refused_by_its_name(
    runs: Any, world: World, method: int, own: dict[str, Any], field: str
) -> None:
    wanted = run_pb2.Hyperparameters()
    wanted.own.update(own)
    request = create_request(method=method, hyperparameters=wanted, reward_model=BASE)
    with acting_as(ENGINEER):
        async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT) as caught:
            await runs.CreateRun(request)
    refused = from_rpc(caught[0])
    assert (refused.reason, refused.metadata["field"]) == ("BAD_HYPERPARAMETER", field)
    assert field in refused.message


async def test_a_method_s_own_settings_reach_the_trainer_with_its_defaults(runs: Any, world: World) -> None:
    scorer = f"{BASE}9"
    world.versions[scorer] = model_version(scorer, "LlamaForSequenceClassification")
    wanted = run_pb2.Hyperparameters(batch_size=4)
    wanted.own.update({"cliprange": 0.3, "num_mini_batches": 2})
    run = await create(runs, method=run_pb2.METHOD_PPO, reward_model=scorer, hyperparameters=wanted)
    assert run.spec.hyperparameters.own["lam"] == 0.95
    workload = await launched(world, run)
    given = json.loads(workload.spec.spec_json)
    injected = {"attempt": 1, "object_store": "file:///o", "report_address": "127.0.0.1:1", "credential_file": "/c"}
    settings = Spec.model_validate(given | injected).hyperparameters.own_of(PPOSettings)
    assert settings == PPOSettings(cliprange=0.3, num_mini_batches=2)


async def test_a_reward_model_of_another_tokenizer_is_refused_before_anything_is_pinned(
    runs: Any, world: World
) -> None:
    scorer = f"{BASE}9"
    world.versions[scorer] = model_version(scorer, "LlamaForSequenceClassification")
    for name, vocabulary in ((BASE, {"a": 0, "b": 1}), (scorer, {"b": 0, "a": 1})):
        prefix = f"registry/{name.replace('/', '-')}"
        files = [{"path": "tokenizer.json", "sha256": "none"}]
        await world.store.put(f"{prefix}/tokenizer.json", json.dumps({"model": {"vocab": vocabulary}}).encode())
        await world.store.put(f"{prefix}/manifest.json", json.dumps({"files": files}).encode())
        world.versions[name].uri = f"gyre://{prefix}/manifest.json"
    asked = create_request(method=run_pb2.METHOD_PPO, reward_model=scorer)
    assert await refusal(runs.CreateRun(asked), grpc.StatusCode.INVALID_ARGUMENT) == "TOKENIZER_MISMATCH"
    assert world.pins == {}


async def test_a_preset_changes_the_recipe_and_what_is_set_counts_before_it(runs: Any, world: World) -> None:
    run = await create(runs, preset=run_pb2.PRESET_BEST, hyperparameters=run_pb2.Hyperparameters(lora_rank=4))
    asked = run.spec.hyperparameters
    assert (asked.lora_rank, asked.lora_alpha, asked.epochs) == (4, 64, 6)
    assert asked.batch_size * asked.gradient_accumulation_steps == 16
    assert run.spec.preset == run_pb2.PRESET_BEST


async def test_every_method_says_what_can_be_set(up: Any) -> None:
    with acting_as(VIEWER):
        listed = (
            await up[2]
            .stub(MethodServiceStub)
            .ListMethods(method_service_pb2.ListMethodsRequest(parent="projects/acme"))
        )
    assert {it.method for it in listed.methods} == {number for number in run_pb2.Method.values() if number}
    ppo = next(it for it in listed.methods if it.method == run_pb2.METHOD_PPO)
    clip = ppo.settings_schema["properties"]["own"]["properties"]["cliprange"]
    assert (clip["default"], clip["exclusiveMinimum"], clip["x-zh"]["title"]) == (0.2, 0, "策略裁剪范围")
    rule = ppo.health_schema["properties"]["reward_hacking"]
    assert (rule["default"], list(rule["enum"])) == ("WARN", ["WARN", "STOP", "ROLL_BACK", "LOWER_LEARNING_RATE"])
    assert "divergence" not in ppo.health_schema["properties"]


async def test_a_base_of_another_architecture_is_refused(runs: Any, world: World) -> None:
    world.versions[BASE].architecture = "BertModel"
    refused = await refusal(runs.CreateRun(create_request()), grpc.StatusCode.INVALID_ARGUMENT)
    assert refused == "ARCHITECTURE_UNSUPPORTED"


async def test_what_fits_nowhere_is_refused_before_anything_is_pinned(runs: Any, world: World) -> None:
    world.nodes = [cpu_node(memory_bytes=2**29)]
    assert await refusal(runs.CreateRun(create_request()), grpc.StatusCode.FAILED_PRECONDITION) == "FITS_NOWHERE"
    assert world.pins == {}


async def test_an_estimate_needs_no_run(runs: Any, world: World) -> None:
    spec = create_request().spec
    with acting_as(VIEWER):
        estimate = await runs.EstimateRun(run_service_pb2.EstimateRunRequest(parent="projects/acme", spec=spec))
    assert (estimate.steps, estimate.flavor) == (30, "flavors/cpu")
    assert world.pins == {}


async def test_an_estimate_has_every_flavor_with_its_parts_and_why_one_does_not_fit(runs: Any, world: World) -> None:
    world.nodes = [cpu_node(memory_bytes=2**29), card_node()]
    with acting_as(VIEWER):
        request = run_service_pb2.EstimateRunRequest(parent="projects/acme", spec=create_request().spec)
        estimate = await runs.EstimateRun(request)
    card, cpu = estimate.flavors
    assert (card.flavor, card.fits, card.fastest, card.cheapest, card.gpu) == ("flavors/h100", True, True, True, 1)
    assert (cpu.flavor, cpu.fits, cpu.reason) == ("flavors/cpu", False, "NOT_ENOUGH_MEMORY")
    assert cpu.memory_bytes > cpu.available_bytes == 2**29
    assert sum(part.bytes for part in estimate.parts) == estimate.memory_bytes == card.memory_bytes
    assert [part.bytes for part in estimate.parts] == sorted((part.bytes for part in estimate.parts), reverse=True)
    assert estimate.tokens_per_second > 0


async def test_a_run_that_would_not_fit_is_created_with_settings_that_do(runs: Any, world: World) -> None:
    wanted = run_pb2.Hyperparameters(batch_size=256, max_length=512, lora_rank=0)
    run = await create(runs, hyperparameters=wanted)
    found = run.spec.hyperparameters
    assert found.activation_checkpointing and found.batch_size < 256
    assert found.batch_size * found.gradient_accumulation_steps == 256
    assert [choice.setting for choice in run.estimate.choices] == [
        "activation_checkpointing",
        "batch_size",
        "gradient_accumulation_steps",
    ]
    assert run.estimate.memory_bytes <= 24 * 2**30
    spec = json.loads((await launched(world, run)).spec.spec_json)
    assert spec["hyperparameters"]["batch_size"] == found.batch_size
    assert spec["hyperparameters"]["activation_checkpointing"] is True


async def test_recipes_come_with_every_value_set(up: Any) -> None:
    with acting_as(VIEWER):
        reply = await up[2].stub(RecipeServiceStub).ListRecipes(
            recipe_service_pb2.ListRecipesRequest(parent="projects/acme")
        )  # fmt: skip
    assert reply.recipes[0].name == "recipes/sft-lora"
    assert reply.recipes[0].hyperparameters.learning_rate == 1e-3
    assert {it.method for it in reply.recipes} == set(run_pb2.Method.values()) - {run_pb2.METHOD_UNSPECIFIED}
