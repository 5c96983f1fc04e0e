"""Small real gRPC servers that stand in for the other services: they keep what they are asked for in dicts, and are as
idempotent as the protos say. A test moves their states by hand, or lets them finish everything at once.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from gyre.dataset.v1 import dataset_pb2, dataset_service_pb2_grpc, version_pb2, version_service_pb2_grpc
from gyre.evaluation.v1 import (
    evaluation_pb2,
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    suite_pb2,
    suite_service_pb2_grpc,
    verdict_pb2,
    verdict_service_pb2_grpc,
)
from gyre.feedback.v1 import batch_pb2, batch_service_pb2_grpc
from gyre.gpu_scheduler.v1 import (
    node_pb2,
    node_service_pb2,
    node_service_pb2_grpc,
    queue_pb2,
    queue_service_pb2_grpc,
    workload_pb2,
    workload_service_pb2_grpc,
)
from gyre.inference_gateway.v1 import deployment_pb2, deployment_service_pb2_grpc
from gyre.model_registry.v1 import (
    alias_pb2,
    alias_service_pb2_grpc,
    model_pb2,
    model_service_pb2_grpc,
    variant_pb2,
    variant_service_pb2,
    variant_service_pb2_grpc,
)
from gyre.model_registry.v1 import version_pb2 as registry_version_pb2
from gyre.model_registry.v1 import (
    version_service_pb2_grpc as registry_version_service_pb2_grpc,
)
from gyre_kit.errors import Precondition, to_status
from gyre_kit.storage import ObjectStore, digest_of, uri_of
from gyre_kit.testing import Platform

PROJECT = "projects/acme"
SHA = "sha256:" + "a" * 64
Workload = workload_pb2.Workload
Variant = variant_pb2.Variant
Evaluation = evaluation_pb2.Evaluation
Target = deployment_pb2.Target


class ShiftInProgress(Precondition):
    """The last split is not in force yet."""


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
        self.suites: dict[str, suite_pb2.Suite] = {}
        self.evaluations: dict[str, Evaluation] = {}
        self.verdicts: dict[str, verdict_pb2.Verdict] = {}
        self.verdict_state = verdict_pb2.Verdict.STATE_PASSED
        self.deployments: dict[str, deployment_pb2.Deployment] = {}
        self.shifting = 0  # so many calls of ShiftTraffic meet another one in progress
        self.splits: list[list[tuple[str, int]]] = []
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

    async def finish_workload(self, name: str, attempt: int = 1) -> None:
        """As a trainer that ends well: files, manifest, then exit 0."""
        workload = self.workloads[name]
        spec = json.loads(workload.spec.spec_json)
        await put_result(self.store, spec["run"], attempt)
        workload.state, workload.attempt = Workload.STATE_FINISHED, attempt
        workload.usage.cost_microusd = 700


def cpu_node(memory_bytes: int = 24 * 2**30) -> node_pb2.Node:
    return node_pb2.Node(
        name="nodes/here",
        state=node_pb2.Node.STATE_READY,
        flavor="flavors/cpu",
        capacity=node_pb2.Resources(cpu_milli=2000, memory_bytes=memory_bytes),
    )


async def put_result(store: Any, run: str, attempt: int, *, steps: int = 60) -> str:
    """model/ and manifest.json as the trainers write them; returns the manifest's digest."""
    prefix = f"runs/{run.rsplit('/', 1)[-1]}/{attempt}"
    weights = b"weights of " + run.encode()
    await store.put(f"{prefix}/model/model.safetensors", weights)
    entry = {"path": "model/model.safetensors", "size": len(weights), "sha256": digest_of(weights).split(":")[1]}
    facts = {"kind": "result", "run": run, "attempt": attempt, "step": steps, "metrics": {"loss": 0.25}}
    manifest = json.dumps(facts | {"files": [entry]}).encode()
    await store.put(f"{prefix}/manifest.json", manifest)
    return digest_of(manifest)


async def found(table: dict[str, Any], name: str, context: Any) -> Any:
    if name not in table:
        await context.abort(grpc.StatusCode.NOT_FOUND, f"There is no {name}.")
    return table[name]


class Fake:
    def __init__(self, world: World) -> None:
        self.world = world


class Datasets(Fake, dataset_service_pb2_grpc.DatasetServiceServicer):
    async def GetDataset(self, request: Any, context: Any) -> Any:
        return await found(self.world.datasets, request.name, context)


class DatasetVersions(Fake, version_service_pb2_grpc.VersionServiceServicer):
    async def GetVersion(self, request: Any, context: Any) -> Any:
        return await found(self.world.dataset_versions, request.name, context)

    async def CreateVersion(self, request: Any, context: Any) -> Any:
        def make() -> version_pb2.Version:
            number = sum(name.startswith(request.parent + "/") for name in self.world.dataset_versions) + 1
            version = dataset_version(f"{request.parent}/versions/{number}", rows=80)
            version.state = version_pb2.Version.STATE_IMPORTING
            version.mix_in.extend(request.mix_in)
            self.world.dataset_versions[version.name] = version
            return version

        version = self.world.once(request.request_id, "dataset_version", make)
        if self.world.finishes("dataset_version"):
            version.state = version_pb2.Version.STATE_READY
        return version

    async def PinVersion(self, request: Any, context: Any) -> Any:
        self.world.pins.setdefault(request.holder, set()).add(request.name)
        return await found(self.world.dataset_versions, request.name, context)

    async def UnpinVersion(self, request: Any, context: Any) -> Any:
        self.world.pins.get(request.holder, set()).discard(request.name)
        return Empty()


class Models(Fake, model_service_pb2_grpc.ModelServiceServicer):
    async def GetModel(self, request: Any, context: Any) -> Any:
        return await found(self.world.models, request.name, context)

    async def CreateModel(self, request: Any, context: Any) -> Any:
        def make() -> model_pb2.Model:
            model = model_pb2.Model(name=f"{request.parent}/models/{request.model_id}")
            self.world.models[model.name] = model
            return model

        return self.world.once(request.request_id, "model", make)


class ModelVersions(Fake, registry_version_service_pb2_grpc.VersionServiceServicer):
    async def GetVersion(self, request: Any, context: Any) -> Any:
        return await found(self.world.versions, request.name, context)

    async def RegisterVersion(self, request: Any, context: Any) -> Any:
        def make() -> registry_version_pb2.Version:
            number = sum(name.startswith(request.parent + "/") for name in self.world.versions) + 1
            version = model_version(f"{request.parent}/versions/{number}")
            version.state = registry_version_pb2.Version.STATE_IMPORTING
            version.parents.CopyFrom(request.parents)
            self.world.versions[version.name] = version
            return version

        version = self.world.once(request.request_id, "version", make)
        if self.world.finishes("version"):
            version.state = registry_version_pb2.Version.STATE_READY
        return version

    async def PinVersion(self, request: Any, context: Any) -> Any:
        self.world.pins.setdefault(request.holder, set()).add(request.name)
        return await found(self.world.versions, request.name, context)

    async def UnpinVersion(self, request: Any, context: Any) -> Any:
        self.world.pins.get(request.holder, set()).discard(request.name)
        return Empty()


class Variants(Fake, variant_service_pb2_grpc.VariantServiceServicer):
    async def GetVariant(self, request: Any, context: Any) -> Any:
        return await found(self.world.variants, request.name, context)

    async def ListVariants(self, request: Any, context: Any) -> Any:
        mine = [it for it in self.world.variants.values() if it.version == request.parent]
        return variant_service_pb2.ListVariantsResponse(variants=mine)

    async def CreateVariant(self, request: Any, context: Any) -> Any:
        def make() -> Variant:
            name = f"{request.parent}/variants/{request.quantisation.lower().replace('_', '-')}"
            variant = Variant(
                name=name,
                version=request.parent,
                format=Variant.FORMAT_GGUF,
                quantisation=request.quantisation,
                state=Variant.STATE_CREATING,
                size_bytes=145_000_000,
            )
            self.world.variants[name] = variant
            return variant

        variant = self.world.once(request.request_id, "variant", make)
        if self.world.finishes("variant"):
            variant.state = Variant.STATE_READY
        return variant


class Aliases(Fake, alias_service_pb2_grpc.AliasServiceServicer):
    async def MoveAlias(self, request: Any, context: Any) -> Any:
        def make() -> alias_pb2.Alias:
            alias = alias_pb2.Alias(name=request.name, version=request.version, variant=request.variant)
            self.world.aliases[alias.name] = alias
            return alias

        return self.world.once(request.request_id, "alias_move", make)


class Workloads(Fake, workload_service_pb2_grpc.WorkloadServiceServicer):
    async def EnsureWorkload(self, request: Any, context: Any) -> Any:
        if request.name in self.world.workloads:
            if self.world.workloads[request.name].spec != request.spec:
                await context.abort(grpc.StatusCode.ALREADY_EXISTS, "SPEC_DIFFERS")
        else:
            self.world.made["workload"] += 1
            self.world.workloads[request.name] = Workload(
                name=request.name, spec=request.spec, state=Workload.STATE_QUEUED, waiting_reason="NO_FREE_CPU"
            )
        return await self._now(request.name)

    async def GetWorkload(self, request: Any, context: Any) -> Any:
        await found(self.world.workloads, request.name, context)
        return await self._now(request.name)

    async def CancelWorkload(self, request: Any, context: Any) -> Any:
        workload = await found(self.world.workloads, request.name, context)
        if workload.state not in (Workload.STATE_FINISHED, Workload.STATE_FAILED, Workload.STATE_CANCELLED):
            stuck = "stop" in self.world.holding
            workload.state = Workload.STATE_STOPPING if stuck else Workload.STATE_CANCELLED
        return workload

    async def _now(self, name: str) -> Any:
        if self.world.finishes("workload") and self.world.workloads[name].state == Workload.STATE_QUEUED:
            await self.world.finish_workload(name)
        return self.world.workloads[name]


class Nodes(Fake, node_service_pb2_grpc.NodeServiceServicer):
    async def ListNodes(self, request: Any, context: Any) -> Any:
        return node_service_pb2.ListNodesResponse(nodes=self.world.nodes)

    async def ListFlavors(self, request: Any, context: Any) -> Any:
        flavor = node_pb2.Flavor(name="flavors/cpu", cpu_hour_microusd=40_000)
        return node_service_pb2.ListFlavorsResponse(flavors=[flavor])


class Queues(Fake, queue_service_pb2_grpc.QueueServiceServicer):
    async def GetQueue(self, request: Any, context: Any) -> Any:
        return await found({f"{PROJECT}/queues/default": queue_pb2.Queue()}, request.name, context)


class Suites(Fake, suite_service_pb2_grpc.SuiteServiceServicer):
    async def GetSuite(self, request: Any, context: Any) -> Any:
        return await found(self.world.suites, request.name, context)


class Evaluations(Fake, evaluation_service_pb2_grpc.EvaluationServiceServicer):
    async def CreateEvaluation(self, request: Any, context: Any) -> Any:
        def make() -> Evaluation:
            evaluation = Evaluation(
                name=f"{PROJECT}/evaluations/{len(self.world.evaluations) + 1}",
                variant=request.variant,
                suite=request.suite,
                pipeline=request.pipeline,
                state=Evaluation.STATE_QUEUED,
                cost_microusd=5,
            )
            evaluation.scores.add(slice="parks", metric="exact", value=0.9)
            evaluation.scores.add(slice="waste", metric="exact", value=0.9)
            self.world.evaluations[evaluation.name] = evaluation
            return evaluation

        evaluation = self.world.once(request.request_id, "evaluation", make)
        return self._now(evaluation)

    async def GetEvaluation(self, request: Any, context: Any) -> Any:
        return self._now(await found(self.world.evaluations, request.name, context))

    async def ListEvaluations(self, request: Any, context: Any) -> Any:
        terms = dict(term.split("=", 1) for term in request.filter.split(" AND "))
        state = evaluation_pb2.Evaluation.State.Value(f"STATE_{terms.pop('state')}")
        mine = [
            it
            for it in self.world.evaluations.values()
            if it.state == state and all(getattr(it, field) == value for field, value in terms.items())
        ]
        return evaluation_service_pb2.ListEvaluationsResponse(evaluations=mine)

    async def CancelEvaluation(self, request: Any, context: Any) -> Any:
        evaluation = await found(self.world.evaluations, request.name, context)
        evaluation.state = Evaluation.STATE_CANCELLED
        return evaluation

    def _now(self, evaluation: Evaluation) -> Evaluation:
        if self.world.finishes("evaluation") and evaluation.state == Evaluation.STATE_QUEUED:
            evaluation.state = Evaluation.STATE_SUCCEEDED
        return evaluation


class Verdicts(Fake, verdict_service_pb2_grpc.VerdictServiceServicer):
    async def CreateVerdict(self, request: Any, context: Any) -> Any:
        def make() -> verdict_pb2.Verdict:
            passed = self.world.verdict_state == verdict_pb2.Verdict.STATE_PASSED
            verdict = verdict_pb2.Verdict(
                name=f"{PROJECT}/verdicts/{len(self.world.verdicts) + 1}",
                state=self.world.verdict_state,
                candidate=request.candidate,
                baseline=request.baseline,
            )
            for rule in request.rules:
                verdict.outcomes.add(rule=rule, passed=passed, difference=0.4 if passed else -0.2, lower=-0.3)
            self.world.verdicts[verdict.name] = verdict
            return verdict

        return self.world.once(request.request_id, "verdict", make)


class Deployments(Fake, deployment_service_pb2_grpc.DeploymentServiceServicer):
    async def GetDeployment(self, request: Any, context: Any) -> Any:
        return self._now(await found(self.world.deployments, request.name, context))

    async def CreateDeployment(self, request: Any, context: Any) -> Any:
        def make() -> deployment_pb2.Deployment:
            deployment = deployment_pb2.Deployment(name=f"{request.parent}/deployments/{request.deployment_id}")
            self.world.deployments[deployment.name] = deployment
            self._apply(deployment, request.targets)
            return deployment

        return self.world.once(request.request_id, "deployment", make)

    async def ShiftTraffic(self, request: Any, context: Any) -> Any:
        deployment = await found(self.world.deployments, request.name, context)
        if self.world.shifting > 0:
            self.world.shifting -= 1
            status = to_status(ShiftInProgress(name=request.name), "inference_gateway")
            await context.abort_with_status(status)
        return self.world.once(request.request_id, "shift", lambda: self._apply(deployment, request.targets))

    def _apply(self, deployment: deployment_pb2.Deployment, targets: Any) -> deployment_pb2.Deployment:
        self.world.splits.append([(it.variant, it.weight_percent) for it in targets])
        wanted = {it.variant: it.weight_percent for it in targets}
        for target in deployment.targets:
            if target.variant not in wanted:
                target.state, target.weight_percent = Target.STATE_DRAINING, 0
            else:
                target.weight_percent = wanted.pop(target.variant)
        for variant, weight in wanted.items():
            state = Target.STATE_STARTING
            deployment.targets.add(id=variant, variant=variant, weight_percent=weight, state=state)
        return deployment

    def _now(self, deployment: deployment_pb2.Deployment) -> deployment_pb2.Deployment:
        for target in deployment.targets:
            if self.world.finishes("target") and target.state == Target.STATE_STARTING:
                target.state = Target.STATE_READY
        return deployment


class Batches(Fake, batch_service_pb2_grpc.BatchServiceServicer):
    async def GetBatch(self, request: Any, context: Any) -> Any:
        return await found(self.world.batches, request.name, context)


SERVICES: dict[str, list[tuple[Any, type[Fake]]]] = {
    "dataset": [
        (dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, Datasets),
        (version_service_pb2_grpc.add_VersionServiceServicer_to_server, DatasetVersions),
    ],
    "model_registry": [
        (model_service_pb2_grpc.add_ModelServiceServicer_to_server, Models),
        (registry_version_service_pb2_grpc.add_VersionServiceServicer_to_server, ModelVersions),
        (variant_service_pb2_grpc.add_VariantServiceServicer_to_server, Variants),
        (alias_service_pb2_grpc.add_AliasServiceServicer_to_server, Aliases),
    ],
    "gpu_scheduler": [
        (workload_service_pb2_grpc.add_WorkloadServiceServicer_to_server, Workloads),
        (node_service_pb2_grpc.add_NodeServiceServicer_to_server, Nodes),
        (queue_service_pb2_grpc.add_QueueServiceServicer_to_server, Queues),
    ],
    "evaluation": [
        (suite_service_pb2_grpc.add_SuiteServiceServicer_to_server, Suites),
        (evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server, Evaluations),
        (verdict_service_pb2_grpc.add_VerdictServiceServicer_to_server, Verdicts),
    ],
    "inference_gateway": [(deployment_service_pb2_grpc.add_DeploymentServiceServicer_to_server, Deployments)],
    "feedback": [(batch_service_pb2_grpc.add_BatchServiceServicer_to_server, Batches)],
}


class Wire(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Counts calls, and loses the first reply of those that a test names."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        method = details.method.rsplit("/", 1)[-1]

        async def call(request: Any, context: Any) -> Any:
            self.world.calls[method] += 1
            reply = await handler.unary_unary(request, context)
            if method in self.world.lose:
                self.world.lose.discard(method)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
            return reply

        return handler and handler._replace(unary_unary=call)


@asynccontextmanager
async def neighbours(platform: Platform, world: World) -> AsyncIterator[None]:
    """The other six, at their addresses."""
    settings = platform.settings()
    world.store = ObjectStore.from_url(settings.object_store_url)
    async with AsyncExitStack() as stack:
        for component, servicers in SERVICES.items():
            server = grpc.aio.server(interceptors=[Wire(world)], options=[("grpc.so_reuseport", 0)])
            for add, fake in servicers:
                add(fake(world), server)
            server.add_insecure_port(settings.grpc_listen(component))
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield
        await asyncio.sleep(0)


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


BASE = f"{PROJECT}/models/smollm2/versions/1"
SFT_ROWS = f"{PROJECT}/datasets/hotline/versions/1"
PAIRS = f"{PROJECT}/datasets/hotline-preferences/versions/1"
CORRECTIONS = f"{PROJECT}/datasets/corrections/versions/1"
BATCH = f"{PROJECT}/batches/B1"
SUITE = f"{PROJECT}/suites/heldout"
DEPLOYMENT = f"{PROJECT}/deployments/hotline"
OLD_VARIANT = f"{PROJECT}/models/hotline-old/versions/1/variants/q8-0"


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
