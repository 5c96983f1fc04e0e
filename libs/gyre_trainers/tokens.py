"""Conversations become tokens and labels: one pass of the tokenizer's own chat template, nothing counted twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gyre_trainers.data import REMEDY, Message, Row
from gyre_trainers.exits import BadInput
from gyre_trainers.tree import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset


def training_rows(rows: Iterable[Row], tokenizer: Any, *, max_length: int, assistant_only: bool) -> Dataset:
    """`input_ids` and `labels` for each conversation, cut to `max_length`; what has no label left is dropped.

    Raises: BadInput if nothing is left.
    """
    from datasets import Dataset

    encoded = [encode(row["messages"], tokenizer, max_length=max_length, assistant_only=assistant_only) for row in rows]
    kept = [row for row in encoded if any(label != IGNORED for label in row["labels"])]
    if encoded and not kept:
        raise BadInput("hyperparameters.max_length", "no row is short enough to hold an answer", "raise it")
    if not kept:
        raise BadInput("data", "no row has an assistant's message", REMEDY)
    return Dataset.from_list(kept)


def encode(messages: list[Message], tokenizer: Any, *, max_length: int, assistant_only: bool) -> dict[str, list[int]]:
    """One conversation. With `assistant_only` a token has a label if the assistant would have to generate it."""
    ids = template_ids(tokenizer, messages)
    labels = list(ids)
    if assistant_only:
        spans = [_span(tokenizer, messages, at, ids) for at, message in enumerate(messages) if _answers(message)]
        wanted = {at for span in spans for at in span}
        labels = [token if at in wanted else IGNORED for at, token in enumerate(ids)]
    labels[0] = IGNORED  # nothing comes before it
    return {"input_ids": ids[:max_length], "labels": labels[:max_length]}


def template_ids(tokenizer: Any, messages: list[Message], *, ask: bool = False) -> list[int]:
    """Tokens of `messages`; with `ask` up to where the assistant would begin."""
    ids: list[int] = tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=ask, return_dict=True, return_assistant_tokens_mask=False
    )["input_ids"]
    return ids


def _answers(message: Message) -> bool:
    return message["role"] == "assistant"


def _span(tokenizer: Any, messages: list[Message], at: int, whole: list[int]) -> range:
    """Where the turn `at` lies in `whole`: after the prompt that a server would send, up to the turn's end.

    A template that writes a turn differently once another follows has no such place: there the common beginning ends.
    """
    asked = template_ids(tokenizer, messages[:at], ask=True)
    answered = template_ids(tokenizer, messages[: at + 1])
    return range(common_beginning(asked, whole), common_beginning(answered, whole))


def common_beginning(left: list[int], right: list[int]) -> int:
    """How many tokens are the same from the start."""
    for at, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return at
    return min(len(left), len(right))
