"""Deployments, kept completions and traces."""

from __future__ import annotations

from gyre.inference_gateway.v1.adapter_service_pb2_grpc import AdapterServiceStub
from gyre.inference_gateway.v1.completion_service_pb2_grpc import CompletionServiceStub
from gyre.inference_gateway.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from gyre.inference_gateway.v1.experiment_service_pb2_grpc import ExperimentServiceStub
from gyre.inference_gateway.v1.replica_service_pb2_grpc import ReplicaServiceStub
from gyre.inference_gateway.v1.shadow_service_pb2_grpc import ShadowServiceStub
from gyre.inference_gateway.v1.spending_service_pb2_grpc import SpendingServiceStub
from gyre.inference_gateway.v1.trace_service_pb2_grpc import TraceServiceStub
from gyre.inference_gateway.v1.usage_service_pb2_grpc import UsageServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
DEPLOYMENT = {"name": "projects/{project}/deployments/{deployment}"}
IN_DEPLOYMENT = {"parent": "projects/{project}/deployments/{deployment}"}
ROLLOUT = {"name": "projects/{project}/deployments/{deployment}/rollouts/{rollout}"}
REPLICA = {"name": "projects/{project}/deployments/{deployment}/replicas/{replica}"}
SHADOW = {"name": "projects/{project}/deployments/{deployment}/shadows/{shadow}"}
PAIRS = {"parent": SHADOW["name"]}
EXPERIMENT = {"name": "projects/{project}/deployments/{deployment}/experiments/{experiment}"}
COMPLETION = {"name": "projects/{project}/completions/{completion}"}
TRACE = {"name": "projects/{project}/traces/{trace}"}
SPENDING = {"name": "projects/{project}/spending"}
USAGE = {"name": "projects/{project}/usage"}
LIST, ONE = "/projects/{project}/deployments", "/projects/{project}/deployments/{deployment}"
COMPLETIONS = "/projects/{project}/completions"
EXPERIMENTS, ONE_EXPERIMENT = f"{ONE}/experiments", f"{ONE}/experiments/{{experiment}}"
TRACES, SESSIONS = "/projects/{project}/traces", "/projects/{project}/sessions"

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
    Route("POST", f"{ONE}:scale", ReplicaServiceStub, "ScaleDeployment", DEPLOYMENT),
    Route("GET", f"{ONE}/replicas", ReplicaServiceStub, "ListReplicas", IN_DEPLOYMENT),
    Route("GET", f"{ONE}/replicas/{{replica}}", ReplicaServiceStub, "GetReplica", REPLICA),
    Route("POST", f"{ONE}:setAdapters", AdapterServiceStub, "SetAdapters", DEPLOYMENT),
    Route("POST", f"{ONE}:setShadow", ShadowServiceStub, "SetShadow", DEPLOYMENT, required=("target", "percent")),
    Route("POST", f"{ONE}:stopShadows", ShadowServiceStub, "StopShadows", DEPLOYMENT),
    Route("GET", f"{ONE}/shadows", ShadowServiceStub, "ListShadows", IN_DEPLOYMENT),
    Route("GET", f"{ONE}/shadows/{{shadow}}", ShadowServiceStub, "GetShadow", SHADOW),
    Route("GET", f"{ONE}/shadows/{{shadow}}/pairs", ShadowServiceStub, "ListShadowPairs", PAIRS),
    Route("GET", EXPERIMENTS, ExperimentServiceStub, "ListExperiments", IN_DEPLOYMENT),
    Route("POST", EXPERIMENTS, ExperimentServiceStub, "CreateExperiment", IN_DEPLOYMENT, required=("metric",)),
    Route("GET", ONE_EXPERIMENT, ExperimentServiceStub, "GetExperiment", EXPERIMENT),
    Route("POST", f"{ONE_EXPERIMENT}:stop", ExperimentServiceStub, "StopExperiment", EXPERIMENT),
    Route("POST", f"{ONE_EXPERIMENT}:promote", ExperimentServiceStub, "PromoteWinner", EXPERIMENT),
    Route("GET", COMPLETIONS, CompletionServiceStub, "ListCompletions", IN_PROJECT),
    Route("GET", f"{COMPLETIONS}/{{completion}}", CompletionServiceStub, "GetCompletion", COMPLETION),
    Route("GET", "/projects/{project}/spending", SpendingServiceStub, "GetSpending", SPENDING),
    Route("GET", "/projects/{project}/usage", UsageServiceStub, "GetUsage", USAGE),
    Route("DELETE", f"{COMPLETIONS}/{{completion}}", CompletionServiceStub, "DeleteCompletion", COMPLETION),
    Route("GET", TRACES, TraceServiceStub, "ListTraces", IN_PROJECT),
    Route("GET", f"{TRACES}/{{trace}}", TraceServiceStub, "GetTrace", TRACE),
    Route("DELETE", f"{TRACES}/{{trace}}", TraceServiceStub, "DeleteTrace", TRACE),
    Route("POST", f"{SESSIONS}:delete", TraceServiceStub, "DeleteSession", IN_PROJECT, required=("session",)),
]
