"""Continued pre-training: every token of the text is learned from, without a chat template, in rows of one length."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from gyre_trainers import base, data, fit, sft, tree
from gyre_trainers.exits import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

LEARNING_RATE: Final = 2e-4


def train(job: fit.Job) -> fit.Fitted:
    """Columns: messages. Metrics: loss, mean_token_accuracy, learning_rate, grad_norm, num_tokens."""
    tokenizer = base.load_tokenizer(job.base)
    rows = blocks(job.rows("messages"), tokenizer, job.hyperparameters.max_length)
    return sft.on_tokens(job, rows, tokenizer, LEARNING_RATE)


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
