"""Parse, call, render."""

from __future__ import annotations

import base64
from datetime import UTC
from typing import Any

from gyre.api_gateway.v1 import (
    audit_entry_pb2,
    audit_service_pb2,
    key_pb2,
    key_service_pb2,
    project_pb2,
    project_service_pb2,
)
from gyre.api_gateway.v1.audit_service_pb2_grpc import AuditServiceServicer
from gyre.api_gateway.v1.key_service_pb2_grpc import KeyServiceServicer
from gyre.api_gateway.v1.project_service_pb2_grpc import ProjectServiceServicer
from gyre_kit import resources
from gyre_kit.app import Context
from gyre_kit.auth import ALL_PROJECTS, caller
from gyre_kit.errors import Denied
from gyre_kit.names import project_of
from gyre_kit.render import enum_name, render

from services.api_gateway import service, store
from services.api_gateway.models import Project


class ServicesOnly(Denied):
    """Hashes of keys are for services, not for people."""


class ProjectApi(ProjectServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateProject(self, request: project_service_pb2.CreateProjectRequest, _: Any) -> project_pb2.Project:
        secret = service.load_console_secret(self.context.settings.keys_folder / "console.secret")
        async with self.db.transaction() as session:
            project = await service.create_project(
                session,
                request.project_id,
                display_name=request.display_name,
                consent=request.consent_to_keep,
                by=caller(),
                request_id=request.request_id,
            )
            await service.create_console_key(session, project.project, secret, caller())
        return render(project, project_pb2.Project)

    async def GetProject(self, request: project_service_pb2.GetProjectRequest, _: Any) -> project_pb2.Project:
        async with self.db.transaction() as session:
            return render(await resources.get(session, Project, request.name), project_pb2.Project)

    async def ListProjects(
        self, request: project_service_pb2.ListProjectsRequest, _: Any
    ) -> project_service_pb2.ListProjectsResponse:
        async with self.db.transaction() as session:
            found = await store.project_page(session, caller().project, request)
        return project_service_pb2.ListProjectsResponse(
            projects=[render(row, project_pb2.Project) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def UpdateProject(self, request: project_service_pb2.UpdateProjectRequest, _: Any) -> project_pb2.Project:
        async with self.db.transaction() as session:
            project = await service.update_project(
                session, request.project, list(request.update_mask.paths), by=caller()
            )
        return render(project, project_pb2.Project)


class KeyApi(KeyServiceServicer):
    def __init__(self, context: Context) -> None:
        self.context = context
        self.db = context.db

    async def CreateKey(self, request: key_service_pb2.CreateKeyRequest, _: Any) -> key_pb2.ApiKey:
        async with self.db.transaction() as session:
            key, secret = await service.create_key(
                session,
                project_of(request.parent),
                role=enum_name(request, "role"),
                display_name=request.display_name,
                requests_per_minute=request.requests_per_minute,
                by=caller(),
                request_id=request.request_id,
                allowed=request.limits,
                expires=request.expire_time.ToDatetime(UTC) if request.HasField("expire_time") else None,
            )
        return render(key, key_pb2.ApiKey, secret=secret)

    async def UpdateKey(self, request: key_service_pb2.UpdateKeyRequest, _: Any) -> key_pb2.ApiKey:
        async with self.db.transaction() as session:
            key = await service.update_key(session, request.key, list(request.update_mask.paths))
        self.context.state["identities"].forget()
        return render(key, key_pb2.ApiKey)

    async def ListKeys(self, request: key_service_pb2.ListKeysRequest, _: Any) -> key_service_pb2.ListKeysResponse:
        async with self.db.transaction() as session:
            found = await store.key_page(session, project_of(request.parent), request)
        return key_service_pb2.ListKeysResponse(
            keys=[render(row, key_pb2.ApiKey) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )

    async def RevokeKey(self, request: key_service_pb2.RevokeKeyRequest, _: Any) -> key_pb2.ApiKey:
        async with self.db.transaction() as session:
            key = await service.revoke_key(session, request.name, etag=request.etag)
        self.context.state["identities"].forget()
        return render(key, key_pb2.ApiKey)

    async def ListKeyHashes(
        self, request: key_service_pb2.ListKeyHashesRequest, _: Any
    ) -> key_service_pb2.ListKeyHashesResponse:
        if caller().project != ALL_PROJECTS or not caller().subject.startswith("services/"):
            raise ServicesOnly()
        size = min(request.page_size or 1000, 5000)
        after = base64.urlsafe_b64decode(request.page_token).decode() if request.page_token else ""
        async with self.db.transaction() as session:
            keys = await store.hashes_after(session, after, size)
        more = len(keys) == size
        return key_service_pb2.ListKeyHashesResponse(
            hashes=[render(key, key_pb2.KeyHash) for key in keys],
            next_page_token=base64.urlsafe_b64encode(keys[-1].name.encode()).decode() if more else "",
        )


class AuditApi(AuditServiceServicer):
    def __init__(self, context: Context) -> None:
        self.db = context.db

    async def ListAuditEntries(
        self, request: audit_service_pb2.ListAuditEntriesRequest, _: Any
    ) -> audit_service_pb2.ListAuditEntriesResponse:
        async with self.db.transaction() as session:
            found = await store.audit_page(session, project_of(request.parent), request)
        return audit_service_pb2.ListAuditEntriesResponse(
            audit_entries=[render(row, audit_entry_pb2.AuditEntry) for row in found.rows],
            next_page_token=found.next_page_token,
            total_size=found.total,
        )
