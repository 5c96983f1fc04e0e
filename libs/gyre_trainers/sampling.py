"""Answers drawn from a model itself, token by token: a whole batch at once, with a cache of keys and values.

`generate` of Transformers would also apply what a model's generation_config.json asks for (a repetition penalty, top-k):
the tokens would come from another distribution than the one that is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """`ids` and `attended`, rows × longest: all rows end where the answers begin."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
    attended = torch.tensor([[False] * (longest - len(row)) + [True] * len(row) for row in rows])
    return ids, attended


def positions_of(attended: Tensor) -> Tensor:
    """The first token of each row is at 0, whatever padding comes before it."""
    return (attended.long().cumsum(dim=1) - 1).clamp(min=0)


def sample(
    model: Any, ids: Tensor, attended: Tensor, *, new_tokens: int, temperature: float, eos: int, pad: int
) -> Tensor:
    """Rows × at most `new_tokens` drawn tokens; `pad` follows the first `eos` of a row. Uses torch's random state, but for
    `temperature` 0, the likeliest each time; call it without gradients."""
    from transformers import DynamicCache

    cache, positions = DynamicCache(config=model.config), positions_of(attended)
    going = torch.ones(len(ids), dtype=torch.bool, device=ids.device)
    answers: list[Tensor] = []
    while len(answers) < new_tokens and bool(going.any()):
        logits = model(
            input_ids=ids,
            attention_mask=attended.long(),
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        drawn = torch.where(going, _drawn(logits.float(), temperature), pad)
        answers.append(drawn)
        going = going & (drawn != eos)
        ids, positions = drawn.unsqueeze(1), positions[:, -1:] + 1
        attended = torch.cat([attended, attended.new_ones(len(ids), 1)], dim=1)
    return torch.stack(answers, dim=1)


def _drawn(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1).squeeze(1)


def answered(answers: Tensor, eos: int) -> Tensor:
    """True up to and with the first `eos` of each row. Needs no token of its own for padding."""
    ended = (answers == eos).long().cumsum(dim=1)
    return (ended - (answers == eos).long()) == 0


def repetition(answers: Tensor, lengths: Tensor) -> float:
    """Share of three tokens in a row that the same answer had before, the mean over answers."""
    shares = []
    for row, length in zip(answers.tolist(), lengths.tolist(), strict=True):
        threes = list(zip(*(row[at:length] for at in range(3)), strict=False))
        shares.append(1 - len(set(threes)) / len(threes) if threes else 0.0)
    return sum(shares) / len(shares)
