"""AWQ, GPTQ and FP8 over gRPC, beside a stand-in of the scheduler: which machine is asked for, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
import pytest
from gyre.dataset.v1 import version_pb2 as dataset_version_pb2
from gyre.dataset.v1 import version_service_pb2_grpc as datasets
from gyre.gpu_scheduler.v1 import node_pb2, node_service_pb2, node_service_pb2_grpc, workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2_grpc as workloads
from gyre.model_registry.v1 import fit_pb2, fit_service_pb2, variant_pb2, variant_service_pb2
from gyre.model_registry.v1.fit_service_pb2_grpc import FitServiceStub
from gyre.model_registry.v1.variant_service_pb2_grpc import VariantServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.reconcile import Reconciler
from gyre_kit.storage import digest_of
from gyre_kit.testing import ENGINEER, Platform, eventually, expect_rpc_error

from services.model_registry import main, service
from services.model_registry.settings import Settings
from services.model_registry.tests.test_service import STORED, a_model

DATA = "projects/acme/datasets/hotline/versions/2"
CARD = node_pb2.Card(memory_bytes=24 * 1024**3)
CPU = node_pb2.Node(flavor="flavors/cpu", capacity=node_pb2.Resources(memory_bytes=16 * 1024**3))
GPU = node_pb2.Node(flavor="flavors/l4", capacity=CPU.capacity, cards=[CARD])
Workload, Variant = workload_pb2.Workload, variant_pb2.Variant


@dataclass
class World:
    """What the scheduler knows, and what it was asked for. `refuses`: every workload."""

    nodes: list[node_pb2.Node] = field(default_factory=lambda: [CPU])
    specs: dict[str, workload_pb2.WorkloadSpec] = field(default_factory=dict)
    refuses: bool = False


class Nodes(node_service_pb2_grpc.NodeServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def ListNodes(self, request: Any, context: Any) -> Any:
        return node_service_pb2.ListNodesResponse(nodes=self.world.nodes)


class Workloads(workloads.WorkloadServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def EnsureWorkload(self, request: Any, context: Any) -> Any:
        if self.world.refuses:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "No node has so much memory.")
        self.world.specs[request.name] = request.spec
        return Workload(name=request.name, state=Workload.STATE_RUNNING)


class DatasetVersions(datasets.VersionServiceServicer):
    async def PinVersion(self, request: Any, context: Any) -> Any:
        return dataset_version_pb2.Version(name=request.name, train_uri="gyre://dataset/train", train_digest="sha256:1")


@dataclass
class Registry:
    world: World
    context: Context
    clients: Any
    version: str

    async def ask(self, quantisation: str, calibration: str = "") -> variant_pb2.Variant:
        request = variant_service_pb2.CreateVariantRequest(
            parent=self.version, quantisation=quantisation, calibration=calibration
        )
        return await self.clients.stub(VariantServiceStub).CreateVariant(request)

    async def get(self, name: str) -> variant_pb2.Variant:
        request = variant_service_pb2.GetVariantRequest(name=name)
        return await self.clients.stub(VariantServiceStub).GetVariant(request)

    async def names(self) -> set[str]:
        request = variant_service_pb2.ListVariantsRequest(parent=self.version)
        return {it.quantisation for it in (await self.clients.stub(VariantServiceStub).ListVariants(request)).variants}


@pytest.fixture
async def registry(platform: Platform) -> AsyncIterator[Registry]:
    world, settings, clients = (
        World(),
        platform.settings(Settings, llmcompressor_python="/opt/llmc"),
        platform.clients(),
    )
    servers = {"gpu_scheduler": grpc.aio.server(), "dataset": grpc.aio.server()}
    node_service_pb2_grpc.add_NodeServiceServicer_to_server(Nodes(world), servers["gpu_scheduler"])
    workloads.add_WorkloadServiceServicer_to_server(Workloads(world), servers["gpu_scheduler"])
    datasets.add_VersionServiceServicer_to_server(DatasetVersions(), servers["dataset"])
    for component, server in servers.items():
        server.add_insecure_port(settings.grpc_listen(component))
        await server.start()
    quick = [
        Reconciler(each.step, every=0.02) for each in main.app.reconcilers if each.step.__name__ == "make_variants"
    ]
    app = replace(main.app, settings=settings, reconcilers=quick, handlers={})
    async with platform.serving(app) as (context,):
        with acting_as(ENGINEER):
            manifest = json.dumps({"files": [], "shape": {"num_hidden_layers": 2, "num_attention_heads": 4}}).encode()
            uri = await context.store.put("registry/manifests/a.json", manifest)
            async with context.db.transaction() as session:
                made = replace(STORED, uri=uri, digest=digest_of(manifest), size_bytes=1000)
                version = await service.import_version(
                    session, (await a_model(session)).name, service.Import(source="bundled://smollm2")
                )
                await service.finish_version(session, version, made)
                name = version.name
            yield Registry(world, context, clients, name)
    for server in servers.values():
        await server.stop(None)
    await clients.close()
    await platform.empty("model_registry")


async def test_without_a_card_it_is_said_before_anything_is_queued(registry: Registry) -> None:
    async with expect_rpc_error(grpc.StatusCode.FAILED_PRECONDITION) as caught:
        await registry.ask("FP8")
    refusal = from_rpc(caught[0])
    assert refusal.reason == "NO_GPU_FLAVOR"
    assert "No flavor of this platform has a GPU" in refusal.message
    assert "FP8" not in await registry.names()
    assert (await registry.ask("Q8_0")).state == Variant.STATE_CREATING


async def test_a_job_on_a_card_is_asked_for_with_the_rows_and_the_environment(registry: Registry) -> None:
    registry.world.nodes.append(GPU)
    variant = await registry.ask("AWQ", DATA)
    assert (variant.format, variant.name) == (
        Variant.FORMAT_COMPRESSED_TENSORS,
        f"{registry.version}/variants/awq-hotline-2",
    )
    (spec,) = (await eventually(lambda: _soon(registry.world.specs), seconds=30)).values()
    assert (spec.module, spec.requests.gpu) == ("services.model_registry.work", 1)
    assert spec.requests.memory_bytes == 4_000_000_000 + 2 * 1000
    told = json.loads(spec.spec_json)
    assert (told["task"], told["quantisation"], told["python"]) == ("compress", "AWQ", "/opt/llmc")
    assert (told["calibration"], told["calibration_digest"]) == ("gyre://dataset/train", "sha256:1")


@pytest.mark.parametrize(
    ("quantisation", "calibration", "reason"),
    [
        ("AWQ", "", "CALIBRATION_NEEDED"),
        ("GPTQ", "", "CALIBRATION_NEEDED"),
        ("FP8", DATA, "CALIBRATION_WITHOUT_EFFECT"),
        ("INT8", "", "QUANTISATION_UNKNOWN"),
    ],
)
async def test_calibration_is_asked_for_where_it_counts(
    registry: Registry, quantisation: str, calibration: str, reason: str
) -> None:
    registry.world.nodes.append(GPU)
    async with expect_rpc_error(grpc.StatusCode.INVALID_ARGUMENT) as caught:
        await registry.ask(quantisation, calibration)
    assert from_rpc(caught[0]).reason == reason


async def test_what_fits_on_no_node_fails_with_the_schedulers_reason(registry: Registry) -> None:
    registry.world.nodes.append(GPU)
    registry.world.refuses = True
    variant = await registry.ask("FP8")
    failed = await eventually(lambda: _failed(registry, variant.name), seconds=30)
    assert failed.failure_message == "No node has so much memory."


async def test_it_fits_on_flavors_with_cards_alone(registry: Registry) -> None:
    registry.world.nodes.append(GPU)
    variant = await registry.ask("FP8")
    stub = registry.clients.stub(FitServiceStub)
    of_version, of_variant = [
        await stub.GetFit(fit_service_pb2.GetFitRequest(name=name)) for name in (registry.version, variant.name)
    ]
    assert [it.flavor for it in of_version.flavors] == ["flavors/l4", "flavors/cpu"]
    assert [it.flavor for it in of_variant.flavors] == ["flavors/l4"]
    registry.world.nodes.pop()
    assert (
        await stub.GetFit(fit_service_pb2.GetFitRequest(name=variant.name))
    ).verdict == fit_pb2.Fit.VERDICT_NO_FLAVORS


async def _soon(found: Any) -> Any:
    return found


async def _failed(registry: Registry, name: str) -> Any:
    now = await registry.get(name)
    return now if now.state == Variant.STATE_FAILED else None
