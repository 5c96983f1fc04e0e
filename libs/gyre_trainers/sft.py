"""Supervised fine-tuning on conversations: TRL's SFTTrainer, its batches as trees of tokens (tree.py).

fit.py has the measurements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional
from trl import SFTConfig, SFTTrainer

from gyre_trainers import base, fit, lora, tokens, tree

if TYPE_CHECKING:
    from datasets import Dataset

LEARNING_RATE: Final = 1e-3  # LoRA at rank 8 on a small model; falls to 0


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: loss, mean_token_accuracy, learning_rate, grad_norm, num_tokens."""
    wanted, tokenizer = job.hyperparameters, base.load_tokenizer(job.base)
    rows = tokens.training_rows(
        job.rows("messages"), tokenizer, max_length=wanted.max_length, assistant_only=wanted.assistant_only_loss
    )
    return on_tokens(job, rows, tokenizer, LEARNING_RATE)


def on_tokens(job: fit.Job, rows: Dataset, tokenizer: Any, learning_rate: float) -> fit.Fitted:
    """Columns: input_ids, labels."""
    model = base.load_causal_lm(job.base)
    trainer = LeanSFTTrainer(
        model=model,
        args=fit.arguments(
            job,
            SFTConfig,
            learning_rate=learning_rate,
            max_length=None,  # the rows are cut
            loss_type="nll",
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=Collator(share=tree.may_share(model)),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora.adapter_config(job.hyperparameters),
    )
    return fit.fit(job, trainer)


class Collator:
    """`trees`, and the labels by which the Trainer counts what the batches of one step hold together.

    It looks for `labels` and counts `shift_labels` where there are any; of `labels` alone it would leave out the first.
    """

    def __init__(self, *, share: bool) -> None:
        self._share = share

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        trees = tree.plant((tree.Row(row["input_ids"], row["labels"]) for row in rows), share=self._share)
        targets = torch.cat([planted["targets"] for planted in trees])
        return {"trees": trees, "labels": targets, "shift_labels": targets}


class LeanSFTTrainer(SFTTrainer):  # type: ignore[misc]
    """Takes batches of `Collator`."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean negative log-likelihood of the labelled tokens, over `num_items_in_batch` where batches accumulate."""
        wanted = num_items_in_batch or len(inputs["labels"])
        loss, hits = torch.zeros((), device=inputs["labels"].device), 0
        for planted in inputs["trees"]:
            logits = tree.logits_of(model, planted)
            loss = loss + functional.cross_entropy(logits, planted["targets"], reduction="sum") / wanted
            hits += int((logits.detach().argmax(dim=-1) == planted["targets"]).sum())
            self._total_train_tokens += planted["input_ids"].numel()
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        self._metrics["train"]["mean_token_accuracy"].append(hits / len(inputs["labels"]))
        return (loss, {}) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # nobody asks, and the Trainer's estimate wants padded batches
