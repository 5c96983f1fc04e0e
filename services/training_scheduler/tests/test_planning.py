from __future__ import annotations

from dataclasses import replace

import pytest
from gyre.training_scheduler.v1 import run_pb2
from gyre_trainers.methods import Method, schema_of

from services.training_scheduler import creation, recipes
from services.training_scheduler.planning import fitting, memory, time
from services.training_scheduler.planning.architecture import TYPICAL, Architecture, from_config, typical
from services.training_scheduler.planning.plan import Misfit, Outlook, Place, plan, threads_of
from services.training_scheduler.planning.settings import Job, Settings
from services.training_scheduler.recipes import RECIPES, Recipe, default_of

GIB = 2**30
SMOLLM2 = TYPICAL[0]
LLAMA_8B = TYPICAL[4]
CPU = Place("flavors/cpu", cpu_milli=2000, memory_bytes=24 * GIB, cpu_hour_microusd=40_000)
CARD = Place(
    "flavors/h100",
    cpu_milli=16_000,
    memory_bytes=128 * GIB,
    cards=[80 * GIB],
    gpu_hour_microusd=2_000_000,
    card_flops=989e12,
    card_bandwidth=3.35e12,
)


def job(method: str = "SFT", shape: Architecture = SMOLLM2, rows: int = 240, **given: float) -> Job:
    return Job(method, shape, rows, {**default_of(method).hyperparameters, **given})


@pytest.mark.parametrize(
    ("shape", "published"),
    [(TYPICAL[0], 134.5e6), (TYPICAL[1], 494e6), (TYPICAL[4], 8.03e9), (TYPICAL[5], 14.77e9), (TYPICAL[7], 70.6e9)],
)
def test_parameters_counted_from_a_shape_are_those_that_its_maker_names(shape: Architecture, published: float) -> None:
    assert shape.parameters == pytest.approx(published, rel=0.001)


def test_config_json_gives_the_shape_and_one_that_says_too_little_none() -> None:
    config = {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }
    assert from_config(config) == SMOLLM2
    assert from_config({"text_config": config}) == SMOLLM2
    assert from_config({name: value for name, value in config.items() if name != "vocab_size"}) is None
    assert from_config(config | {"hidden_size": "wide"}) is None


def test_without_config_json_a_usual_shape_with_the_parameters_that_are_known() -> None:
    assert typical(7_000_000_000).parameters == 7_000_000_000
    assert typical(7_000_000_000).layers == LLAMA_8B.layers
    assert typical(10**12).layers == TYPICAL[-1].layers


def test_adapters_are_counted_on_every_linear_map_but_the_head() -> None:
    assert SMOLLM2.lora_parameters(8) == 2_442_240  # as PEFT prints for SmolLM2-135M with all-linear at rank 8


def test_epochs_decide_the_steps_unless_max_steps_does() -> None:
    assert time.steps_of(job(epochs=3)) == 180
    assert time.steps_of(job(max_steps=20)) == 20
    assert time.steps_of(job(rows=5, epochs=1)) == 2
    assert time.steps_of(job("KTO", epochs=1)) == 120


def test_every_part_is_named_and_the_sum_is_the_whole() -> None:
    need = memory.need(job(), job().asked("cpu"), "cpu")
    assert sum(need.parts.values()) == need.bytes
    assert {"WEIGHTS", "ACTIVATIONS", "LOGITS", "PROCESS"} <= need.parts.keys()


def test_logits_are_the_largest_part_where_the_vocabulary_is_wide_and_the_model_small() -> None:
    wide = replace(SMOLLM2, layers=4, vocabulary=151_936)
    need = memory.need(job(shape=wide, batch_size=8, max_length=512), Settings(8, 1, False), "card")
    assert max(need.parts, key=need.parts.__getitem__) == "LOGITS"


@pytest.mark.parametrize("device", ["cpu", "card"])
def test_what_saves_memory_saves_it(device: memory.Device) -> None:
    def of(wanted: Job, **changes: object) -> int:
        return memory.need(wanted, replace(Settings(4, 2, False), **changes), device).bytes  # type: ignore[arg-type]

    long = job(max_length=1024)
    big = job(shape=LLAMA_8B, lora_rank=0)
    assert of(job(shape=LLAMA_8B)) < of(big)
    assert of(long, checkpointing=True) < of(long)
    assert of(long, batch=2, accumulation=4) < of(long)
    assert of(job(shape=LLAMA_8B), quantised=True) < of(job(shape=LLAMA_8B))
    stages = [of(big, zero_stage=stage, ranks=8) for stage in (1, 2, 3)]
    assert stages == sorted(stages, reverse=True) and len(set(stages)) == 3
    assert of(big, offload=True) < of(big)


def test_answers_that_are_sampled_need_keys_and_values() -> None:
    short, long = (job("GRPO", shape=LLAMA_8B, max_length=64, max_new_tokens=tokens) for tokens in (32, 4096))
    settings = Settings(4, 8, True)
    assert memory.need(long, settings, "card").bytes > memory.need(short, settings, "card").bytes
    moment = memory._sampling(long, settings, memory.CARD, {"GRADIENTS": 0})
    assert moment["KV_CACHE"] == 2 * 32 * 1024 * (64 + 4096) * 32 * 2


def test_settings_that_fit_are_left_alone() -> None:
    found = fitting.fit(job(), "cpu", 24 * GIB)
    assert found is not None and found.choices == [] and found.settings == job().asked("cpu")


def test_what_does_not_fit_is_computed_again_and_then_cut_into_smaller_batches_of_as_many_rows() -> None:
    wanted = job(batch_size=16, max_length=512)
    asked = memory.need(wanted, wanted.asked("cpu"), "cpu").bytes
    slower = fitting.fit(wanted, "cpu", asked - 1)
    assert slower is not None
    assert [choice.reason for choice in slower.choices] == ["ACTIVATIONS_TOO_LARGE"]
    smaller = fitting.fit(wanted, "cpu", slower.need.bytes - 1)
    assert smaller is not None and smaller.settings.batch < 16
    assert smaller.settings.rows == 16
    assert [choice.setting for choice in smaller.choices] == [
        "activation_checkpointing",
        "batch_size",
        "gradient_accumulation_steps",
    ]
    assert smaller.need.bytes <= slower.need.bytes - 1


def test_batches_are_never_cut_below_what_a_method_compares() -> None:
    for method, least in (("KTO", 2), ("GRPO", 4)):
        wanted = job(method, batch_size=8)
        *_, last = fitting._ladder(wanted, wanted.asked("cpu"))
        assert (last.batch, last.rows) == (least, 8)


def test_what_trainers_would_need_is_said_where_nothing_of_theirs_is_enough() -> None:
    def remedy(wanted: Job, cards: int) -> str:
        found = plan(wanted, [replace(CARD, cards=[80 * GIB] * cards)], 1500).misfits[0].help
        return found.reason if found else ""

    seventy = TYPICAL[-1]
    assert remedy(job(shape=seventy), 1) == "QUANTISED_BASE"
    assert remedy(job(shape=seventy, lora_rank=0), 1) == ""
    assert remedy(job(shape=TYPICAL[6], lora_rank=0), 8) == "ZERO"


def test_the_demo_s_run_is_estimated_within_a_factor_of_two_of_what_was_measured() -> None:
    found = plan(job(max_length=80), [CPU], 1500).fastest
    assert found is not None
    assert 288 / 2 < found.seconds < 288 * 2
    assert 1.75e9 / 2 < found.memory_bytes < 1.75e9 * 2
    assert found.cost_microusd == round(found.seconds / 3600 * 1.5 * 40_000)


def test_a_trainer_leaves_room_for_a_replica_on_two_cores() -> None:
    found = plan(job(), [CPU], 1500).fastest
    assert found is not None and found.cpu_milli + 250 <= CPU.cpu_milli
    assert threads_of(found.cpu_milli) == 2


def test_every_flavor_has_an_answer_and_the_fastest_is_not_always_the_cheapest() -> None:
    outlook = plan(job(), [CPU, CARD, replace(CPU, flavor="flavors/small", memory_bytes=GIB // 2)], 1500)
    assert [it.flavor for it in outlook.plans] == ["flavors/cpu", "flavors/h100"]
    assert [it.flavor for it in outlook.misfits] == ["flavors/small"]
    assert outlook.fastest is not None and (outlook.fastest.flavor, outlook.fastest.gpu) == ("flavors/h100", 1)
    assert outlook.cheapest is not None and outlook.cheapest.flavor == "flavors/cpu"
    assert all(it.tokens_per_second > 0 for it in outlook.plans)


def test_a_flavor_is_as_good_as_its_best_node() -> None:
    outlook = plan(job(), [replace(CPU, memory_bytes=GIB // 2), CPU], 1500)
    assert [it.flavor for it in outlook.plans] == ["flavors/cpu"] and outlook.misfits == []


def test_a_faster_card_is_faster_and_an_unknown_one_is_guessed() -> None:
    slow, fast, unknown = (
        plan(job(shape=LLAMA_8B), [replace(CARD, card_flops=flops, card_bandwidth=0)], 1500).fastest
        for flops in (121e12, 989e12, 0)
    )
    assert slow is not None and fast is not None and unknown is not None
    assert fast.seconds < slow.seconds < unknown.seconds


def test_what_fits_nowhere_is_refused_with_what_it_needs_and_what_there_is() -> None:
    outlook = plan(job(shape=TYPICAL[-1], lora_rank=0), [CPU, CARD], 1500)
    assert outlook.fastest is None and outlook.cheapest is None
    assert [it.reason for it in outlook.misfits] == ["NOT_ENOUGH_MEMORY", "NOT_ENOUGH_MEMORY"]
    assert all(isinstance(it, Misfit) and it.needed > it.available for it in outlook.misfits)


def test_a_place_with_less_cores_than_asked_gives_what_it_has_and_one_without_none() -> None:
    found = plan(job(), [replace(CPU, cpu_milli=1000)], 1500).fastest
    assert found is not None and found.cpu_milli == 1000
    assert plan(job(), [replace(CPU, cpu_milli=50)], 1500).misfits[0].reason == "NOT_ENOUGH_CPU"
    assert plan(job(), [], 1500) == Outlook([], [])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_presets_take_on_more_from_one_to_the_next_and_stay_within_bounds(recipe: Recipe) -> None:
    looks = (run_pb2.PRESET_QUICK_LOOK, run_pb2.PRESET_BALANCED, run_pb2.PRESET_BEST)
    asked = [recipes.hyperparameters(recipe, preset) for preset in looks]
    steps = [time.steps_of(Job(recipe.method, SMOLLM2, 1000, creation.as_dict(one))) for one in asked]
    rows = [n * one.batch_size * one.gradient_accumulation_steps for n, one in zip(steps, asked, strict=True)]
    assert steps[0] == 20 and rows[0] < rows[1] < rows[2]
    assert asked[1] == recipes.hyperparameters(recipe)
    assert [bool(one.lora_rank) for one in asked] == [bool(asked[1].lora_rank)] * 3
    for one in asked:
        creation.own_settings(recipe.method, one)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_sets_all_that_its_method_reads_within_bounds(recipe: Recipe) -> None:
    asked = recipes.hyperparameters(recipe)
    known = schema_of(Method(recipe.method))["properties"]
    assert {*creation.as_dict(asked), "own"} == {*known, "own"} - {"activation_checkpointing"}
    assert creation.own_settings(recipe.method, asked).model_dump(mode="json", exclude_none=True) == creation.as_dict(
        asked
    ).get("own", {})
