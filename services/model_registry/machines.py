"""What machines there are, as the scheduler knows them."""

from __future__ import annotations

from gyre.gpu_scheduler.v1 import node_pb2, node_service_pb2
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre_kit.app import Context

from services.model_registry import variants

MOST_NODES = 500


async def nodes(context: Context) -> list[node_pb2.Node]:
    """Those that are away too."""
    stub = context.clients.stub(NodeServiceStub)
    reply = await stub.ListNodes(node_service_pb2.ListNodesRequest(page_size=MOST_NODES))
    return list(reply.nodes)


async def check_cards(context: Context, quantisation: str) -> None:
    """A node that is away may come back. Raises: NoGpuFlavor where no node has the cards that `quantisation` needs."""
    needed = context.settings.compress_cards
    if variants.QUANTISATIONS.get(quantisation) != variants.COMPRESSED or not needed:
        return
    if not any(len(node.cards) >= needed for node in await nodes(context)):
        raise variants.NoGpuFlavor(quantisation=quantisation, cards=needed)
