"""TRL 1.12's PPOTrainer made to see what ours sees: the only file that knows `trl.experimental.ppo`, gone from 1.13 on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import pytest
import torch
from datasets import Dataset
from gyre_trainers import fit, ppo, sampling
from gyre_trainers.methods import PPOSettings
from gyre_trainers.settings import Hyperparameters
from torch import Tensor
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer


class Batches:
    """Ours, in our order; before each, torch's random state is set as ours is."""

    def __init__(self, prompts: list[list[int]], wanted: Hyperparameters, seed: int, pad: int) -> None:
        self._prompts, self._rows, self._seed, self._pad = prompts, wanted.step_rows, seed, pad

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for step in range(10**9):
            torch.manual_seed(ppo.seed_of(self._seed, step))
            batch = ppo.batch_of(self._prompts, step, self._rows, self._seed)
            yield {"input_ids": sampling.left_padded(batch, self._pad)[0]}


def trainer(
    models: dict[str, Any], tokenizer: Any, prompts: list[list[int]], wanted: Hyperparameters, steps: int, output: Path
) -> PPOTrainer:
    """`models`: model, ref_model, reward_model, value_model. The tokenizer needs a pad token that is not its eos."""
    job: Any = SimpleNamespace(hyperparameters=wanted, output=output, spec=SimpleNamespace(seed=7))
    settings = wanted.own_of(PPOSettings)
    args = fit.arguments(
        job,
        PPOConfig,
        learning_rate=ppo.LEARNING_RATE,
        kl_coef=wanted.beta,
        kl_estimator=settings.kl_estimator,
        response_length=wanted.max_new_tokens,
        temperature=settings.temperature,
        stop_token="eos",
        missing_eos_penalty=settings.missing_eos_penalty,
        whiten_rewards=settings.whiten_rewards,
        num_ppo_epochs=settings.num_ppo_epochs,
        cliprange=settings.cliprange,
        cliprange_value=settings.cliprange_value,
        vf_coef=settings.vf_coef,
        gamma=settings.gamma,
        lam=settings.lam,
        total_episodes=steps * wanted.step_rows,
        local_rollout_forward_batch_size=wanted.step_rows,
        num_sample_generations=0,
    )
    tokenizer.padding_side = "left"
    dataset = Dataset.from_list([{"input_ids": ids} for ids in prompts])
    found = PPOTrainer(args, tokenizer, train_dataset=dataset, eval_dataset=dataset, **models)
    found.dataloader = Batches(prompts, wanted, 7, tokenizer.pad_token_id)
    return found


def advantages_seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Fills as TRL trains: its advantages, whitened, one entry a step."""
    seen: list[Tensor] = []
    plain = ppo_trainer.masked_whiten

    def recorded(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
        whitened: Tensor = plain(values, mask, shift_mean)
        if shift_mean:  # rewards are not shifted
            seen.append(whitened * mask)
        return whitened

    monkeypatch.setattr(ppo_trainer, "masked_whiten", recorded)
    return seen


def shuffle_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.random, "permutation", lambda count: torch.randperm(count).numpy())


def collect_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL does so twice a step, which takes longer than the step where all of a test run is in memory."""
    monkeypatch.setattr(ppo_trainer, "gc", SimpleNamespace(collect=lambda: 0))
