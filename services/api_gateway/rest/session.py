"""Signing in to the console: an API key becomes an HttpOnly cookie."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from gyre.api_gateway.v1 import project_service_pb2
from gyre.api_gateway.v1.project_service_pb2_grpc import ProjectServiceStub
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from pydantic import BaseModel, ConfigDict, Field

from services.api_gateway.identities import COOKIE


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=200, description="An API key.")


class SessionProject(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    display_name: str


class Session(BaseModel):
    """Who is signed in, with which rights, and where."""

    model_config = ConfigDict(extra="forbid")

    identity: str
    role: str
    all_projects: bool
    projects: list[SessionProject]


def make_router(context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(prefix="/session", tags=["session"])

    @router.post("", response_model=Session)
    async def sign_in(body: SignIn, response: Response) -> Session:
        settings = context().settings
        identity, cookie = await context().state["identities"].begin_session(body.key.strip())
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=settings.session_hours * 3600,
            httponly=True,
            samesite="strict",
            secure=settings.secure_cookies,
        )
        return await _describe(context(), identity)

    @router.get("", response_model=Session)
    async def who_am_i(request: Request) -> Session:
        return await _describe(context(), await context().state["identities"].identify(request))

    @router.delete("", status_code=204)
    async def sign_out() -> Response:
        gone = Response(status_code=204)
        gone.delete_cookie(COOKIE)
        return gone

    return router


async def _describe(context: Context, identity: Identity) -> Session:
    with acting_as(identity):
        request = project_service_pb2.ListProjectsRequest(page_size=500)
        found = await context.clients.stub(ProjectServiceStub).ListProjects(request)
    projects = [SessionProject(name=project.name, display_name=project.display_name) for project in found.projects]
    return Session(
        identity=identity.subject,
        role=f"ROLE_{identity.role.name}",
        all_projects=identity.project == "*",
        projects=projects,
    )
