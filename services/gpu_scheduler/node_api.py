"""Nodes, cards and flavors: parse, call, render."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty
from gyre.gpu_scheduler.v1 import node_pb2, node_service_pb2
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceServicer
from gyre_kit import pages
from gyre_kit.app import Context
from gyre_kit.auth import ALL_PROJECTS, SYSTEM, acting_as, caller
from gyre_kit.errors import Denied, NotFound
from gyre_kit.names import project_of
from gyre_kit.render import render

from services.gpu_scheduler import facts, flavors, health, maintenance, silence, store, store_nodes, store_queues
from services.gpu_scheduler.cards import MAKERS, catalogue
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.models import Card, Flavor, Node, NodeState, Workload


class AdminOnly(Denied):
    """Nodes are all projects': only an administrator of the whole installation changes them."""


class NodeApi(NodeServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def GetNode(self, request: node_service_pb2.GetNodeRequest, _: Any) -> node_pb2.Node:
        async with self.db.transaction() as session:
            node = await store_nodes.find_node(session, request.name)
        if node is None:
            raise NotFound(name=request.name)
        return (await self._rendered([node]))[0]

    async def ListNodes(self, request: node_service_pb2.ListNodesRequest, _: Any) -> node_service_pb2.ListNodesResponse:
        async with self.db.transaction() as session:
            found = await store_nodes.node_page(session, request)
        return node_service_pb2.ListNodesResponse(
            nodes=await self._rendered(found.rows), next_page_token=found.next_page_token, total_size=found.total
        )

    async def UpdateNode(self, request: node_service_pb2.UpdateNodeRequest, _: Any) -> node_pb2.Node:
        given = request.node
        _check_installer()
        async with self.db.transaction() as session:
            node = await maintenance.update(
                session,
                given.name,
                request.update_mask.paths,
                etag=given.etag,
                display_name=given.display_name,
                labels=given.labels,
            )
        return (await self._rendered([node]))[0]

    async def CordonNode(self, request: node_service_pb2.CordonNodeRequest, _: Any) -> node_pb2.Node:
        return await self._want(request, NodeState.CORDONED)

    async def UncordonNode(self, request: node_service_pb2.UncordonNodeRequest, _: Any) -> node_pb2.Node:
        return await self._want(request, NodeState.READY)

    async def DrainNode(self, request: node_service_pb2.DrainNodeRequest, _: Any) -> node_pb2.Node:
        return await self._want(request, NodeState.DRAINING)

    async def ForgetNode(self, request: node_service_pb2.ForgetNodeRequest, _: Any) -> Empty:
        _check_installer()
        async with self.db.transaction() as session:
            await silence.forget(session, await maintenance.get(session, request.name))
        self.context.wake()
        return Empty()

    async def ResetCard(self, request: node_service_pb2.ResetCardRequest, _: Any) -> node_pb2.Node:
        _check_installer()
        async with self.db.transaction() as session:
            node = await maintenance.get(session, request.name)
            await health.reset(session, node, request.index if request.HasField("index") else None)
        self.context.wake()
        return (await self._rendered([node]))[0]

    async def ListFlavors(
        self, request: node_service_pb2.ListFlavorsRequest, _: Any
    ) -> node_service_pb2.ListFlavorsResponse:
        async with self.db.transaction() as session:
            found = await store_nodes.flavor_page(session, request)
        return node_service_pb2.ListFlavorsResponse(
            flavors=[_flavor(row) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdateFlavor(self, request: node_service_pb2.UpdateFlavorRequest, _: Any) -> node_pb2.Flavor:
        given = request.flavor
        _check_installer()
        async with self.db.transaction() as session:
            flavor = await flavors.update(
                session,
                given.name,
                request.update_mask.paths,
                etag=given.etag,
                display_name=given.display_name,
                cpu_hour_microusd=given.cpu_hour_microusd,
                gpu_hour_microusd=given.gpu_hour_microusd,
            )
        return _flavor(flavor)

    async def ListCardModels(
        self, request: node_service_pb2.ListCardModelsRequest, _: Any
    ) -> node_service_pb2.ListCardModelsResponse:
        async with self.db.transaction() as session:
            present = await store_nodes.present_models(session)
        start = pages.decode_offset(request.page_token, "card models")
        end = start + min(request.page_size or pages.DEFAULT_SIZE, pages.MAX_SIZE)
        token = pages.encode_offset(end, "card models") if end < len(catalogue.MODELS) else ""
        return node_service_pb2.ListCardModelsResponse(
            card_models=[_card_model(model, present) for model in catalogue.MODELS[start:end]],
            next_page_token=token,
            total_size=len(catalogue.MODELS),
        )

    async def _want(self, request: Any, state: NodeState) -> node_pb2.Node:
        _check_installer()
        async with self.db.transaction() as session:
            node = await maintenance.want(session, request.name, state, etag=request.etag)
            await maintenance.move_work(session)
        self.context.wake()
        return (await self._rendered([node]))[0]

    async def _rendered(self, rows: Sequence[Node]) -> list[node_pb2.Node]:
        """What is held on a node is a sum over all projects; whose card it is, only the holder's own project sees."""
        asker = caller()
        with acting_as(SYSTEM):
            async with self.db.transaction() as session:
                held = await store_queues.held_by(session, Workload.node)
                counts = await store_nodes.holding_counts(session)
                cards = await store_nodes.cards(session, [row.name for row in rows])
                stopping = await store.stopping(session)
        nodes = []
        for row in rows:
            on_it = [amount for (node, _), amount in held.items() if node == row.name]
            allocated = Amount(*(sum(kind) for kind in zip(*on_it, strict=True)))
            mine = [
                _card(card, card.workload in stopping, visible=asker.may_see(_project_of_holder(card)))
                for card in cards
                if card.node == row.name and (card.present or card.workload or card.fault_code)
            ]
            nodes.append(
                render(
                    row,
                    node_pb2.Node,
                    etag=str(row.revision),
                    capacity=facts.resources(row),
                    allocated=facts.amount(allocated),
                    cards=mine,
                    workload_count=counts.get(row.name, 0),
                    healthy_card_count=row.gpu,
                )
            )
        return nodes


def _check_installer() -> None:
    """Who changes what all projects share must see the work of all of them. Raises: AdminOnly."""
    if caller().project != ALL_PROJECTS:
        raise AdminOnly()


def _flavor(row: Flavor) -> node_pb2.Flavor:
    return render(row, node_pb2.Flavor, etag=str(row.revision))


def _card_model(model: catalogue.CardModel, present: dict[str, int]) -> node_pb2.CardModel:
    maker = next((maker for maker in MAKERS if maker.name == model.maker), None)
    variable, library = (
        (maker.visible_devices_variable, maker.collective_library) if maker else catalogue.UNDISCOVERED[model.maker]
    )
    bandwidth = None if model.bandwidth_gb is None else round(model.bandwidth_gb * 1e9)
    return render(
        model,
        node_pb2.CardModel,
        bf16_tflops=model.bf16,
        fp16_tflops=model.fp16,
        int8_tops=model.int8,
        memory_bandwidth_bytes=bandwidth,
        present_count=sum(count for name, count in present.items() if catalogue.find(name) is model),
        visible_devices_variable=variable,
        collective_library=library,
        discovered=maker is not None,
    )


def _card(card: Card, stopping: bool, *, visible: bool) -> node_pb2.Card:
    if card.fault_code:
        state = "SICK"
    elif not card.present:
        state = "LOST"
    elif not card.workload:
        state = "FREE"
    else:
        state = "RELEASING" if stopping else "BUSY"
    return render(card, node_pb2.Card, state=state, workload=card.workload if visible else "")


def _project_of_holder(card: Card) -> str:
    return project_of(card.workload) if card.workload else ""
