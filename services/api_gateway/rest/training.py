"""Methods, recipes, runs, tries and pipelines."""

from __future__ import annotations

from gyre.training_scheduler.v1.method_service_pb2_grpc import MethodServiceStub
from gyre.training_scheduler.v1.pipeline_service_pb2_grpc import PipelineServiceStub
from gyre.training_scheduler.v1.recipe_service_pb2_grpc import RecipeServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre.training_scheduler.v1.try_service_pb2_grpc import TryServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
RUN = {"name": "projects/{project}/runs/{run}"}
PIPELINE = {"name": "projects/{project}/pipelines/{pipeline}"}
TRY = {"name": "projects/{project}/tries/{trial}"}
RUNS, ONE_RUN = "/projects/{project}/runs", "/projects/{project}/runs/{run}"
TRIES, ONE_TRY = "/projects/{project}/tries", "/projects/{project}/tries/{trial}"
PIPELINES, ONE_PIPELINE = "/projects/{project}/pipelines", "/projects/{project}/pipelines/{pipeline}"

ROUTES = [
    Route("GET", "/projects/{project}/methods", MethodServiceStub, "ListMethods", IN_PROJECT),
    Route("GET", "/projects/{project}/recipes", RecipeServiceStub, "ListRecipes", IN_PROJECT),
    Route("GET", RUNS, RunServiceStub, "ListRuns", IN_PROJECT),
    Route("POST", RUNS, RunServiceStub, "CreateRun", IN_PROJECT),
    Route("POST", f"{RUNS}:estimate", RunServiceStub, "EstimateRun", IN_PROJECT),
    Route("GET", ONE_RUN, RunServiceStub, "GetRun", RUN),
    Route("POST", f"{ONE_RUN}:cancel", RunServiceStub, "CancelRun", RUN),
    Route("POST", f"{ONE_RUN}:pause", RunServiceStub, "PauseRun", RUN),
    Route("POST", f"{ONE_RUN}:resume", RunServiceStub, "ResumeRun", RUN),
    Route("POST", f"{ONE_RUN}:stop", RunServiceStub, "StopRun", RUN),
    Route("POST", f"{ONE_RUN}:fork", RunServiceStub, "ForkRun", RUN),
    Route("GET", f"{ONE_RUN}/metrics", RunServiceStub, "ListMetrics", {"parent": RUN["name"]}),
    Route("GET", f"{ONE_RUN}/checkpoints", RunServiceStub, "ListCheckpoints", {"parent": RUN["name"]}),
    Route("GET", f"{ONE_RUN}/samples", RunServiceStub, "ListSamples", {"parent": RUN["name"]}),
    Route("GET", f"{ONE_RUN}/alarms", RunServiceStub, "ListAlarms", {"parent": RUN["name"]}),
    Route("POST", TRIES, TryServiceStub, "CreateTry", IN_PROJECT),
    Route("GET", ONE_TRY, TryServiceStub, "GetTry", TRY),
    Route("POST", f"{ONE_TRY}:cancel", TryServiceStub, "CancelTry", TRY),
    Route("GET", PIPELINES, PipelineServiceStub, "ListPipelines", IN_PROJECT),
    Route("POST", PIPELINES, PipelineServiceStub, "CreatePipeline", IN_PROJECT),
    Route("GET", ONE_PIPELINE, PipelineServiceStub, "GetPipeline", PIPELINE),
    Route("POST", f"{ONE_PIPELINE}:cancel", PipelineServiceStub, "CancelPipeline", PIPELINE),
]
