"""The HTTP application: REST below /api/v1, the console at /."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from gyre_kit.app import Context
from starlette.responses import Response

from services.api_gateway.rest import (
    batches,
    capacity,
    chat,
    console,
    datasets,
    deployments,
    evaluations,
    feedback,
    logs,
    model_files,
    models,
    problems,
    projects,
    prompts,
    rent_or_own,
    session,
    showback,
    summary,
    training,
    updates,
    uploads,
)
from services.api_gateway.rest.routing import build

RESOURCES = (projects, datasets, training, models, evaluations, deployments, batches, prompts, feedback, capacity)
OTHERS = (session, summary, uploads, model_files, updates, logs, chat, rent_or_own, showback)
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def make_app(context: Callable[[], Context]) -> FastAPI:
    """`context` is asked at each request, so that the document of the API can be made without a platform."""
    app = FastAPI(
        title="Gyre", version="0.1.0", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json",
        separate_input_output_schemas=False,
    )  # fmt: skip
    problems.install(app)
    for resource in RESOURCES:
        app.include_router(build(resource.ROUTES, context))
    for other in OTHERS:
        app.include_router(other.make_router(context), prefix="/api/v1")
    app.middleware("http")(_with_security_headers)
    console.install(app, context)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


async def _with_security_headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await go_on(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _document(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, with the key as the security scheme of every call."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        document["components"]["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"apiKey": []}]
        app.openapi_schema = document
    return app.openapi_schema
