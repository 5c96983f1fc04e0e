"""Proximal policy optimisation: the only file that knows `trl.experimental.ppo`, which is gone from TRL 1.13 on.

TRL's loop cannot go on from a checkpoint. Here it does: policy, value model, optimizer, schedule and random state are
loaded, and the loop is given the steps that are left. The order of prompts begins anew.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerState
from trl.experimental.ppo import PPOConfig, PPOTrainer

from gyre_trainers import base, data, fit, lora, tokens
from gyre_trainers.callbacks import Progress
from gyre_trainers.exits import BadInput

LEARNING_RATE: Final = 1e-5
KL_COEFFICIENT: Final = 0.05
VALUE_MODEL: Final = "value_model.safetensors"


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: objective/{scores,kl,rlhf_reward}, loss/{policy,value}_avg, policy/…

    A step is one batch of answers, learned from `num_ppo_epochs` (4) times.
    """
    rows, wanted = job.rows("messages"), job.hyperparameters
    tokenizer = with_own_pad_token(base.load_tokenizer(job.base))
    dataset = queries(rows, tokenizer, wanted.max_length)
    steps = wanted.max_steps or max(1, int(wanted.epochs * len(dataset) // batch_rows(wanted)))
    trainer = build(job, tokenizer, dataset, steps)
    resume = fit.resume(job)
    done = resume.step if resume else 0
    value_model = trainer.accelerator.unwrap_model(trainer.model).value_model
    keep_value_model = partial(save_value_model, value_model)
    progress = Progress(job.spec, job.store, job.reporter, done, keep_value_model, job.back)
    if resume is not None:
        load_checkpoint(trainer, value_model, resume.folder)
        trainer.args.num_total_batches = steps - done
        trainer.add_callback(GoOn(done, steps, wanted.batch_size))
    fit.prepare(trainer, progress)
    fit.loop(trainer)
    policy = trainer.accelerator.unwrap_model(trainer.model).policy
    return fit.Fitted(policy, tokenizer, trainer.state.global_step, progress.last_metrics)


def batch_rows(wanted: Any) -> int:
    return int(wanted.batch_size * wanted.gradient_accumulation_steps)


def build(job: fit.Job, tokenizer: Any, dataset: Any, steps: int) -> PPOTrainer:
    """The trainer with policy, scorer and value model. Raises: BadInput for fewer prompts than a batch holds."""
    wanted = job.hyperparameters
    if len(dataset) < batch_rows(wanted):
        raise BadInput("hyperparameters.batch_size", f"only {len(dataset)} prompts", "lower it, or give more rows")
    args = fit.arguments(
        job,
        PPOConfig,
        learning_rate=LEARNING_RATE,
        kl_coef=KL_COEFFICIENT if wanted.beta is None else wanted.beta,
        response_length=wanted.max_new_tokens,
        stop_token="eos",
        missing_eos_penalty=1.0,
        num_mini_batches=1,
        total_episodes=steps * batch_rows(wanted),
        local_rollout_forward_batch_size=batch_rows(wanted),
        num_sample_generations=0,
    )
    scorer = fit.needed(job.reward_model)
    adapter = lora.adapter_config(wanted)
    models = {
        "model": base.load_causal_lm(job.base),
        "ref_model": None if adapter else base.load_causal_lm(job.base),
        "reward_model": base.load_scorer(scorer),
        "value_model": base.load_scorer(scorer),
    }
    return PPOTrainer(
        args=args,
        processing_class=tokenizer,
        train_dataset=dataset,
        eval_dataset=dataset,  # never evaluated, but the trainer builds a loader for it
        peft_config=adapter,
        **models,
    )


def with_own_pad_token(tokenizer: Any) -> Any:
    """Padding on the left by a token that no answer ends with, for this loop takes every pad token for padding."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        others = [token for token in tokenizer.all_special_tokens if token != tokenizer.eos_token]
        if not others:
            raise BadInput("base.uri", "its tokenizer has no pad token but eos", "give it a pad token of its own")
        tokenizer.pad_token = others[0] if tokenizer.unk_token is None else tokenizer.unk_token
    return tokenizer


def queries(rows: list[data.Row], tokenizer: Any, max_length: int) -> Any:
    """`input_ids` of each prompt up to where the answer begins; too long ones lose their beginning."""
    from datasets import Dataset

    asked = data.prompts(rows)["prompt"]
    return Dataset.from_list(
        [{"input_ids": tokens.template_ids(tokenizer, prompt, ask=True)[-max_length:]} for prompt in asked]
    )


def save_value_model(value_model: Any, folder: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in value_model.state_dict().items()}, folder / VALUE_MODEL)


def load_checkpoint(trainer: Any, value_model: Any, folder: Path) -> None:
    """Weights by safetensors; optimizer, schedule and random state by archives that can hold no code."""
    from peft import PeftModel, load_peft_weights, set_peft_model_state_dict

    policy = trainer.accelerator.unwrap_model(trainer.model).policy
    if isinstance(policy, PeftModel):
        set_peft_model_state_dict(policy, load_peft_weights(os.fspath(folder), device="cpu"))
    else:
        policy.load_state_dict(load_file(folder / "model.safetensors"), strict=False)  # tied weights are stored once
    value_model.load_state_dict(load_file(folder / VALUE_MODEL))
    trainer.optimizer.load_state_dict(torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True))
    trainer.lr_scheduler.load_state_dict(torch.load(folder / "scheduler.pt", weights_only=True))
    trainer._load_rng_state(os.fspath(folder))


class GoOn(TrainerCallback):  # type: ignore[misc]
    """TRL counts from 0; this puts the count right before the first step."""

    def __init__(self, done: int, steps: int, batch_rows: int) -> None:
        self._done, self._steps, self._batch_rows = done, steps, batch_rows

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        state.global_step, state.max_steps = self._done, self._steps
        state.episode = self._done * self._batch_rows
