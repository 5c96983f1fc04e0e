"""Asks `gpu_scheduler` where a run could go: nodes, their prices, and how fast their cards are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from gyre.gpu_scheduler.v1 import node_pb2, node_service_pb2
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre_kit.app import Context

from services.training_scheduler.planning.plan import Place

TERA: Final = 1e12
ALL: Final = 500


async def find_places(context: Context) -> list[Place]:
    """Every node that is not lost, with its flavor's prices and what is known of its cards."""
    stub = context.clients.stub(NodeServiceStub)
    nodes, flavors, models = await asyncio.gather(
        stub.ListNodes(node_service_pb2.ListNodesRequest(page_size=ALL)),
        stub.ListFlavors(node_service_pb2.ListFlavorsRequest(page_size=ALL)),
        stub.ListCardModels(node_service_pb2.ListCardModelsRequest(page_size=ALL)),
    )
    prices = {flavor.name: flavor for flavor in flavors.flavors}
    here = [node for node in nodes.nodes if node.state != node_pb2.Node.STATE_LOST]
    return [_place(node, prices.get(node.flavor), models.card_models) for node in here]


def _place(node: node_pb2.Node, price: node_pb2.Flavor | None, models: Iterable[node_pb2.CardModel]) -> Place:
    cards = [card for card in node.cards if card.state != node_pb2.Card.STATE_LOST]
    known = known_model(cards[0], models) if cards else None
    return Place(
        flavor=node.flavor,
        cpu_milli=node.capacity.cpu_milli,
        memory_bytes=node.capacity.memory_bytes,
        cards=[card.memory_bytes for card in cards],
        cpu_hour_microusd=price.cpu_hour_microusd if price else 0,
        gpu_hour_microusd=price.gpu_hour_microusd if price else 0,
        card_flops=max(known.bf16_tflops, known.fp16_tflops) * TERA if known else 0,
        card_bandwidth=known.memory_bandwidth_bytes if known else 0,
    )


def known_model(card: node_pb2.Card, models: Iterable[node_pb2.CardModel]) -> node_pb2.CardModel | None:
    """The one whose designation (`H100`) stands in what the driver calls the card; of several, that with as much memory
    and most other words in common."""
    words = set(card.model.upper().replace("-", " ").split())
    alike = [model for model in models if _designation(model) <= words]

    def likeness(model: node_pb2.CardModel) -> tuple[float, int]:
        return -abs(model.memory_bytes - card.memory_bytes) / 2**30 // 8, len(words & _words(model))

    return max(alike, key=likeness, default=None)


def _designation(model: node_pb2.CardModel) -> set[str]:
    """Words with a number in them that name no size: {"H100"} of "NVIDIA H100 PCIe", {"4090"} of "GeForce RTX 4090"."""
    found = {word for word in _words(model) if any(letter.isdigit() for letter in word) and not word.endswith("GB")}
    return found or _words(model)


def _words(model: node_pb2.CardModel) -> set[str]:
    return set(model.display_name.upper().replace(",", " ").replace("-", " ").split())
