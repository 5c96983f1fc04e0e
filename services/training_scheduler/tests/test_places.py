from __future__ import annotations

import pytest
from gyre.gpu_scheduler.v1 import node_pb2

from services.training_scheduler.places import known_model

GIB = 2**30


def model(name: str, gib: int) -> node_pb2.CardModel:
    return node_pb2.CardModel(display_name=name, memory_bytes=gib * GIB)


MODELS = [
    model("NVIDIA A100 40GB", 40),
    model("NVIDIA A100 80GB PCIe", 80),
    model("NVIDIA A100 80GB SXM", 80),
    model("NVIDIA H100 PCIe", 80),
    model("NVIDIA H100 NVL", 94),
    model("NVIDIA H100 SXM", 80),
    model("NVIDIA L4", 24),
    model("NVIDIA L40S", 48),
    model("NVIDIA GeForce RTX 4090", 24),
    model("Ascend 910B", 64),
]


@pytest.mark.parametrize(
    ("driver_says", "gib", "known"),
    [
        ("NVIDIA A100-SXM4-40GB", 40, "NVIDIA A100 40GB"),
        ("NVIDIA A100 80GB PCIe", 80, "NVIDIA A100 80GB PCIe"),
        ("NVIDIA H100 NVL", 94, "NVIDIA H100 NVL"),
        ("NVIDIA H100 PCIe", 80, "NVIDIA H100 PCIe"),
        ("NVIDIA L4", 23, "NVIDIA L4"),
        ("NVIDIA L40S", 45, "NVIDIA L40S"),
        ("NVIDIA GeForce RTX 4090", 24, "NVIDIA GeForce RTX 4090"),
    ],
)
def test_a_card_is_known_by_what_its_driver_calls_it(driver_says: str, gib: int, known: str) -> None:
    found = known_model(node_pb2.Card(model=driver_says, memory_bytes=gib * GIB), MODELS)
    assert found is not None and found.display_name == known


@pytest.mark.parametrize("driver_says", ["Some Card", "", "NVIDIA H200"])
def test_a_card_that_is_in_no_table_is_unknown(driver_says: str) -> None:
    assert known_model(node_pb2.Card(model=driver_says, memory_bytes=80 * GIB), MODELS) is None
