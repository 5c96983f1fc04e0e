"""Projects, keys, audit log."""

from __future__ import annotations

from gyre.api_gateway.v1.audit_service_pb2_grpc import AuditServiceStub
from gyre.api_gateway.v1.key_service_pb2_grpc import KeyServiceStub
from gyre.api_gateway.v1.project_service_pb2_grpc import ProjectServiceStub

from services.api_gateway.rest.routing import Route

PROJECT = {"name": "projects/{project}"}
IN_PROJECT = {"parent": "projects/{project}"}
KEY = {"name": "projects/{project}/keys/{key}"}

ROUTES = [
    Route("GET", "/projects", ProjectServiceStub, "ListProjects"),
    Route("POST", "/projects", ProjectServiceStub, "CreateProject", required=("project_id",)),
    Route("GET", "/projects/{project}", ProjectServiceStub, "GetProject", PROJECT),
    Route("PATCH", "/projects/{project}", ProjectServiceStub, "UpdateProject", PROJECT, resource="project"),
    Route("GET", "/projects/{project}/keys", KeyServiceStub, "ListKeys", IN_PROJECT),
    Route("POST", "/projects/{project}/keys", KeyServiceStub, "CreateKey", IN_PROJECT, required=("role",)),
    Route("PATCH", "/projects/{project}/keys/{key}", KeyServiceStub, "UpdateKey", KEY, resource="key"),
    Route("POST", "/projects/{project}/keys/{key}:revoke", KeyServiceStub, "RevokeKey", KEY),
    Route("GET", "/projects/{project}/audit", AuditServiceStub, "ListAuditEntries", IN_PROJECT),
]
