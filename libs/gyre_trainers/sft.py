"""Supervised fine-tuning on conversations (TRL's SFTTrainer), without padding and without needless logits.

A batch is one sequence with positions that begin anew at each row (Transformers masks accordingly), and the head,
a fifth of a small model's work, sees only the tokens that have a label. `fit.SPEED` has the measurements.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.nn import functional
from trl import SFTConfig, SFTTrainer

from gyre_trainers import base, fit, lora, tokens

LEARNING_RATE: Final = 1e-3  # LoRA at rank 8 on a small model; falls to 0


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: loss, mean_token_accuracy, learning_rate, grad_norm, num_tokens."""
    rows, wanted = job.rows("messages"), job.hyperparameters
    tokenizer = base.load_tokenizer(job.base)
    dataset = tokens.training_rows(
        rows, tokenizer, max_length=wanted.max_length, assistant_only=wanted.assistant_only_loss
    )
    args = fit.arguments(
        job,
        SFTConfig,
        learning_rate=LEARNING_RATE,
        max_length=None,  # cut above
        padding_free=True,
        loss_type="nll",
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = LeanSFTTrainer(
        model=base.load_causal_lm(job.base),
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora.adapter_config(wanted),
    )
    return fit.fit(job, trainer)


class LeanSFTTrainer(SFTTrainer):  # type: ignore[misc]
    """Takes flattened batches (1 × tokens) alone."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood of the labelled tokens, over `num_items_in_batch` where batches accumulate."""
        labels = inputs.pop("labels")[0, 1:]
        places = (labels != tokens.IGNORED).nonzero(as_tuple=True)[0]
        outputs = model(**inputs, logits_to_keep=places, use_cache=False)
        logits, targets = outputs.logits[0].float(), labels[places]
        loss = functional.cross_entropy(logits, targets, reduction="sum") / (num_items_in_batch or len(targets))
        self._count(logits, targets, inputs["input_ids"].numel())
        return (loss, outputs) if return_outputs else loss

    def _count(self, logits: torch.Tensor, targets: torch.Tensor, seen: int) -> None:
        self._total_train_tokens += seen
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        accuracy = (logits.detach().argmax(dim=-1) == targets).float().mean().item()
        self._metrics["train"]["mean_token_accuracy"].append(accuracy)
