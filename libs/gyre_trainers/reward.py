"""A reward model from preferences (TRL's RewardTrainer): a language model whose head becomes one score."""

from __future__ import annotations

from typing import Final

from trl import RewardConfig, RewardTrainer

from gyre_trainers import base, data, fit, lora
from gyre_trainers.methods import RewardSettings

LEARNING_RATE: Final = 1e-3


def train(job: fit.Job) -> fit.Fitted:
    """Columns: prompt, chosen, rejected. Metrics: loss, accuracy, margin, {min,mean,max}_reward."""
    rows, wanted = job.rows(*data.PREFERENCE), job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    model = base.load_scorer(job.base, "base", fresh=True)
    model.config.pad_token_id = tokenizer.pad_token_id
    trainer = RewardTrainer(
        model=model,
        args=fit.arguments(
            job,
            RewardConfig,
            learning_rate=LEARNING_RATE,
            max_length=wanted.max_length,
            **wanted.own_of(RewardSettings).model_dump(),
        ),
        train_dataset=data.preferences(rows),
        processing_class=tokenizer,
        peft_config=lora.adapter_config(wanted, scorer=True),
    )
    fit.refuse_empty(trainer.train_dataset)
    return fit.fit(job, trainer)
