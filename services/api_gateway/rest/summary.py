"""The loop at a glance: what there is, what runs, and what waits for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from fastapi import APIRouter, Request
from gyre.dataset.v1 import dataset_service_pb2
from gyre.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub
from gyre.evaluation.v1 import evaluation_service_pb2
from gyre.evaluation.v1.evaluation_service_pb2_grpc import EvaluationServiceStub
from gyre.feedback.v1 import feedback_service_pb2
from gyre.feedback.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from gyre.gpu_scheduler.v1 import workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre.inference_gateway.v1 import completion_service_pb2, deployment_service_pb2
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceStub
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre.model_registry.v1 import model_service_pb2
from gyre.model_registry.v1.model_service_pb2_grpc import ModelServiceStub
from gyre.training_scheduler.v1 import pipeline_service_pb2, run_service_pb2
from gyre.training_scheduler.v1.pipeline_service_pb2_grpc import PipelineServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from pydantic import BaseModel, ConfigDict

# name → (stub, call, request, filter): each is one list call for its total alone
COUNTS: dict[str, tuple[Any, str, Any, str]] = {
    "datasets": (DatasetServiceStub, "ListDatasets", dataset_service_pb2.ListDatasetsRequest, ""),
    "models": (ModelServiceStub, "ListModels", model_service_pb2.ListModelsRequest, ""),
    "runs": (RunServiceStub, "ListRuns", run_service_pb2.ListRunsRequest, ""),
    "runs_running": (RunServiceStub, "ListRuns", run_service_pb2.ListRunsRequest, "state=RUNNING"),
    "runs_queued": (RunServiceStub, "ListRuns", run_service_pb2.ListRunsRequest, "state=QUEUED"),
    "pipelines": (PipelineServiceStub, "ListPipelines", pipeline_service_pb2.ListPipelinesRequest, ""),
    "evaluations": (EvaluationServiceStub, "ListEvaluations", evaluation_service_pb2.ListEvaluationsRequest, ""),
    "deployments": (DeploymentServiceStub, "ListDeployments", deployment_service_pb2.ListDeploymentsRequest, ""),
    "completions": (CompletionServiceStub, "ListCompletions", completion_service_pb2.ListCompletionsRequest, ""),
    "feedback": (FeedbackServiceStub, "ListFeedback", feedback_service_pb2.ListFeedbackRequest, ""),
    "feedback_waiting": (
        FeedbackServiceStub,
        "ListFeedback",
        feedback_service_pb2.ListFeedbackRequest,
        "state=SUBMITTED",
    ),
    "workloads": (WorkloadServiceStub, "ListWorkloads", workload_service_pb2.ListWorkloadsRequest, ""),
}


class Summary(BaseModel):
    """Totals by name; None where the service in charge does not answer now."""

    model_config = ConfigDict(extra="forbid")

    counts: dict[str, int | None]
    spend_microusd: int | None


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(tags=["home"])

    @router.get("/projects/{project}/summary", response_model=Summary)
    async def summary(request: Request, project: str) -> Summary:
        identity = await context().state["identities"].identify(request, project)
        with acting_as(identity):
            questions = [_count(context(), project, *asked) for asked in COUNTS.values()]
            totals = await asyncio.gather(*questions, _spend(context(), project))
        return Summary(counts=dict(zip(COUNTS, totals, strict=False)), spend_microusd=totals[-1])

    return router


async def _count(context: Context, project: str, stub: Any, rpc: str, request: Any, filter: str) -> int | None:
    call = getattr(context.clients.stub(stub), rpc)
    asked = request(parent=f"projects/{project}", page_size=1, filter=filter)
    return await _or_none(call(asked, timeout=3), lambda reply: int(reply.total_size))


async def _spend(context: Context, project: str) -> int | None:
    """What the newest 500 workloads have cost, in millionths of a dollar."""
    asked = workload_service_pb2.ListWorkloadsRequest(parent=f"projects/{project}", page_size=500)
    call = context.clients.stub(WorkloadServiceStub).ListWorkloads(asked, timeout=3)
    return await _or_none(call, lambda reply: sum(workload.usage.cost_microusd for workload in reply.workloads))


async def _or_none(call: Awaitable[Any], value: Callable[[Any], int]) -> int | None:
    """One service that is away must not darken the whole page."""
    try:
        return value(await call)
    except grpc.aio.AioRpcError:
        return None
