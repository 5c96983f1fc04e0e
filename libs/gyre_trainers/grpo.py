"""Group-relative policy optimisation (TRL's GRPOTrainer): several answers to one prompt, scored by a reward model, by
graders that need none, or by both, whose scores are added."""

from __future__ import annotations

from typing import Any, Final

from trl import GRPOConfig, GRPOTrainer

from gyre_trainers import base, data, fit, graders, lora
from gyre_trainers.methods import GRPOSettings

LEARNING_RATE: Final = 1e-5
BETA: Final = 0.0  # as in TRL: no reference model
OURS: Final = {"graders", "answer_schema"}  # settings that TRL does not know


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: loss, reward, reward_std, rewards/<grader>/mean, completions/mean_length, entropy.

    A batch holds `num_generations` answers to each prompt, so the batch size is rounded up to a multiple of it.
    """
    rows, wanted = job.rows("messages"), job.hyperparameters
    tokenizer, own = base.load_tokenizer(job.base), wanted.own_of(GRPOSettings)
    rewards = rewards_of(job, own, tokenizer)
    args = fit.arguments(
        job,
        GRPOConfig,
        learning_rate=LEARNING_RATE,
        beta=BETA if wanted.beta is None else wanted.beta,
        num_generations=wanted.num_generations,
        max_completion_length=wanted.max_new_tokens,
        per_device_train_batch_size=-(-wanted.batch_size // wanted.num_generations) * wanted.num_generations,
        **own.model_dump(exclude=OURS),
    )
    trainer = GRPOTrainer(
        model=base.load_causal_lm(job.base),
        reward_funcs=rewards,
        args=args,
        train_dataset=data.prompts(rows),
        processing_class=tokenizer,
        reward_processing_classes=[tokenizer] * len(rewards),
        peft_config=lora.adapter_config(wanted),
    )
    return fit.fit(job, trainer)


def rewards_of(job: fit.Job, own: GRPOSettings, tokenizer: Any) -> list[Any]:
    """The reward model, where there is one, and the graders."""
    named = graders.graders_of(own.graders, own.answer_schema)
    found: list[Any] = [graders.as_reward(name, grade) for name, grade in named.items()]
    if job.reward_model is None:
        return found
    base.refuse_another_tokenizer(job.reward_model, tokenizer)
    scorer = base.load_scorer(job.reward_model)
    scorer.config.pad_token_id = tokenizer.pad_token_id
    return [scorer, *found]
