"""Deployments and kept completions."""

from __future__ import annotations

from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceStub
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre.inference_gateway.v1.spending_service_pb2_grpc import SpendingServiceStub
from gyre.inference_gateway.v1.usage_service_pb2_grpc import UsageServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
DEPLOYMENT = {"name": "projects/{project}/deployments/{deployment}"}
IN_DEPLOYMENT = {"parent": "projects/{project}/deployments/{deployment}"}
ROLLOUT = {"name": "projects/{project}/deployments/{deployment}/rollouts/{rollout}"}
COMPLETION = {"name": "projects/{project}/completions/{completion}"}
SPENDING = {"name": "projects/{project}/spending"}
USAGE = {"name": "projects/{project}/usage"}
LIST, ONE = "/projects/{project}/deployments", "/projects/{project}/deployments/{deployment}"
COMPLETIONS = "/projects/{project}/completions"

ROUTES = [
    Route("GET", LIST, DeploymentServiceStub, "ListDeployments", IN_PROJECT),
    Route("POST", LIST, DeploymentServiceStub, "CreateDeployment", IN_PROJECT, required=("deployment_id",)),
    Route("GET", ONE, DeploymentServiceStub, "GetDeployment", DEPLOYMENT),
    Route("PATCH", ONE, DeploymentServiceStub, "UpdateDeployment", DEPLOYMENT, resource="deployment"),
    Route("DELETE", ONE, DeploymentServiceStub, "DeleteDeployment", DEPLOYMENT),
    Route("POST", f"{ONE}:shift", DeploymentServiceStub, "ShiftTraffic", DEPLOYMENT),
    Route("POST", f"{ONE}:rollBack", DeploymentServiceStub, "RollBack", DEPLOYMENT),
    Route("GET", f"{ONE}/rollouts", DeploymentServiceStub, "ListRollouts", IN_DEPLOYMENT),
    Route("GET", f"{ONE}/rollouts/{{rollout}}", DeploymentServiceStub, "GetRollout", ROLLOUT),
    Route("GET", COMPLETIONS, CompletionServiceStub, "ListCompletions", IN_PROJECT),
    Route("GET", f"{COMPLETIONS}/{{completion}}", CompletionServiceStub, "GetCompletion", COMPLETION),
    Route("GET", "/projects/{project}/spending", SpendingServiceStub, "GetSpending", SPENDING),
    Route("GET", "/projects/{project}/usage", UsageServiceStub, "GetUsage", USAGE),
    Route("DELETE", f"{COMPLETIONS}/{{completion}}", CompletionServiceStub, "DeleteCompletion", COMPLETION),
]
