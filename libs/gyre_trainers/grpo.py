"""Group-relative policy optimisation (TRL's GRPOTrainer): several answers to one prompt, scored by a reward model."""

from __future__ import annotations

from typing import Final

from trl import GRPOConfig, GRPOTrainer

from gyre_trainers import base, data, fit, lora
from gyre_trainers.methods import GRPOSettings

LEARNING_RATE: Final = 1e-5
BETA: Final = 0.0  # as in TRL: no reference model


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: loss, reward, reward_std, completions/mean_length, entropy.

    A batch holds `num_generations` answers to each prompt, so the batch size is rounded up to a multiple of it.
    """
    rows, wanted = job.rows("messages"), job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    scorer = base.load_scorer(fit.needed(job.reward_model))
    scorer.config.pad_token_id = tokenizer.pad_token_id
    args = fit.arguments(
        job,
        GRPOConfig,
        learning_rate=LEARNING_RATE,
        beta=BETA if wanted.beta is None else wanted.beta,
        num_generations=wanted.num_generations,
        max_completion_length=wanted.max_new_tokens,
        **wanted.own_of(GRPOSettings).model_dump(),
        per_device_train_batch_size=-(-wanted.batch_size // wanted.num_generations) * wanted.num_generations,
    )
    trainer = GRPOTrainer(
        model=base.load_causal_lm(job.base),
        reward_funcs=scorer,
        args=args,
        train_dataset=data.prompts(rows),
        processing_class=tokenizer,
        reward_processing_classes=tokenizer,
        peft_config=lora.adapter_config(wanted),
    )
    return fit.fit(job, trainer)
