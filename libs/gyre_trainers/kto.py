"""Kahneman-Tversky optimisation (TRL's KTOTrainer): good and bad answers, not compared with each other."""

from __future__ import annotations

from typing import Final

from trl import KTOConfig, KTOTrainer

from gyre_trainers import base, data, fit, lora
from gyre_trainers.methods import KTOSettings

LEARNING_RATE: Final = 1e-4
BETA: Final = 0.1


def train(job: fit.Job) -> fit.Fitted:
    """Columns: prompt, chosen, rejected. Metrics: loss, rewards/{chosen,rejected,margins}, kl."""
    rows, wanted = job.rows(*data.PREFERENCE), job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    adapter = lora.adapter_config(wanted)
    trainer = KTOTrainer(
        model=base.load_causal_lm(job.base),
        ref_model=None if adapter else base.load_causal_lm(job.base),
        args=fit.arguments(
            job,
            KTOConfig,
            learning_rate=LEARNING_RATE,
            beta=BETA if wanted.beta is None else wanted.beta,
            max_length=wanted.max_length,
            **wanted.own_of(KTOSettings).model_dump(),
        ),
        train_dataset=data.judged(rows),
        processing_class=tokenizer,
        peft_config=adapter,
    )
    fit.refuse_empty(trainer.train_dataset)
    return fit.fit(job, trainer)
