"""The shape of a base, as far as memory and time follow from it; config.json of Transformers gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final


@dataclass(frozen=True)
class Architecture:
    """A decoder with gated MLPs. Widths are in numbers, not bytes. `parameters` is counted where it is not given."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    head_width: int
    given_parameters: int = 0

    @property
    def parameters(self) -> int:
        return self.given_parameters or self.embeddings * (1 if self.tied else 2) + self.layers * self.layer

    @property
    def embeddings(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def query(self) -> int:
        return self.heads * self.head_width

    @property
    def key(self) -> int:
        return self.kv_heads * self.head_width

    @property
    def layer(self) -> int:
        """Parameters of one layer: its linear maps and two norms."""
        return sum(rows * columns for rows, columns in self.linears) + 2 * self.hidden

    @property
    def linears(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear map of a layer: q, k, v, o, gate, up, down."""
        hidden, wide = self.hidden, self.intermediate
        attention = [(hidden, self.query), (hidden, self.key), (hidden, self.key), (self.query, hidden)]
        return [*attention, (hidden, wide), (hidden, wide), (wide, hidden)]

    def lora_parameters(self, rank: int) -> int:
        """Of adapters on every linear map but the head (gyre_trainers/lora.py)."""
        return self.layers * sum(rank * (inputs + outputs) for inputs, outputs in self.linears)


def from_config(config: Mapping[str, Any], parameters: int = 0) -> Architecture | None:
    """Of config.json, if it says enough. `parameters` is what the registry counted, or 0."""
    text = config.get("text_config") or config  # of models that see
    try:
        hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
        return Architecture(
            hidden=hidden,
            intermediate=int(text["intermediate_size"]),
            layers=int(text["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(text.get("num_key_value_heads") or heads),
            vocabulary=int(text["vocab_size"]),
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))),
            head_width=int(text.get("head_dim") or hidden // heads),
            given_parameters=parameters,
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


# Published shapes, by size: SmolLM2 135M; Qwen2.5 0.5B, 1.5B; Llama 3.2 3B, 3.1 8B; Qwen2.5 14B, 32B; Llama 3.1 70B.
TYPICAL: Final = (
    Architecture(576, 1536, 30, 9, 3, 49152, True, 64),
    Architecture(896, 4864, 24, 14, 2, 151936, True, 64),
    Architecture(1536, 8960, 28, 12, 2, 151936, True, 128),
    Architecture(3072, 8192, 28, 24, 8, 128256, True, 128),
    Architecture(4096, 14336, 32, 32, 8, 128256, False, 128),
    Architecture(5120, 13824, 48, 40, 8, 152064, False, 128),
    Architecture(5120, 27648, 64, 40, 8, 152064, False, 128),
    Architecture(8192, 28672, 80, 64, 8, 128256, False, 128),
)


def typical(parameters: int) -> Architecture:
    """Where config.json cannot be read: the smallest published shape that has no fewer parameters, so that activations
    are rather over- than underestimated; the parameters stay those given."""
    found = next((shape for shape in TYPICAL if shape.parameters >= 0.95 * parameters), TYPICAL[-1])
    return replace(found, given_parameters=max(1, parameters))
