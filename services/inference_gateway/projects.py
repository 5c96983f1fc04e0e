"""What api_gateway knows of keys and projects, asked for as a whole."""

from __future__ import annotations

from gyre.api_gateway.v1 import key_pb2, key_service_pb2, project_pb2, project_service_pb2
from gyre.api_gateway.v1.key_service_pb2_grpc import KeyServiceStub
from gyre.api_gateway.v1.project_service_pb2_grpc import ProjectServiceStub
from gyre_kit.app import Context
from gyre_kit.events import to_dict
from gyre_kit.names import last, project_of
from gyre_kit.render import enum_name

from services.inference_gateway import store
from services.inference_gateway.models.projects import KnownKey, KnownProject


async def refresh_keys(context: Context) -> bool:
    """Everything that api_gateway knows of keys and projects; events bring single changes sooner."""
    keys = await _all_keys(context)
    reply = await context.clients.stub(ProjectServiceStub).ListProjects(
        project_service_pb2.ListProjectsRequest(page_size=500)
    )
    async with context.db.transaction() as session:
        for key in keys:
            await store.put_key(session, key)
        await store.forget_keys_but(session, [key.name for key in keys])
        for project in reply.projects:
            await store.put_project(
                session,
                KnownProject(
                    project=last(project.name),
                    active=project.state == project_pb2.Project.STATE_ACTIVE,
                    consent_to_keep=project.consent_to_keep,
                    requests_per_minute=project.requests_per_minute,
                    limits=to_dict(project.limits),
                    regions=list(project.regions),
                    keep_personal_data=project.keep_personal_data,
                    retention_days=project.retention_days,
                ),
            )
    context.wake_event("publish_routes").set()
    return False


async def _all_keys(context: Context) -> list[KnownKey]:
    stub = context.clients.stub(KeyServiceStub)
    keys, token = [], ""
    while True:
        reply = await stub.ListKeyHashes(key_service_pb2.ListKeyHashesRequest(page_size=5000, page_token=token))
        keys += [
            KnownKey(
                name=each.name,
                project=project_of(each.name),
                secret_sha256=each.secret_sha256,
                role=enum_name(each, "role"),
                active=each.state == key_pb2.ApiKey.STATE_ACTIVE,
                requests_per_minute=each.requests_per_minute,
                limits=to_dict(each.limits),
                expire_unix_seconds=each.expire_unix_seconds,
            )
            for each in reply.hashes
        ]
        token = reply.next_page_token
        if not token:
            return keys
