"""How much memory a model needs, and which flavors have it. Decisions here are pure; fit_api.py reads and asks.

Needed are the weights, the cache of keys and values, and some for buffers and the process:
- cache: 2 (keys, values) x layers x heads of keys and values x width of a head x 2 bytes, for each token
  (Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with PagedAttention", section 3; fewer
  heads of keys and values: Ainslie et al. 2023, GQA). Latent attention keeps one vector for all heads instead
  (DeepSeek-V2, section 2.1).
- buffers: a twentieth of the weights and 256 MiB, above what llama.cpp takes here for SmolLM2-135M (112 MB) on its CPU.
An engine gets nine tenths of a card's memory, as vLLM's `gpu_memory_utilization` has it by default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_CONTEXT_TOKENS = 8192  # the gateway's defaults: 2,048 tokens for each of 4 requests
CACHE_BYTES = 2  # of one number
BUFFER_BYTES, BUFFER_SHARE = 256 * 1024**2, 1 / 20
CARD_SHARE = 0.9


@dataclass(frozen=True)
class Demand:
    """In bytes."""

    weights: int
    cache: int

    @property
    def overhead(self) -> int:
        return BUFFER_BYTES + int(self.weights * BUFFER_SHARE)

    @property
    def needed(self) -> int:
        return self.weights + self.cache + self.overhead


@dataclass(frozen=True)
class Flavor:
    """The largest piece of memory that one process can have on it, in bytes."""

    name: str
    memory: int
    has_cards: bool

    @property
    def usable(self) -> int:
        return int(self.memory * CARD_SHARE) if self.has_cards else self.memory


@dataclass(frozen=True)
class Judgement:
    verdict: str
    message: str


def flavors_of(nodes: Iterable[Any]) -> list[Flavor]:
    """Of the scheduler's nodes that are not lost, the one with the most usable memory first."""
    largest: dict[str, Flavor] = {}
    for node in nodes:
        memory = max((card.memory_bytes for card in node.cards), default=node.capacity.memory_bytes)
        found = Flavor(node.flavor, memory, has_cards=bool(node.cards))
        if node.flavor and memory > largest.get(node.flavor, Flavor("", 0, has_cards=False)).memory:
            largest[node.flavor] = found
    return sorted(largest.values(), key=lambda flavor: (-flavor.usable, flavor.name))


def judge(demand: Demand, flavors: Sequence[Flavor]) -> Judgement:
    """`flavors` as `flavors_of` gives them."""
    if not flavors:
        return Judgement("NO_FLAVORS", "No machine is known on which it could run.")
    nearest = flavors[0]
    if demand.needed > nearest.usable:
        return Judgement(
            "TOO_LARGE",
            f"It needs {gigabytes(demand.needed)}; the nearest flavor, {_slug(nearest)}, has "
            f"{gigabytes(nearest.usable)} for it. Take a smaller quantisation, a shorter context, or a larger card.",
        )
    small = [_slug(flavor) for flavor in flavors if demand.needed > flavor.usable]
    if small:
        return Judgement(
            "FITS_ON_SOME", f"It needs {gigabytes(demand.needed)}, which is too large for {', '.join(small)}."
        )
    return Judgement("FITS", f"It needs {gigabytes(demand.needed)} and fits on every flavor.")


def cache_bytes_per_token(shape: Mapping[str, Any]) -> int:
    """From a config.json or from a GGUF's metadata (without its prefix); 0 where they do not say."""
    inner = shape.get("text_config")
    shape = inner if isinstance(inner, dict) else shape
    layers = _first(shape, "num_hidden_layers", "n_layer", "block_count")
    if latent := _first(shape, "kv_lora_rank", "attention.kv_lora_rank"):
        return layers * (latent + _first(shape, "qk_rope_head_dim", "rope.dimension_count")) * CACHE_BYTES
    heads = _first(shape, "num_attention_heads", "n_head", "attention.head_count")
    shared = _first(shape, "num_key_value_heads", "attention.head_count_kv") or heads
    width = _first(shape, "hidden_size", "n_embd", "embedding_length")
    head = _first(shape, "head_dim", "attention.key_length") or (width // heads if heads else 0)
    return 2 * layers * shared * head * CACHE_BYTES


def gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def _first(shape: Mapping[str, Any], *names: str) -> int:
    return next((int(shape[name]) for name in names if isinstance(shape.get(name), int)), 0)


def _slug(flavor: Flavor) -> str:
    return flavor.name.rsplit("/", 1)[-1]
