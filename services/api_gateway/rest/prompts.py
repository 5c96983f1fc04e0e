"""Prompts with versions, and what a project wants done to its traffic."""

from __future__ import annotations

from gyre.inference_gateway.v1.prompt_service_pb2_grpc import PromptServiceStub
from gyre.inference_gateway.v1.traffic_policy_service_pb2_grpc import TrafficPolicyServiceStub

from services.api_gateway.rest.routing import Route

IN_PROJECT = {"parent": "projects/{project}"}
PROMPT = {"name": "projects/{project}/prompts/{prompt}"}
IN_PROMPT = {"parent": PROMPT["name"]}
VERSION = {"name": "projects/{project}/prompts/{prompt}/versions/{version}"}
POLICY, POLICY_PATH = {"name": "projects/{project}/trafficPolicy"}, "/projects/{project}/traffic-policy"
FINDINGS = {"name": "projects/{project}/trafficPolicy/findings"}
LIST, ONE = "/projects/{project}/prompts", "/projects/{project}/prompts/{prompt}"

ROUTES = [
    Route("GET", LIST, PromptServiceStub, "ListPrompts", IN_PROJECT),
    Route("GET", ONE, PromptServiceStub, "GetPrompt", PROMPT),
    Route("DELETE", ONE, PromptServiceStub, "DeletePrompt", PROMPT),
    Route("POST", f"{ONE}:setLabel", PromptServiceStub, "SetPromptLabel", PROMPT, required=("label", "version")),
    Route("GET", f"{ONE}/versions", PromptServiceStub, "ListPromptVersions", IN_PROMPT),
    Route("POST", f"{ONE}/versions", PromptServiceStub, "CreatePromptVersion", IN_PROMPT, required=("messages",)),
    Route("GET", f"{ONE}/versions/{{version}}", PromptServiceStub, "GetPromptVersion", VERSION),
    Route("GET", POLICY_PATH, TrafficPolicyServiceStub, "GetTrafficPolicy", POLICY),
    Route("GET", f"{POLICY_PATH}/findings", TrafficPolicyServiceStub, "GetTrafficFindings", FINDINGS),
    Route("PATCH", POLICY_PATH, TrafficPolicyServiceStub, "UpdateTrafficPolicy", POLICY, resource="traffic_policy"),
]
