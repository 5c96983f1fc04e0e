"""Nodes over real gRPC, with real processes: drained, fenced, and moved off a card that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from gyre.gpu_scheduler.v1 import node_pb2
from gyre.gpu_scheduler.v1 import node_service_pb2 as api
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App, Context
from gyre_kit.auth import ALL_PROJECTS, Role, acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.render import enum_name
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, Platform, eventually, expect_rpc_error

from services.gpu_scheduler import fleet, hardware, silence, store_nodes
from services.gpu_scheduler.cards import CardReading, Finding
from services.gpu_scheduler.hardware import Machine
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import cancel_all, ensure, find_workload, runs, until, worker_of

ADMIN = replace(ENGINEER, subject="keys/admin", role=Role.ADMIN)
INSTALLER = replace(ADMIN, project=ALL_PROJECTS)
NODE = "nodes/test-node"
CARD = CardReading(0, "SIMULATED-0", "Simulated card", 24 * 1024**3, simulated=True)


@pytest.fixture(scope="module")
async def scheduler(platform: Platform, app: App) -> AsyncIterator[Context]:
    async with platform.serving(app) as (context,):
        yield context
    await platform.empty("gpu_scheduler")


@pytest.fixture
def nodes(clients: Clients) -> NodeServiceStub:
    return clients.stub(NodeServiceStub)


@pytest.fixture(autouse=True)
async def all_is_as_before(
    scheduler: Context, nodes: NodeServiceStub, workloads: WorkloadServiceStub
) -> AsyncIterator[None]:
    yield
    await cancel_all(workloads)
    await fleet.hear_of_node(scheduler)
    with acting_as(INSTALLER):
        await nodes.UncordonNode(api.UncordonNodeRequest(name=NODE))


@asynccontextmanager
async def refused(code: grpc.StatusCode, reason: str) -> AsyncIterator[None]:
    async with expect_rpc_error(code) as caught:
        yield
    assert from_rpc(caught[0]).reason == reason


async def state_of(nodes: NodeServiceStub) -> str:
    return enum_name(await nodes.GetNode(api.GetNodeRequest(name=NODE)), "state")


async def test_a_drained_node_stops_its_work_by_request_and_is_empty_then(
    nodes: NodeServiceStub, workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait")
    worker = await worker_of(platform, name)
    with acting_as(INSTALLER):
        drained = await nodes.DrainNode(api.DrainNodeRequest(name=NODE))
    assert (enum_name(drained, "state"), drained.workload_count) == ("DRAINING", 1)
    waiting = await until(workloads, name, "QUEUED")
    assert not runs(worker)
    assert waiting.attempt == 1
    assert (waiting.preemptions, waiting.preemption_rule, waiting.preempted_for) == (1, "NODE_DRAINED", "")
    assert (await nodes.GetNode(api.GetNodeRequest(name=NODE))).workload_count == 0
    with acting_as(INSTALLER):
        await nodes.UncordonNode(api.UncordonNodeRequest(name=NODE))
    again = await until(workloads, name, "RUNNING", attempt=2)
    assert again.exit_code in (0, 143, -15)


async def test_what_still_runs_on_a_node_that_was_gone_is_killed_before_its_work_begins_anew(
    scheduler: Context, nodes: NodeServiceStub, workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait")
    worker = await worker_of(platform, name)
    async with scheduler.db.transaction() as session:
        node = await store_nodes.locked_node(session, NODE)
        assert node is not None
        await silence.end_work_of(session, node)
    assert runs(worker)
    await fleet.hear_of_node(scheduler)

    async def is_back() -> bool:
        return await state_of(nodes) == "READY"

    await eventually(is_back)
    assert not runs(worker)
    again = await worker_of(platform, name, attempt=2)
    assert again != worker
    async with scheduler.db.transaction() as session:
        workload = await find_workload(session, name)
    assert workload is not None
    assert (workload.attempt, workload.faults) == (2, 0)


async def test_work_leaves_a_card_that_fails_and_the_card_is_put_back_by_an_operator(
    scheduler: Context, nodes: NodeServiceStub, workloads: WorkloadServiceStub, platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cards = [CARD]

    def reading(settings: Settings) -> Machine:
        return replace(hardware.read_machine(settings), cards=list(cards))

    monkeypatch.setattr(fleet, "read_machine", reading)
    await fleet.hear_of_node(scheduler)
    name = await ensure(workloads, cpu=500, gpu=1, do="wait")
    worker = await worker_of(platform, name)
    cards[0] = replace(CARD, findings=(Finding("XID_79", "It has fallen off the bus.", key="XID_79:1"),))
    await fleet.hear_of_node(scheduler)
    waiting = await until(workloads, name, "QUEUED")
    assert not runs(worker)
    assert waiting.attempt == 1
    node = await nodes.GetNode(api.GetNodeRequest(name=NODE))
    (card,) = node.cards
    assert (enum_name(card, "state"), card.fault_code, card.workload) == ("SICK", "XID_79", "")
    assert (node.healthy_card_count, node.capacity.gpu) == (0, 0)
    metrics = scheduler.metrics.registry
    assert metrics.get_sample_value("gyre_cards", {"state": "SICK"}) == 1
    assert metrics.get_sample_value("gyre_nodes", {"state": "READY"}) == 1
    with acting_as(INSTALLER):
        await nodes.ResetCard(api.ResetCardRequest(name=NODE, index=0))
    await until(workloads, name, "RUNNING", attempt=2)


async def test_a_machine_whose_name_is_taken_is_no_node_and_the_service_goes_on(
    scheduler: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        fleet, "read_machine", lambda settings: replace(hardware.read_machine(settings), machine_id="another")
    )
    await fleet.hear_of_node(scheduler)
    assert scheduler.metrics.registry.get_sample_value("gyre_node_name_conflicts_total") >= 1


async def test_only_the_installations_administrator_changes_nodes_and_flavors(nodes: NodeServiceStub) -> None:
    calls = [
        (nodes.CordonNode, api.CordonNodeRequest(name=NODE)),
        (nodes.DrainNode, api.DrainNodeRequest(name=NODE)),
        (nodes.ForgetNode, api.ForgetNodeRequest(name=NODE)),
        (nodes.ResetCard, api.ResetCardRequest(name=NODE)),
        (nodes.UpdateNode, api.UpdateNodeRequest(node=node_pb2.Node(name=NODE))),
        (nodes.UpdateFlavor, api.UpdateFlavorRequest(flavor=node_pb2.Flavor(name="flavors/cpu"))),
    ]
    for call, request in calls:
        async with refused(grpc.StatusCode.PERMISSION_DENIED, "DENIED"):
            await call(request)
        with acting_as(ADMIN):
            async with refused(grpc.StatusCode.PERMISSION_DENIED, "ADMIN_ONLY"):
                await call(request)
    assert await state_of(nodes) == "READY"


async def test_labels_prices_and_refusals_travel(nodes: NodeServiceStub) -> None:
    with acting_as(INSTALLER):
        changed = node_pb2.Node(name=NODE, labels={"rack": "7"})
        node = await nodes.UpdateNode(api.UpdateNodeRequest(node=changed, update_mask=FieldMask(paths=["labels"])))
        assert dict(node.labels) == {"rack": "7"}
        dear = node_pb2.Flavor(name="flavors/cpu", cpu_hour_microusd=70_000)
        mask = FieldMask(paths=["cpu_hour_microusd"])
        flavor = await nodes.UpdateFlavor(api.UpdateFlavorRequest(flavor=dear, update_mask=mask))
        assert flavor.cpu_hour_microusd == 70_000
        async with refused(grpc.StatusCode.FAILED_PRECONDITION, "NODE_STILL_HEARD"):
            await nodes.ForgetNode(api.ForgetNodeRequest(name=NODE))
        async with refused(grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND"):
            await nodes.DrainNode(api.DrainNodeRequest(name="nodes/none"))
        async with refused(grpc.StatusCode.NOT_FOUND, "CARD_NOT_FOUND"):
            await nodes.ResetCard(api.ResetCardRequest(name=NODE, index=9))


async def test_the_table_of_cards_comes_in_pages(nodes: NodeServiceStub) -> None:
    first = await nodes.ListCardModels(api.ListCardModelsRequest(page_size=10))
    rest = await nodes.ListCardModels(api.ListCardModelsRequest(page_size=500, page_token=first.next_page_token))
    models = [*first.card_models, *rest.card_models]
    assert (len(models), rest.next_page_token) == (first.total_size, "")
    by_name = {model.name: model for model in models}
    h100 = by_name["cardModels/nvidia-h100-sxm"]
    assert (h100.bf16_tflops, h100.memory_bandwidth_bytes, h100.discovered) == (989.5, 3_350_000_000_000, True)
    assert not by_name["cardModels/cambricon-mlu590"].HasField("bf16_tflops")
