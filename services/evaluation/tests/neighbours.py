"""Registry, data sets and scheduler at their addresses: small real servicers, over dicts that a test may change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
from gyre.dataset.v1 import version_pb2 as dataset_version_pb2
from gyre.dataset.v1 import version_service_pb2_grpc as datasets
from gyre.gpu_scheduler.v1 import node_pb2, node_service_pb2, node_service_pb2_grpc, workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2_grpc as workloads
from gyre.model_registry.v1 import variant_pb2, variant_service_pb2_grpc, version_pb2
from gyre.model_registry.v1 import version_service_pb2_grpc as versions
from gyre_kit.storage import ObjectStore, digest_of_file
from gyre_kit.testing import Platform

from services.evaluation import comparisons, scoring, work

VERSION = "projects/acme/models/hotline/versions/1"
OTHER = "projects/acme/models/small/versions/2"  # its figures have `small-` before them
CALIBRATION = "projects/acme/datasets/hotline/versions/2"
FLAVOR = "flavors/cpu"
BIG = "flavors/big"  # its cores cost twice as much
CARD = "flavors/card"  # its cores cost what the usual ones do
CORE_HOUR = 36_000  # millionths of a dollar
CARD_HOUR = 2_000_000
ROWS = 200
Variant, Workload = variant_pb2.Variant, workload_pb2.Workload


class World:
    """`right` and `speed`: how many of ROWS a quantisation answers right, and its tokens a second."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self.folder, self.store = folder, store
        self.right = {"F16": 180, "Q8_0": 180, "Q6_K": 178, "Q5_K_M": 178, "Q4_K_M": 120, "small-Q8_0": 176}
        self.right |= dict.fromkeys(("AWQ", "GPTQ", "FP8"), 180)
        self.speed = {"F16": 50.0, "Q8_0": 100.0, "Q6_K": 90.0, "Q5_K_M": 125.0, "Q4_K_M": 200.0, "small-Q8_0": 400.0}
        self.speed |= dict.fromkeys(("AWQ", "GPTQ", "FP8"), 100.0)
        self.broken: set[str] = set()  # quantisations that cannot be made
        self.hold = False  # jobs run on and on
        self.too_small = False  # no job fits anywhere
        self.unloadable: dict[str, str] = {}  # quantisations that their engine cannot load, with its words
        self.cards = 0  # of the only node
        self.asked_for: dict[str, Any] = {}  # by the owner of a workload, its spec
        self.variants: dict[str, Any] = {}
        self.workloads: dict[str, Any] = {}
        self.asked: Counter[str] = Counter()
        self.most_running = 0

    def said_by(self, spec: Any) -> str:
        """By a job whose engine cannot load what it is to measure."""
        return self.unloadable.get(json.loads(spec.spec_json)["model_uri"].rsplit("/", 1)[-1], "")

    async def finished(self, spec: dict[str, Any]) -> dict[str, Any]:
        """What a job leaves, for the quantisation that its spec names by the model's URI."""
        quantisation = spec["model_uri"].rsplit("/", 1)[-1]
        cost = {"memory_bytes": 5, "perplexity": 1.5, "cpu_seconds_per_token": 1 / self.speed[quantisation]}
        cost["card_seconds_per_token"] = spec.get("cards", 0) / self.speed[quantisation]
        rows = [_row(index, right=index < self.right[quantisation]) for index in range(ROWS)]
        path = self.folder / "results.parquet"
        pq.write_table(pa.Table.from_pylist(rows, work.SCHEMA), path)
        return {
            "scores": scoring.summarise(rows),
            "results_uri": await self.store.put_file(f"{spec['output_prefix']}/results.parquet", path),
            "results_digest": digest_of_file(path),
            "row_count": ROWS,
            "latency_p50_ms": 1.0,
            "latency_p95_ms": 2.0,
            "tokens_per_second": self.speed[quantisation],
            "cost": cost if spec["measure_cost"] else {},
        }


def _row(index: int, *, right: bool) -> dict[str, Any]:
    texts = {"prompt": "p", "expected": "e", "answer": "a"}
    figures = {"valid": True, "exact": right, "text_score": None, "latency_ms": 1.0}
    return {"row_id": str(index), "slice": "", **texts, **figures}


class Variants(variant_service_pb2_grpc.VariantServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def CreateVariant(self, request: Any, context: Any) -> Any:
        if request.parent not in (VERSION, OTHER):
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such version.")
        self.world.asked[request.quantisation] += 1
        suffix = "-hotline-2" if request.calibration else ""
        name = f"{request.parent}/variants/{request.quantisation.lower().replace('_', '-')}{suffix}"
        broken = request.quantisation in self.world.broken
        return self.world.variants.setdefault(
            name,
            Variant(
                name=name,
                version=request.parent,
                format=Variant.FORMAT_COMPRESSED_TENSORS
                if request.quantisation in comparisons.ONLY_ON_VLLM
                else Variant.FORMAT_GGUF,
                state=Variant.STATE_FAILED if broken else Variant.STATE_READY,
                failure_reason="BAD_SOURCE" if broken else "",
                failure_message="it cannot be made" if broken else "",
                uri=f"gyre://registry/{'small-' if request.parent == OTHER else ''}{request.quantisation}",
                size_bytes=1000,
                note="all as promised",
            ),
        )

    async def GetVariant(self, request: Any, context: Any) -> Any:
        return self.world.variants[request.name]


class Versions(versions.VersionServiceServicer):
    async def PinVersion(self, request: Any, context: Any) -> Any:
        return version_pb2.Version(name=request.name)


class DatasetVersions(datasets.VersionServiceServicer):
    async def PinVersion(self, request: Any, context: Any) -> Any:
        return dataset_version_pb2.Version(name=request.name, test_uri="gyre://dataset/test")


class Workloads(workloads.WorkloadServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def EnsureWorkload(self, request: Any, context: Any) -> Any:
        """Runs when it is seen first, and is finished when it is seen again."""
        if self.world.too_small:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "No node has 64 cores.")
        self.world.asked_for[request.spec.owner] = request.spec
        known = self.world.workloads.get(request.name)
        if known is None:
            flavor = request.spec.only_flavor or (CARD if request.spec.requests.gpu else FLAVOR)
            known = Workload(name=request.name, state=Workload.STATE_RUNNING, flavor=flavor)
            self.world.workloads[request.name] = known
            running = [it for it in self.world.workloads.values() if it.state == Workload.STATE_RUNNING]
            self.world.most_running = max(self.world.most_running, len(running))
        elif known.state == Workload.STATE_RUNNING and (words := self.world.said_by(request.spec)):
            known.state, known.failure_reason, known.failure_message = Workload.STATE_FAILED, "BAD_SPEC", words
        elif known.state == Workload.STATE_RUNNING and not self.world.hold:
            known.result_json = json.dumps(await self.world.finished(json.loads(request.spec.spec_json)))
            known.state = Workload.STATE_FINISHED
        return known

    async def GetWorkload(self, request: Any, context: Any) -> Any:
        return self.world.workloads[request.name]

    async def CancelWorkload(self, request: Any, context: Any) -> Any:
        self.world.workloads[request.name].state = Workload.STATE_CANCELLED
        return self.world.workloads[request.name]


class Nodes(node_service_pb2_grpc.NodeServiceServicer):
    def __init__(self, world: World) -> None:
        self.world = world

    async def ListNodes(self, request: Any, context: Any) -> Any:
        cards = [node_pb2.Card() for _ in range(self.world.cards)]
        return node_service_pb2.ListNodesResponse(nodes=[node_pb2.Node(name="nodes/one", flavor=CARD, cards=cards)])

    async def ListFlavors(self, request: Any, context: Any) -> Any:
        flavors = [
            node_pb2.Flavor(name=FLAVOR, cpu_hour_microusd=CORE_HOUR),
            node_pb2.Flavor(name=BIG, cpu_hour_microusd=2 * CORE_HOUR),
            node_pb2.Flavor(name=CARD, cpu_hour_microusd=CORE_HOUR, gpu_hour_microusd=CARD_HOUR),
        ]
        return node_service_pb2.ListFlavorsResponse(flavors=flavors)


@asynccontextmanager
async def neighbours(platform: Platform, world: World) -> AsyncIterator[None]:
    settings = platform.settings()
    async with AsyncExitStack() as stack:
        for component in ("model_registry", "dataset", "gpu_scheduler"):
            server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            if component == "model_registry":
                variant_service_pb2_grpc.add_VariantServiceServicer_to_server(Variants(world), server)
                versions.add_VersionServiceServicer_to_server(Versions(), server)
            elif component == "dataset":
                datasets.add_VersionServiceServicer_to_server(DatasetVersions(), server)
            else:
                workloads.add_WorkloadServiceServicer_to_server(Workloads(world), server)
                node_service_pb2_grpc.add_NodeServiceServicer_to_server(Nodes(world), server)
            server.add_insecure_port(settings.grpc_listen(component))
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield
