"""Odds-ratio preference optimisation (trl.experimental.orpo): learns the chosen answer without a reference model."""

from __future__ import annotations

from typing import Final

from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from gyre_trainers import base, data, fit, lora

LEARNING_RATE: Final = 2e-4
BETA: Final = 0.1  # weight of the odds ratio beside the likelihood of the chosen answer


def train(job: fit.Job) -> fit.Fitted:
    """Columns: prompt, chosen, rejected. Metrics: loss, nll_loss, log_odds_ratio, rewards/…"""
    rows, wanted = job.rows(*data.PREFERENCE), job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    trainer = ORPOTrainer(
        model=base.load_causal_lm(job.base),
        args=fit.arguments(
            job,
            ORPOConfig,
            learning_rate=LEARNING_RATE,
            beta=BETA if wanted.beta is None else wanted.beta,
            max_length=wanted.max_length,
            remove_unused_columns=False,
        ),
        train_dataset=data.preferences(rows),
        processing_class=tokenizer,
        peft_config=lora.adapter_config(wanted),
    )
    return fit.fit(job, trainer)
