from __future__ import annotations

from dataclasses import replace

from services.training_scheduler import planner
from services.training_scheduler.planner import Job, Misfit, Place
from services.training_scheduler.recipes import RECIPES, default_of, fault

GIB = 2**30
CPU = Place("flavors/cpu", cpu_milli=2000, memory_bytes=24 * GIB, cpu_hour_microusd=40_000)
CARD = Place("flavors/h100", cpu_milli=16_000, memory_bytes=128 * GIB, cards=[80 * GIB], gpu_hour_microusd=2_000_000)


def job(method: str = "SFT", parameters: int = 135_000_000, rows: int = 240, **given: float) -> Job:
    return Job(method, parameters, rows, {**default_of(method).hyperparameters, **given})


def test_epochs_decide_the_steps_unless_max_steps_does() -> None:
    assert planner.steps_of(job(epochs=3)) == 180
    assert planner.steps_of(job(max_steps=20)) == 20
    assert planner.steps_of(job(rows=5, epochs=1)) == 2


def test_the_demo_s_run_is_estimated_within_a_factor_of_two_of_what_was_measured() -> None:
    plan, misfits = planner.plan(job(max_length=80), [CPU], 1500)
    assert plan is not None and misfits == []
    assert 288 / 2 < plan.seconds < 288 * 2
    assert 1.75e9 / 2 < plan.memory_bytes < 1.75e9 * 2
    assert plan.cost_microusd == round(plan.seconds / 3600 * 1.5 * 40_000)


def test_a_trainer_leaves_room_for_a_replica_on_two_cores() -> None:
    plan, _ = planner.plan(job(), [CPU], 1500)
    assert plan is not None and plan.cpu_milli + 250 <= CPU.cpu_milli
    assert planner.threads_of(plan.cpu_milli) == 2


def test_the_faster_place_is_chosen() -> None:
    plan, _ = planner.plan(job(), [CPU, CARD], 1500)
    assert plan is not None and (plan.flavor, plan.gpu) == ("flavors/h100", 1)


def test_what_fits_nowhere_is_refused_with_what_it_needs_and_what_there_is() -> None:
    plan, misfits = planner.plan(job(parameters=70_000_000_000), [CPU, CARD], 1500)
    assert plan is None
    assert [it.reason for it in misfits] == ["NOT_ENOUGH_MEMORY", "NOT_ENOUGH_MEMORY"]
    assert all(isinstance(it, Misfit) and it.needed > it.available for it in misfits)


def test_training_all_weights_needs_more_memory_than_lora() -> None:
    lora, _ = planner.plan(job(), [CPU], 1500)
    full, _ = planner.plan(job(lora_rank=0), [CPU], 1500)
    assert lora is not None and full is not None and full.memory_bytes > lora.memory_bytes


def test_a_place_with_less_cores_than_asked_gives_what_it_has() -> None:
    plan, _ = planner.plan(job(), [replace(CPU, cpu_milli=1000)], 1500)
    assert plan is not None and plan.cpu_milli == 1000


def test_every_recipe_is_within_the_bounds_that_the_trainers_take() -> None:
    for recipe in RECIPES:
        assert not [fault(name, value) for name, value in recipe.hyperparameters.items() if fault(name, value)]
    assert fault("learning_rate", 2) == "must be from 1e-09 to 1"
