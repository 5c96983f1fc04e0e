"""Answers to a few fixed prompts while a model learns: before the first step, at checkpoints, and at the end.

They change nothing: no random number is drawn, no gradient kept, and what the model was doing it goes on doing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from gyre_trainers.data import Message, Row
from gyre_trainers.methods import Method

log = logging.getLogger("gyre_trainers.samples")

PROMPTS: Final = 3
NEW_TOKENS: Final = 64
SHARE: Final = 0.02
LONGEST_PROMPT: Final = 512  # tokens; longer ones would take more time than they tell
ANSWERING: Final = frozenset({Method.SFT, Method.DPO, Method.KTO, Method.ORPO, Method.GRPO})


@dataclass(frozen=True)
class Sample:
    """What the model answered after `step` steps; `expected` is what its row says."""

    step: int
    number: int
    prompt: str
    expected: str
    answer: str


@dataclass(frozen=True)
class Question:
    """`ids`: the prompt's tokens."""

    ids: list[int]
    prompt: str
    expected: str


class Sampler:
    """Of one run. `rows` are the first of its data; too long a prompt is passed over."""

    def __init__(self, rows: Sequence[Row], tokenizer: Any, clock: Callable[[], float] = time.monotonic) -> None:
        asked = (question(row, tokenizer) for row in rows)
        short = [each for each in asked if each is not None and len(each.ids) <= LONGEST_PROMPT]
        self._questions, self._tokenizer, self._clock = short[:PROMPTS], tokenizer, clock
        self._began, self._spent = clock(), 0.0

    def take(self, model: Any, step: int, *, at_an_end: bool = False) -> list[Sample]:
        """Between the ends none while more than SHARE of the time has gone into samples; and none where the model cannot
        answer, for a sample is not worth a run."""
        now = self._clock()
        if not self._questions or (not at_an_end and self._spent > SHARE * (now - self._began)):
            return []
        try:
            return self._taken(model, step)
        finally:
            self._spent += self._clock() - now

    def _taken(self, model: Any, step: int) -> list[Sample]:
        try:
            with at_rest(model):
                said = answers(model, [each.ids for each in self._questions], self._tokenizer)
        except (RuntimeError, ValueError, IndexError) as error:
            log.warning("no samples at step %d: %s", step, error)
            return []
        return [
            Sample(step, number, each.prompt, each.expected, answer)
            for number, (each, answer) in enumerate(zip(self._questions, said, strict=True), 1)
        ]


def question(row: Row, tokenizer: Any) -> Question | None:
    """The row's prompt as a server would send it; None for a row that has no answer at its end."""
    from gyre_trainers.tokens import template_ids

    prompt, expected = _parts(row)
    if not prompt or not expected:
        return None
    return Question(template_ids(tokenizer, prompt, ask=True), str(prompt[-1]["content"]), str(expected["content"]))


def _parts(row: Row) -> tuple[list[Message], Message | None]:
    if "chosen" in row:
        return row["prompt"], row["chosen"][-1] if row["chosen"] else None
    messages = row["messages"]
    answers = bool(messages) and messages[-1]["role"] == "assistant"
    return (messages[:-1], messages[-1]) if answers else ([], None)


def answers(model: Any, prompts: Sequence[list[int]], tokenizer: Any) -> list[str]:
    """The likeliest token each time, all prompts at once."""
    from gyre_trainers.sampling import left_padded, sample

    device = next(model.parameters()).device
    eos = tokenizer.eos_token_id
    pad = eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    ids, attended = (each.to(device) for each in left_padded(prompts, pad))
    said = sample(model, ids, attended, new_tokens=NEW_TOKENS, temperature=0, eos=eos, pad=pad)
    return [str(tokenizer.decode(row, skip_special_tokens=True)) for row in said]


@contextmanager
def at_rest(model: Any) -> Iterator[None]:
    """No dropout and no gradient; as it was thereafter."""
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
