"""Parse, call, render."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from google.protobuf import empty_pb2
from gyre.inference_gateway.v1 import (
    completion_pb2,
    completion_service_pb2,
    deployment_pb2,
    deployment_service_pb2,
    spending_pb2,
    spending_service_pb2,
)
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceServicer
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceServicer
from gyre.inference_gateway.v1.spending_service_pb2_grpc import SpendingServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import ALL_PROJECTS, caller
from gyre_kit.errors import Denied, Invalid
from gyre_kit.names import project_of
from gyre_kit.render import render

from services.inference_gateway import completions, lookups, service, spending, store
from services.inference_gateway.models import Completion, Deployment, Target

LARGEST_BATCH = 500


class BatchTooLarge(Invalid):
    """At most 500 completions are recorded at a time."""


class ProxyOnly(Denied):
    """Completions are recorded by the gateway's data plane."""


class DeploymentApi(DeploymentServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateDeployment(
        self, request: deployment_service_pb2.CreateDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        name = f"{request.parent}/deployments/{request.deployment_id}"
        specs = list(request.targets)
        if request.alias and not specs:
            variant = await lookups.variant_of_alias(self.context.clients, request.alias)
            specs = [deployment_service_pb2.TargetSpec(variant=variant, weight_percent=100)]
        wanted = [await lookups.look_up(self.context.clients, spec, name) for spec in specs]
        async with self.db.transaction() as session:
            deployment = await service.create(
                session,
                project_of(request.parent),
                request.deployment_id,
                wanted,
                display_name=request.display_name,
                alias=request.alias,
                queue=request.queue,
                request_id=request.request_id,
            )
        return await self._reply(deployment)

    async def GetDeployment(
        self, request: deployment_service_pb2.GetDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.existing(session, request.name)
        return await self._reply(deployment)

    async def ListDeployments(
        self, request: deployment_service_pb2.ListDeploymentsRequest, _: Any
    ) -> deployment_service_pb2.ListDeploymentsResponse:
        async with self.db.transaction() as session:
            found = await store.deployment_page(session, request)
            targets = await store.shown_targets(session, [row.name for row in found.rows])
        return deployment_service_pb2.ListDeploymentsResponse(
            deployments=[to_proto(row, targets[row.name]) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdateDeployment(
        self, request: deployment_service_pb2.UpdateDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.update(session, request.deployment, list(request.update_mask.paths))
        return await self._reply(deployment)

    async def DeleteDeployment(
        self, request: deployment_service_pb2.DeleteDeploymentRequest, _: Any
    ) -> deployment_pb2.Deployment:
        async with self.db.transaction() as session:
            deployment = await service.delete(session, request.name, request.etag)
        return await self._reply(deployment)

    async def ShiftTraffic(
        self, request: deployment_service_pb2.ShiftTrafficRequest, _: Any
    ) -> deployment_pb2.Deployment:
        wanted = [await lookups.look_up(self.context.clients, spec, request.name) for spec in request.targets]
        async with self.db.transaction() as session:
            deployment = await service.shift(
                session, request.name, wanted, etag=request.etag, request_id=request.request_id
            )
        return await self._reply(deployment)

    async def _reply(self, deployment: Deployment) -> deployment_pb2.Deployment:
        self.context.wake()
        async with self.db.transaction() as session:
            return to_proto(deployment, list(await store.targets_of(session, deployment.name)))


class CompletionApi(CompletionServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def RecordCompletions(
        self, request: completion_service_pb2.RecordCompletionsRequest, _: Any
    ) -> completion_service_pb2.RecordCompletionsResponse:
        if caller().project != ALL_PROJECTS or not caller().subject.startswith("services/"):
            raise ProxyOnly()
        if len(request.completions) > LARGEST_BATCH:
            raise BatchTooLarge(count=len(request.completions))
        async with self.db.transaction() as session:
            rows = [_from_proto(each) for each in request.completions]
            stored, known, refused = await completions.keep(session, rows)
        return completion_service_pb2.RecordCompletionsResponse(
            stored_count=stored, duplicate_count=known, refused_count=refused
        )

    async def GetCompletion(
        self, request: completion_service_pb2.GetCompletionRequest, _: Any
    ) -> completion_pb2.Completion:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Completion, request.name), completion_pb2.Completion)

    async def ListCompletions(
        self, request: completion_service_pb2.ListCompletionsRequest, _: Any
    ) -> completion_service_pb2.ListCompletionsResponse:
        async with self.db.transaction() as session:
            found = await store.completion_page(session, request)
        return completion_service_pb2.ListCompletionsResponse(
            completions=[render(row, completion_pb2.Completion) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def DeleteCompletion(
        self, request: completion_service_pb2.DeleteCompletionRequest, _: Any
    ) -> empty_pb2.Empty:
        async with self.db.transaction() as session:
            await session.delete(await resources.get(session, Completion, request.name, lock=True))
        return empty_pb2.Empty()


class SpendingApi(SpendingServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def GetSpending(
        self, request: spending_service_pb2.GetSpendingRequest, _: Any
    ) -> spending_pb2.ProjectSpending:
        project = project_of(request.name)
        async with self.db.transaction() as session:
            keys = await store.keys_of(session, project)
        return spending.of_project(self.context.state["ledger"], project, [key.name for key in keys])


def to_proto(deployment: Deployment, targets: list[Target]) -> deployment_pb2.Deployment:
    shown = [render(target, deployment_pb2.Target) for target in targets]
    return render(deployment, deployment_pb2.Deployment, targets=shown)


def _from_proto(given: completion_pb2.Completion) -> Completion:
    ended = given.create_time.ToDatetime(tzinfo=UTC)
    return Completion(
        name=given.name,
        project=project_of(given.name),
        created_by=given.api_key,
        create_time=ended,
        update_time=ended,
        deployment=given.deployment,
        target=given.target,
        model_version=given.model_version,
        variant=given.variant,
        messages=[{"role": each.role, "content": each.content} for each in given.messages],
        parameters_json=given.parameters_json,
        answer=given.answer,
        finish_reason=given.finish_reason,
        usage={
            "prompt_tokens": given.usage.prompt_tokens,
            "completion_tokens": given.usage.completion_tokens,
            "total_tokens": given.usage.total_tokens,
        },
        time_to_first_token_ms=given.time_to_first_token_ms,
        duration_ms=given.duration_ms,
        api_key=given.api_key,
        streamed=given.streamed,
    )
