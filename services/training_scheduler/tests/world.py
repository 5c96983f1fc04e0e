"""What the other services hold, as dicts: a test moves their states by hand, or lets everything finish at once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from gyre.dataset.v1 import dataset_pb2, version_pb2
from gyre.evaluation.v1 import evaluation_pb2, suite_pb2, verdict_pb2
from gyre.feedback.v1 import batch_pb2
from gyre.gpu_scheduler.v1 import node_pb2, workload_pb2
from gyre.inference_gateway.v1 import deployment_pb2
from gyre.model_registry.v1 import alias_pb2, model_pb2, variant_pb2
from gyre.model_registry.v1 import version_pb2 as registry_version_pb2
from gyre_kit.storage import ObjectStore, digest_of, uri_of

PROJECT = "projects/acme"
SHA = "sha256:" + "a" * 64
BASE = f"{PROJECT}/models/smollm2/versions/1"
SFT_ROWS = f"{PROJECT}/datasets/hotline/versions/1"
PAIRS = f"{PROJECT}/datasets/hotline-preferences/versions/1"
CORRECTIONS = f"{PROJECT}/datasets/corrections/versions/1"
BATCH = f"{PROJECT}/batches/B1"
SUITE = f"{PROJECT}/suites/heldout"
DEPLOYMENT = f"{PROJECT}/deployments/hotline"
OLD_VARIANT = f"{PROJECT}/models/hotline-old/versions/1/variants/q8-0"
Workload = workload_pb2.Workload
Variant = variant_pb2.Variant
Evaluation = evaluation_pb2.Evaluation
Target = deployment_pb2.Target


class World:
    """All that the other services hold. `auto` lets every long work end at once; `holding` names kinds that wait.

    `lose` names calls whose first reply is lost after its effect: what a kill between call and note looks like.
    """

    def __init__(self) -> None:
        self.store: ObjectStore | None = None
        self.auto = False
        self.holding: set[str] = set()
        self.lose: set[str] = set()
        self.made: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.requests: dict[str, Any] = {}
        self.datasets: dict[str, dataset_pb2.Dataset] = {}
        self.dataset_versions: dict[str, version_pb2.Version] = {}
        self.models: dict[str, model_pb2.Model] = {}
        self.versions: dict[str, registry_version_pb2.Version] = {}
        self.variants: dict[str, Variant] = {}
        self.aliases: dict[str, alias_pb2.Alias] = {}
        self.workloads: dict[str, Workload] = {}
        self.nodes = [cpu_node()]
        self.card_models = [H100]
        self.suites: dict[str, suite_pb2.Suite] = {}
        self.evaluations: dict[str, Evaluation] = {}
        self.verdicts: dict[str, verdict_pb2.Verdict] = {}
        self.verdict_state = verdict_pb2.Verdict.STATE_PASSED
        self.deployments: dict[str, deployment_pb2.Deployment] = {}
        self.shifting = 0  # so many calls of ShiftTraffic meet another one in progress
        self.refused_licence = ""  # what ShiftTraffic has against every variant
        self.splits: list[list[tuple[str, int]]] = []
        self.steps: list[list[int]] = []
        self.approved = 0  # pieces of feedback that no batch has taken
        self.batches: dict[str, batch_pb2.Batch] = {}
        self.pins: dict[str, set[str]] = {}

    def once(self, request_id: str, kind: str, make: Callable[[], Any]) -> Any:
        """What an earlier call with this request id made, or what `make` makes now."""
        assert request_id, f"{kind} was asked for without a request id"
        key = f"{kind}/{request_id}"
        if key not in self.requests:
            self.made[kind] += 1
            self.requests[key] = make()
        return self.requests[key]

    def finishes(self, kind: str) -> bool:
        return self.auto and kind not in self.holding

    async def finish_workload(self, name: str, attempt: int = 1, weights: bytes = b"") -> None:
        """As a trainer that ends well: files, manifest, then exit 0."""
        workload = self.workloads[name]
        spec = json.loads(workload.spec.spec_json)
        await put_result(self.store, spec["run"], attempt, weights=weights)
        workload.state, workload.attempt = Workload.STATE_FINISHED, attempt
        workload.usage.cost_microusd = 700


H100 = node_pb2.CardModel(
    name="cardModels/nvidia-h100-sxm",
    display_name="NVIDIA H100 SXM",
    memory_bytes=80 * 2**30,
    bf16_tflops=989.5,
    memory_bandwidth_bytes=3_350_000_000_000,
)


def card_node(cards: int = 1) -> node_pb2.Node:
    node = cpu_node()
    node.name, node.flavor = "nodes/there", "flavors/h100"
    for _ in range(cards):
        node.cards.add(model="NVIDIA H100 80GB HBM3", memory_bytes=80 * 2**30)
    return node


def cpu_node(memory_bytes: int = 24 * 2**30) -> node_pb2.Node:
    return node_pb2.Node(
        name="nodes/here",
        state=node_pb2.Node.STATE_READY,
        flavor="flavors/cpu",
        capacity=node_pb2.Resources(cpu_milli=2000, memory_bytes=memory_bytes),
    )


async def put_result(store: Any, run: str, attempt: int, *, steps: int = 60, weights: bytes = b"") -> str:
    """model/ and manifest.json as the trainers write them; returns the manifest's digest."""
    prefix = f"runs/{run.rsplit('/', 1)[-1]}/{attempt}"
    weights = weights or b"weights of " + run.encode()
    await store.put(f"{prefix}/model/model.safetensors", weights)
    entry = {"path": "model/model.safetensors", "size": len(weights), "sha256": digest_of(weights).split(":")[1]}
    facts = {"kind": "result", "run": run, "attempt": attempt, "step": steps, "metrics": {"loss": 0.25}}
    manifest = json.dumps(facts | {"files": [entry]}).encode()
    await store.put(f"{prefix}/manifest.json", manifest)
    return digest_of(manifest)


def dataset_version(name: str, rows: int = 40) -> version_pb2.Version:
    parts = name.split("/")
    key = f"dataset/acme/{parts[3]}/{parts[5]}/train.parquet"
    return version_pb2.Version(
        name=name, state=version_pb2.Version.STATE_READY, train_count=rows, train_uri=uri_of(key), train_digest=SHA
    )


def model_version(name: str, architecture: str = "LlamaForCausalLM") -> registry_version_pb2.Version:
    return registry_version_pb2.Version(
        name=name,
        state=registry_version_pb2.Version.STATE_READY,
        uri="gyre://registry/base/manifest.json",
        digest=SHA,
        architecture=architecture,
        parameter_count=135_000_000,
    )


def populated() -> World:
    """A base, rows of both types, a READY batch, a suite and a deployment that serves an old variant."""
    world = World()
    types = dataset_pb2.Dataset
    for name, kind in (
        ("hotline", types.TYPE_SFT),
        ("corrections", types.TYPE_SFT),
        ("hotline-preferences", types.TYPE_PREFERENCE),
    ):
        world.datasets[f"{PROJECT}/datasets/{name}"] = types(name=f"{PROJECT}/datasets/{name}", type=kind)
    for name in (SFT_ROWS, PAIRS, CORRECTIONS):
        world.dataset_versions[name] = dataset_version(name)
    world.versions[BASE] = model_version(BASE)
    world.suites[SUITE] = suite_pb2.Suite(name=SUITE)
    world.batches[BATCH] = batch_pb2.Batch(
        name=BATCH, state=batch_pb2.Batch.STATE_READY, sft_version=CORRECTIONS, preference_version=PAIRS
    )
    deployment = deployment_pb2.Deployment(name=DEPLOYMENT)
    deployment.targets.add(id="old", variant=OLD_VARIANT, weight_percent=100, state=Target.STATE_READY)
    world.deployments[DEPLOYMENT] = deployment
    return world
