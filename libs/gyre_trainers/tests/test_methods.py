"""Every method end to end on a tiny model: the process, its reports and its result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from gyre_trainers import manifest
from gyre_trainers.methods import METHODS, Method


async def finished(launch: Any, spec: Path) -> None:
    trainer = await launch(spec)
    assert await trainer.code() == 0, trainer.log.read_text()


def result(objects: Path, run: str) -> dict[str, Any]:
    content = manifest.verified(objects / "runs" / run / "1")
    assert content is not None
    return content


async def test_supervised_fine_tuning_lowers_the_loss_and_leaves_a_verified_model(
    launch: Any, specs: Callable[..., Path], scheduler: Any, objects: Path
) -> None:
    await finished(launch, specs("sft", "SFT", hyperparameters={"max_steps": 30, "learning_rate": 1e-2}))

    losses = scheduler.curve("projects/acme/runs/sft", "loss")
    assert len(losses) == 30
    assert mean(losses[-5:]) < mean(losses[:5]) - 0.5
    completed = scheduler.completed["projects/acme/runs/sft"]
    content = result(objects, "sft")
    assert completed.steps == content["step"] == 30
    assert completed.manifest_uri == "gyre://runs/sft/1/manifest.json"
    assert completed.manifest_digest == f"sha256:{manifest.sha256(objects / 'runs/sft/1/manifest.json')}"
    paths = {entry["path"] for entry in content["files"]}
    assert {"model/model.safetensors", "model/config.json", "model/tokenizer.json"} <= paths
    assert "adapter/adapter_model.safetensors" in paths


async def test_direct_preference_optimisation_widens_the_margin(
    launch: Any, specs: Callable[..., Path], scheduler: Any
) -> None:
    await finished(launch, specs("dpo", "DPO", rows="PREFERENCE", hyperparameters={"max_steps": 20}))

    margins = scheduler.curve("projects/acme/runs/dpo", "rewards/margins")
    assert margins[0] == pytest.approx(0, abs=1e-4)
    assert mean(margins[-4:]) > 0.5


@pytest.fixture(scope="session")
async def reward_model(launch: Any, specs: Callable[..., Path], scheduler: Any) -> dict[str, str]:
    """The `reward_model` entry of a spec: the result of a REWARD run."""
    await finished(launch, specs("reward", "REWARD", rows="PREFERENCE", hyperparameters={"max_steps": 40}))
    completed = scheduler.completed["projects/acme/runs/reward"]
    return {"uri": "gyre://runs/reward/1", "digest": completed.manifest_digest}


async def test_a_reward_model_tells_chosen_from_rejected(reward_model: dict[str, str], scheduler: Any) -> None:
    assert mean(scheduler.curve("projects/acme/runs/reward", "accuracy")[-5:]) > 0.8


async def test_ppo_learns_from_a_reward_model(
    launch: Any, specs: Callable[..., Path], scheduler: Any, objects: Path, reward_model: dict[str, str]
) -> None:
    wanted = {"max_steps": 3, "max_new_tokens": 8, "learning_rate": 1e-3}
    await finished(launch, specs("ppo", "PPO", reward_model=reward_model, hyperparameters=wanted))

    assert len(scheduler.curve("projects/acme/runs/ppo", "objective/scores")) == 3
    assert result(objects, "ppo")["step"] == 3


async def test_grpo_learns_from_a_reward_model(
    launch: Any, specs: Callable[..., Path], scheduler: Any, objects: Path, reward_model: dict[str, str]
) -> None:
    wanted = {"max_steps": 3, "max_new_tokens": 8, "num_generations": 4}
    await finished(launch, specs("grpo", "GRPO", reward_model=reward_model, hyperparameters=wanted))

    assert len(scheduler.curve("projects/acme/runs/grpo", "reward")) == 3
    assert result(objects, "grpo")["step"] == 3


async def test_grpo_takes_its_rewards_from_graders_without_a_reward_model(
    launch: Any, specs: Callable[..., Path], scheduler: Any
) -> None:
    """From a model that has half learnt to answer, so that some answers are right."""
    taught = {"max_steps": 60, "lora_rank": 0, "learning_rate": 1e-2}
    await finished(launch, specs("taught", "SFT", hyperparameters=taught))
    base = {"uri": "gyre://runs/taught/1", "digest": scheduler.completed["projects/acme/runs/taught"].manifest_digest}
    schema = {"type": "object", "required": ["department", "reply"]}
    wanted = {
        "max_steps": 3,
        "batch_size": 32,
        "num_generations": 8,
        "max_new_tokens": 48,
        "own": {"graders": ["schema", "exact"], "answer_schema": json.dumps(schema)},
    }
    await finished(launch, specs("graded", "GRPO", base=base, hyperparameters=wanted))

    names = ("rewards/schema/mean", "rewards/exact/mean", "reward", "grad_norm")
    formed, right, together, gradients = (scheduler.curve("projects/acme/runs/graded", name) for name in names)
    assert 0 < mean(right) < mean(formed) < 1
    assert together == pytest.approx([one + other for one, other in zip(formed, right, strict=True)], abs=1e-5)
    assert min(gradients) > 0


async def test_continued_pre_training_learns_the_text_itself(
    launch: Any, specs: Callable[..., Path], scheduler: Any
) -> None:
    wanted = {"max_steps": 30, "learning_rate": 1e-2, "batch_size": 2, "max_length": 64}
    await finished(launch, specs("cpt", "CPT", hyperparameters=wanted))

    losses = scheduler.curve("projects/acme/runs/cpt", "loss")
    assert mean(losses[-5:]) < mean(losses[:5]) - 0.5


@pytest.mark.parametrize("method", Method)
async def test_two_runs_with_one_seed_agree_and_another_seed_does_not(
    method: str, launch: Any, specs: Callable[..., Path], objects: Path, scorer: dict[str, str]
) -> None:
    changes: dict[str, Any] = {"rows": METHODS[Method(method)].rows}
    if METHODS[Method(method)].own().needs_reward_model:
        changes["reward_model"] = scorer
    wanted = {"max_steps": 3, "max_new_tokens": 8}
    digests = []
    for at, seed in enumerate((7, 7, 8)):
        run = f"seed-{method.lower()}-{at}"
        await finished(launch, specs(run, method, seed=seed, hyperparameters=wanted, **changes))
        digests.append(manifest.sha256(objects / f"runs/{run}/1/model/model.safetensors"))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("method", ["KTO", "ORPO"])
async def test_other_preference_methods_run_and_lower_the_loss(
    method: str, launch: Any, specs: Callable[..., Path], scheduler: Any, objects: Path
) -> None:
    run = method.lower()
    await finished(launch, specs(run, method, rows="PREFERENCE", hyperparameters={"max_steps": 20}))

    losses = scheduler.curve(f"projects/acme/runs/{run}", "loss")
    assert mean(losses[-4:]) < mean(losses[:4])
    assert result(objects, run)["step"] == 20


async def test_training_all_weights_learns_faster_and_leaves_no_adapter(
    launch: Any, specs: Callable[..., Path], scheduler: Any, objects: Path
) -> None:
    wanted = {"max_steps": 60, "lora_rank": 0, "learning_rate": 1e-2}
    await finished(launch, specs("full", "SFT", hyperparameters=wanted))

    losses = scheduler.curve("projects/acme/runs/full", "loss")
    assert mean(losses[-5:]) < mean(losses[:5]) / 2
    paths = {entry["path"] for entry in result(objects, "full")["files"]}
    assert "model/model.safetensors" in paths
    assert not any(path.startswith("adapter/") for path in paths)
