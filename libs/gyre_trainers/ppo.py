"""Proximal policy optimisation from a reward model, on Transformers and PEFT alone; ppo_formulas.py has the mathematics.

The policy and the value model (which begins as the reward model) learn together. With LoRA the reference is the policy
without its adapter, and the reward model is the value model without its own: two sets of weights rather than four.
All that is random in a step follows from the seed and the step's number, so a checkpoint needs no random state. Dropout
is off. docs/explanation/ppo.md says how to read the metrics, and where this differs from TRL's PPO.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from gyre_trainers import base, data, fit, sampling, tokens
from gyre_trainers import ppo_formulas as formulas
from gyre_trainers.callbacks import Progress, Steps
from gyre_trainers.exits import BadInput
from gyre_trainers.methods import PPOSettings
from gyre_trainers.ppo_models import Models, load_models
from gyre_trainers.settings import Hyperparameters

LEARNING_RATE: Final = 1e-5
KL_COEFFICIENT: Final = 0.05
STATE: Final = "state.pt"
Metrics = dict[str, float]


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: see docs/explanation/ppo.md. A step is one batch of answers.

    Raises: BadInput, also where the loss is no number any more; Stopped; Unwell; RolledBack.
    """
    wanted = job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    base.refuse_another_tokenizer(fit.needed(job.reward_model), tokenizer)
    prompts = prompts_of(job.rows("messages"), tokenizer, wanted)
    steps = wanted.max_steps or max(1, int(wanted.epochs * len(prompts) // wanted.step_rows))
    models = load_models(job)
    learner = Learner(models, wanted, steps, tokenizer)
    resume = fit.resume(job)
    if resume is not None:
        learner.load(resume.folder)
    elif job.begin_from is not None:
        models.load(job.begin_from)
    done = resume.step if resume else 0
    progress = Progress(job.spec, job.store, job.reporter, done, learner.save, job.back)
    loop = Steps(progress, learner.schedule, job.output, done, steps)
    for step in loop:
        torch.manual_seed(seed_of(job.spec.seed, step))
        rollout = learner.collect(batch_of(prompts, step, wanted.step_rows, job.spec.seed))
        loop.report(learner.learn(rollout))
    return fit.Fitted(models.policy, tokenizer, loop.done, progress.last_metrics)


# What a step learns from


def prompts_of(rows: list[data.Row], tokenizer: Any, wanted: Hyperparameters) -> list[list[int]]:
    """Tokens of each prompt up to where the answer begins; too long ones lose their beginning.

    Raises: BadInput for fewer prompts than a batch holds.
    """
    asked = data.prompts(rows)["prompt"]
    if len(asked) < wanted.step_rows:
        raise BadInput("hyperparameters.batch_size", f"only {len(asked)} prompts", "lower it, or give more rows")
    return [tokens.template_ids(tokenizer, prompt, ask=True)[-wanted.max_length :] for prompt in asked]


def batch_of(prompts: list[list[int]], step: int, rows: int, seed: int) -> list[list[int]]:
    """Each pass over the prompts has an order of its own; what fills no batch is left for another pass."""
    each_pass = len(prompts) // rows
    order = random.Random(seed_of(seed, -1 - step // each_pass)).sample(range(len(prompts)), len(prompts))
    at = step % each_pass * rows
    return [prompts[row] for row in order[at : at + rows]]


def seed_of(seed: int, step: int) -> int:
    return random.Random(f"{seed} {step}").getrandbits(63)


# One step


@dataclass(frozen=True)
class Rollout:
    """A batch of answers with what was known when they were given. Rows × (prompt + answer) tokens in `ids`."""

    ids: Tensor
    attended: Tensor
    answered: Tensor  # rows × answer tokens, true up to the end, as all below are of that shape
    valued: Tensor  # one further, where the whole answer has been read
    log_probabilities: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    metrics: Metrics


class Learner:
    """Policy and value model with their optimizer, schedule and KL coefficient: what a checkpoint holds."""

    def __init__(self, models: Models, wanted: Hyperparameters, steps: int, tokenizer: Any) -> None:
        self.models, self.wanted, self.settings = models, wanted, wanted.own_of(PPOSettings)
        self.eos, self.pad = tokenizer.eos_token_id, tokenizer.pad_token_id
        self.kl_coefficient = KL_COEFFICIENT if wanted.beta is None else wanted.beta
        self.optimizer = torch.optim.AdamW(
            models.trainable,
            lr=wanted.learning_rate or LEARNING_RATE,
            weight_decay=wanted.weight_decay,
            fused=True,
        )
        warmup = math.ceil(steps * wanted.warmup_ratio)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, warmup, steps)

    def collect(self, prompts: list[list[int]]) -> Rollout:
        """Answers → scores → log-probabilities → KL-shaped rewards → advantages."""
        device = self.models.policy.device
        ids, attended = (tensor.to(device) for tensor in sampling.left_padded(prompts, self.pad))
        with torch.no_grad():
            return self._judge(ids, attended, self._answer(ids, attended))

    def _answer(self, ids: Tensor, attended: Tensor) -> Tensor:
        return sampling.sample(
            self.models.policy,
            ids,
            attended,
            new_tokens=self.wanted.max_new_tokens,
            temperature=self.settings.temperature,
            eos=self.eos,
            pad=self.pad,
        )

    def _judge(self, ids: Tensor, attended: Tensor, answers: Tensor) -> Rollout:
        settings, width = self.settings, answers.shape[1]
        answered = sampling.answered(answers, self.eos)
        ids, attended = torch.cat([ids, answers], dim=1), torch.cat([attended, answered], dim=1)
        lengths = answered.sum(dim=1)
        valued = torch.arange(width, device=ids.device) <= lengths.unsqueeze(1)

        ended = (answers == self.eos).any(dim=1)
        scores = self.models.scores(ids, attended, lengths, width) - settings.missing_eos_penalty * ~ended
        logits = self.models.logits(ids, attended, width, settings.temperature)
        policy = formulas.log_probabilities(logits, answers) * answered
        entropy = formulas.entropies(logits)
        logits = self.models.reference_logits(ids, attended, width, settings.temperature)
        reference = formulas.log_probabilities(logits, answers) * answered
        values = self.models.values(ids, attended, width) * valued

        kl = formulas.kl_divergence(policy, reference, answered, settings.kl_estimator)
        rewards = formulas.shaped_rewards(scores, kl, self.kl_coefficient, lengths)
        if settings.whiten_rewards:
            rewards = formulas.whiten(rewards, valued, shift_mean=False)
        advantages = formulas.advantages_of(rewards, values, gamma=settings.gamma, lam=settings.lam)
        returns = advantages + values
        metrics = {
            "objective/kl": kl.sum(dim=1).mean(),
            "objective/kl_coef": self.kl_coefficient,
            "objective/entropy": -policy.sum(dim=1).mean(),
            "objective/non_score_reward": -self.kl_coefficient * kl.sum(dim=1).mean(),
            "objective/rlhf_reward": (scores - self.kl_coefficient * kl.sum(dim=1)).mean(),
            "objective/scores": scores.mean(),
            "objective/scores_std": scores.std(correction=0),
            "answers/length": lengths.float().mean(),
            "answers/eos_share": ended.float().mean(),
            "answers/repetition": sampling.repetition(answers, lengths),
            "policy/entropy_avg": formulas.masked_mean(entropy, answered),
            "val/explained_variance": formulas.explained_variance(values, returns, valued),
        }
        return Rollout(
            ids=ids,
            attended=attended,
            answered=answered,
            valued=valued,
            log_probabilities=policy,
            values=values,
            advantages=formulas.whiten(advantages, answered),
            returns=returns,
            metrics={name: float(value) for name, value in metrics.items()},
        )

    def learn(self, rollout: Rollout) -> Metrics:
        """Epochs of minibatches with clipped losses; the KL coefficient and the learning rate move once a step.

        Raises: BadInput where a loss is no number.
        """
        rows, rate = len(rollout.ids), self.schedule.get_last_lr()[0]
        seen: list[Metrics] = []
        for _ in range(self.settings.num_ppo_epochs):
            for minibatch in torch.randperm(rows).split(rows // self.settings.num_mini_batches):
                seen.append(self._update(rollout, minibatch.to(rollout.ids.device)))
        self.schedule.step()
        if self.settings.kl_target is not None:
            self.kl_coefficient = formulas.adapted_coefficient(
                self.kl_coefficient,
                rollout.metrics["objective/kl"],
                self.settings.kl_target,
                rows,
                self.settings.kl_horizon,
            )
        ratios = torch.tensor([metrics["val/ratio"] for metrics in seen])
        means = {name: sum(metrics[name] for metrics in seen) / len(seen) for name in seen[0]}
        return {
            **rollout.metrics,
            **means,
            "val/ratio_var": float(ratios.var(correction=0)),
            "learning_rate": rate,
        }

    def _update(self, rollout: Rollout, minibatch: Tensor) -> Metrics:
        """One optimizer step. Losses are means over the minibatch's tokens, however many passes it takes."""
        answered, valued = rollout.answered[minibatch].sum(), rollout.valued[minibatch].sum()
        totals: dict[str, Tensor] = {}
        for rows in minibatch.split(self.wanted.batch_size):
            sums = self._losses(rollout, rows, answered, valued)
            (sums["loss/policy_avg"] + self.settings.vf_coef * sums["loss/value_avg"]).backward()
            totals = {name: totals.get(name, 0) + value.detach() for name, value in sums.items()}
        totals["grad_norm"] = torch.nn.utils.clip_grad_norm_(self.models.trainable, self.settings.max_grad_norm)
        if not math.isfinite(totals["grad_norm"]):
            raise BadInput("hyperparameters.learning_rate", "the loss is no number any more", "lower it")
        self.optimizer.step()
        self.optimizer.zero_grad()
        return {name: float(value) for name, value in totals.items()}

    def _losses(self, rollout: Rollout, rows: Tensor, answered: Tensor, valued: Tensor) -> dict[str, Tensor]:
        """Sums over the tokens of `rows`, divided by the whole minibatch's counts."""
        ids, attended, mask, value_mask = (
            whole[rows] for whole in (rollout.ids, rollout.attended, rollout.answered, rollout.valued)
        )
        width, old = mask.shape[1], rollout.log_probabilities[rows]
        logits = self.models.logits(ids, attended, width, self.settings.temperature)
        new = formulas.log_probabilities(logits, ids[:, -width:]) * mask
        policy, clipped = formulas.policy_losses(new, old, rollout.advantages[rows], self.settings.cliprange)
        values = self.models.values(ids, attended, width) * value_mask
        value, values_clipped = formulas.value_losses(
            values, rollout.values[rows], rollout.returns[rows], self.settings.cliprange_value
        )
        change = (new - old).detach()
        return {
            "loss/policy_avg": (policy * mask).sum() / answered,
            "loss/value_avg": (value * value_mask).sum() / valued,
            "policy/approxkl_avg": 0.5 * (change**2 * mask).sum() / answered,
            "policy/clipfrac_avg": (clipped * mask).sum() / answered,
            "val/clipfrac_avg": (values_clipped * value_mask).sum() / valued,
            "val/ratio": (change.exp() * mask).sum() / answered,
        }

    def save(self, folder: Path) -> None:
        """Adapters or weights as safetensors; the rest as an archive that can hold no code."""
        self.models.save(folder)
        state = {
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "kl_coefficient": self.kl_coefficient,
        }
        torch.save(state, folder / STATE)

    def load(self, folder: Path) -> None:
        self.models.load(folder)
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.kl_coefficient = state["kl_coefficient"]
