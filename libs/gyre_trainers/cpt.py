"""Continued pre-training: every token of the text is learned from, without a chat template, in rows of one length."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from trl import SFTConfig

from gyre_trainers import base, data, fit, lora, tree
from gyre_trainers.exits import BadInput
from gyre_trainers.sft import Collator, LeanSFTTrainer

if TYPE_CHECKING:
    from datasets import Dataset

LEARNING_RATE: Final = 2e-4


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: loss, mean_token_accuracy, learning_rate, grad_norm, num_tokens."""
    rows, wanted = job.rows("messages"), job.hyperparameters
    tokenizer, model = base.load_tokenizer(job.base), base.load_causal_lm(job.base)
    trainer = LeanSFTTrainer(
        model=model,
        args=fit.arguments(
            job,
            SFTConfig,
            learning_rate=LEARNING_RATE,
            max_length=None,  # cut below
            loss_type="nll",
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=Collator(share=tree.may_share(model)),
        train_dataset=blocks(rows, tokenizer, wanted.max_length),
        processing_class=tokenizer,
        peft_config=lora.adapter_config(wanted),
    )
    return fit.fit(job, trainer)


def blocks(rows: list[data.Row], tokenizer: Any, length: int) -> Dataset:
    """What the messages of all rows say, row after row, each closed by the eos token, in blocks of `length` tokens. The
    last one is shorter. Raises: BadInput if there is no text.
    """
    from datasets import Dataset

    texts = ["\n\n".join(message["content"] for message in row["messages"]) for row in rows]
    encoded = (
        tokenizer([text for text in texts if text.strip()], add_special_tokens=False)["input_ids"] if texts else []
    )
    stream = list(chain.from_iterable([*ids, tokenizer.eos_token_id] for ids in encoded))
    cut = [stream[at : at + length] for at in range(0, len(stream), length)]
    kept = [{"input_ids": ids, "labels": [tree.IGNORED, *ids[1:]]} for ids in cut if len(ids) > 1]
    if not kept:
        raise BadInput("data", "the rows hold no text", data.REMEDY)
    return Dataset.from_list(kept)
