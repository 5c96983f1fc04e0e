"""A batch as a tree of tokens: what rows have in common at their beginning is computed once, and nothing is padding.

Rows of one task begin alike (system message, the template's opening), and both answers of a preference share their
prompt. Each distinct prefix becomes one token of one long sequence; the mask lets it see its own beginning alone, and
its position is its depth. That is the same function of the same weights, so loss and gradients are those of separate
rows. Only tokens with a label pass through the head, a fifth of a small model's work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import torch

IGNORED: Final = -100  # PyTorch's label for "no loss here"

# Attention grows with the square of a tree's tokens; past some size that costs more than rows of their own.
CPU_TOKENS: Final = 512
GPU_TOKENS: Final = 2048

# Decoders in which a token's state depends on mask and positions alone. Others (state spaces, convolutions, ALiBi)
# get one row at a time, which is always right.
SHAREABLE: Final = frozenset(
    [
        "gemma",
        "gemma2",
        "gemma3_text",
        "glm",
        "glm4",
        "granite",
        "llama",
        "mistral",
        "olmo",
        "olmo2",
        "phi3",
        "qwen2",
        "qwen3",
        "smollm3",
        "starcoder2",
    ]
)


class Row(NamedTuple):
    ids: Sequence[int]
    labels: Sequence[int]


Tree = dict[str, torch.Tensor]


def may_share(model: Any) -> bool:
    return getattr(model.config, "model_type", "") in SHAREABLE


def plant(rows: Iterable[Row], *, share: bool) -> list[Tree]:
    """Trees for the rows in order. Each is the model's `input_ids`, `position_ids` and, if it branches, `attention_mask`
    (1 × 1 × tokens × tokens, true where seen), and for each labelled token: `targets` its id, `predicted_at` the token
    before it, `row_of` the number of its row."""
    limit = (GPU_TOKENS if torch.cuda.is_available() else CPU_TOKENS) if share else 0
    found, growing = [], _Growing()
    for number, row in enumerate(rows):
        if growing.paths and len(growing.ids) + growing.new_tokens(row) > limit:
            found.append(growing.tree())
            growing = _Growing()
        growing.add(number, row)
    return [*found, growing.tree()] if growing.paths else found


def logits_of(model: Any, tree: Tree) -> torch.Tensor:
    """Labelled tokens × vocabulary, in f32, in the order of `targets`."""
    inputs = {name: tree[name] for name in ("input_ids", "position_ids", "attention_mask") if name in tree}
    logits: torch.Tensor = model(**inputs, logits_to_keep=tree["predicted_at"], use_cache=False).logits[0]
    return logits.float()


class _Growing:
    def __init__(self) -> None:
        self.ids: list[int] = []
        self.depths: list[int] = []
        self.children: dict[tuple[int, int], int] = {}  # (parent, token id) → token
        self.paths: list[list[int]] = []
        self.labelled: list[tuple[int, int, int]] = []  # predicted at, target, row

    def new_tokens(self, row: Row) -> int:
        at = -1
        for depth, token in enumerate(row.ids):
            if (at, token) not in self.children:
                return len(row.ids) - depth
            at = self.children[at, token]
        return 0

    def add(self, number: int, row: Row) -> None:
        at, path = -1, []
        for depth, (token, label) in enumerate(zip(row.ids, row.labels, strict=True)):
            if label != IGNORED and depth > 0:
                self.labelled.append((at, label, number))
            at = self._child(at, token, depth)
            path.append(at)
        self.paths.append(path)

    def _child(self, parent: int, token: int, depth: int) -> int:
        found = self.children.setdefault((parent, token), len(self.ids))
        if found == len(self.ids):
            self.ids.append(token)
            self.depths.append(depth)
        return found

    def tree(self) -> Tree:
        predicted_at, targets, row_of = zip(*self.labelled, strict=True) if self.labelled else ((), (), ())
        found = {
            "input_ids": torch.tensor([self.ids]),
            "position_ids": torch.tensor([self.depths]),
            "predicted_at": torch.tensor(predicted_at, dtype=torch.long),
            "targets": torch.tensor(targets, dtype=torch.long),
            "row_of": torch.tensor(row_of, dtype=torch.long),
        }
        branches = any(depth != at for at, depth in enumerate(self.depths))
        return {**found, "attention_mask": self._mask()} if branches else found

    def _mask(self) -> torch.Tensor:
        mask = torch.zeros(len(self.ids), len(self.ids), dtype=torch.bool)
        for path in self.paths:
            tokens = torch.tensor(path)
            mask[tokens[:, None], tokens[None, :]] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
        return mask[None, None]
