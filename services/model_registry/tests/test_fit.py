"""What fits where: the formula on public models' published shapes, and the verdicts."""

from __future__ import annotations

from typing import Any

import pytest
from gyre.gpu_scheduler.v1 import node_pb2

from services.model_registry import fit

GIB = 1024**3
QWEN3_8B = {"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}


def node(flavor: str, memory: int, *cards: int) -> node_pb2.Node:
    return node_pb2.Node(
        flavor=f"flavors/{flavor}",
        capacity=node_pb2.Resources(memory_bytes=memory),
        cards=[node_pb2.Card(memory_bytes=card) for card in cards],
    )


@pytest.mark.parametrize(
    ("shape", "bytes_per_token"),
    [
        (QWEN3_8B, 2 * 36 * 8 * 128 * 2),
        ({"text_config": QWEN3_8B}, 2 * 36 * 8 * 128 * 2),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 2 * 12 * 768 * 2),
        ({"block_count": 30, "attention.head_count": 9, "attention.head_count_kv": 3, "embedding_length": 576},
         2 * 30 * 3 * 64 * 2),
        ({"num_hidden_layers": 27, "num_attention_heads": 16, "kv_lora_rank": 512, "qk_rope_head_dim": 64},
         27 * 576 * 2),
        ({"model_type": "unheard-of"}, 0),
    ],
)  # fmt: skip
def test_keys_and_values_take_what_the_shape_says(shape: dict[str, Any], bytes_per_token: int) -> None:
    assert fit.cache_bytes_per_token(shape) == bytes_per_token


def test_a_flavor_has_what_its_largest_card_or_machine_has_and_a_card_keeps_a_tenth_back() -> None:
    nodes = [node("cpu", 8 * GIB), node("cpu", 32 * GIB), node("h100", 900 * GIB, 80 * GIB, 80 * GIB)]
    found = fit.flavors_of(nodes)
    assert [(each.name, each.memory, each.usable) for each in found] == [
        ("flavors/h100", 80 * GIB, 72 * GIB),
        ("flavors/cpu", 32 * GIB, 32 * GIB),
    ]


@pytest.mark.parametrize(
    ("weights", "verdict", "says"),
    [
        (1 * GIB, "FITS", "fits on every flavor"),
        (16 * GIB, "FITS_ON_SOME", "too large for t4"),
        (140 * GIB, "TOO_LARGE", "the nearest flavor, h100, has 77.3 GB for it"),
    ],
)
def test_the_verdict_names_the_flavors_that_are_too_small(weights: int, verdict: str, says: str) -> None:
    flavors = fit.flavors_of([node("h100", 900 * GIB, 80 * GIB), node("t4", 60 * GIB, 16 * GIB)])
    judgement = fit.judge(fit.Demand(weights, cache=1 * GIB), flavors)
    assert judgement.verdict == verdict
    assert says in judgement.message


def test_without_a_machine_nothing_is_called_too_large() -> None:
    assert fit.judge(fit.Demand(10**15, 0), []).verdict == "NO_FLAVORS"
