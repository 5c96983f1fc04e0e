"""Small real gRPC servicers that stand in for the other services, over a `World`; as idempotent as the protos say."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from gyre.dataset.v1 import dataset_service_pb2_grpc, version_pb2, version_service_pb2_grpc
from gyre.evaluation.v1 import (
    evaluation_pb2,
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
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
    workload_service_pb2_grpc,
)
from gyre.inference_gateway.v1 import deployment_pb2, deployment_service_pb2, deployment_service_pb2_grpc, rollout_pb2
from gyre.model_registry.v1 import (
    alias_pb2,
    alias_service_pb2_grpc,
    model_pb2,
    model_service_pb2_grpc,
    variant_service_pb2,
    variant_service_pb2_grpc,
)
from gyre.model_registry.v1 import version_pb2 as registry_version_pb2
from gyre.model_registry.v1 import version_service_pb2_grpc as registry_version_service_pb2_grpc
from gyre_kit.errors import Precondition, to_status

from services.training_scheduler.tests.world import (
    CORRECTIONS,
    PAIRS,
    PROJECT,
    Evaluation,
    Variant,
    Workload,
    World,
    dataset_version,
    model_version,
)

Rollout = rollout_pb2.Rollout


class LicenceRefused(Precondition):
    """The policy refuses it."""


class TooFewApproved(Precondition):
    """There is not enough feedback yet."""


class ShiftInProgress(Precondition):
    """The last split is not in force yet."""


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
            version.derived_from.extend(request.derived_from)
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

    async def HoldWorkload(self, request: Any, context: Any) -> Any:
        workload = await self._open(request.name, context)
        workload.held = True
        if workload.state != Workload.STATE_QUEUED:
            stuck = "stop" in self.world.holding
            workload.state = Workload.STATE_STOPPING if stuck else Workload.STATE_QUEUED
        return workload

    async def ReleaseWorkload(self, request: Any, context: Any) -> Any:
        workload = await self._open(request.name, context)
        workload.held = False
        return workload

    async def _open(self, name: str, context: Any) -> Any:
        workload = await found(self.world.workloads, name, context)
        if workload.state in (Workload.STATE_FINISHED, Workload.STATE_FAILED, Workload.STATE_CANCELLED):
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_ENDED")
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

    async def ListCardModels(self, request: Any, context: Any) -> Any:
        return node_service_pb2.ListCardModelsResponse(card_models=self.world.card_models)


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
        return await found(self.world.deployments, request.name, context)

    async def CreateDeployment(self, request: Any, context: Any) -> Any:
        def make() -> deployment_pb2.Deployment:
            deployment = deployment_pb2.Deployment(name=f"{request.parent}/deployments/{request.deployment_id}")
            self.world.deployments[deployment.name] = deployment
            return self._begin(deployment, request.targets, [100])

        return self.world.once(request.request_id, "deployment", make)

    async def ShiftTraffic(self, request: Any, context: Any) -> Any:
        deployment = await found(self.world.deployments, request.name, context)
        if self.world.refused_licence:
            error = LicenceRefused(self.world.refused_licence)
            await context.abort_with_status(to_status(error, "inference_gateway"))
        if self.world.shifting > 0:
            self.world.shifting -= 1
            status = to_status(ShiftInProgress(name=request.name), "inference_gateway")
            await context.abort_with_status(status)
        return self.world.once(
            request.request_id, "shift", lambda: self._begin(deployment, request.targets, request.steps)
        )

    async def RollBack(self, request: Any, context: Any) -> Any:
        deployment = await found(self.world.deployments, request.name, context)
        deployment.rollout.state = Rollout.STATE_ROLLED_BACK
        return deployment

    async def GetRollout(self, request: Any, context: Any) -> Any:
        deployment = await found(self.world.deployments, request.name.partition("/rollouts/")[0], context)
        return self._now(deployment)

    async def ListRollouts(self, request: Any, context: Any) -> Any:
        deployment = self.world.deployments.get(request.parent)
        rollouts = [self._now(deployment)] if deployment and deployment.HasField("rollout") else []
        return deployment_service_pb2.ListRolloutsResponse(rollouts=rollouts)

    def _begin(self, deployment: deployment_pb2.Deployment, targets: Any, steps: Any) -> deployment_pb2.Deployment:
        self.world.splits.append([(it.variant, it.weight_percent) for it in targets])
        self.world.steps.append(list(steps))
        before = [rollout_pb2.Share(variant=it.variant, weight_percent=it.weight_percent) for it in deployment.targets]
        deployment.rollout.CopyFrom(
            Rollout(
                name=f"{deployment.name}/rollouts/{len(self.world.splits)}",
                state=Rollout.STATE_RUNNING,
                before=before,
                after=[rollout_pb2.Share(variant=it.variant, weight_percent=it.weight_percent) for it in targets],
            )
        )
        return deployment

    def _now(self, deployment: deployment_pb2.Deployment) -> rollout_pb2.Rollout:
        rollout = deployment.rollout
        if self.world.finishes("target") and rollout.state == Rollout.STATE_RUNNING:
            rollout.state = Rollout.STATE_SUCCEEDED
        return rollout


class Batches(Fake, batch_service_pb2_grpc.BatchServiceServicer):
    async def CreateBatch(self, request: Any, context: Any) -> Any:
        if self.world.approved < request.min_count:
            error = TooFewApproved(approved=self.world.approved, wanted=request.min_count)
            await context.abort_with_status(to_status(error, "feedback"))

        def make() -> Any:
            batch = batch_pb2.Batch(
                name=f"{request.parent}/batches/collected",
                number=2,
                count=self.world.approved,
                state=batch_pb2.Batch.STATE_READY,
                sft_version=CORRECTIONS,
                preference_version=PAIRS,
            )
            return self.world.batches.setdefault(batch.name, batch)

        return self.world.once(request.request_id, "batch", make)

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
