"""Errors as RFC 9457 problems: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import Any

import grpc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from gyre_kit.errors import DomainError, from_rpc
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 412,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
STATUS_OF_REASON = {"FILE_TOO_LARGE": 413}  # where HTTP has a status for just that


class Problem(BaseModel):
    """`reason` is for programs, `detail` for people, `metadata` has the facts."""

    model_config = ConfigDict(extra="forbid")

    type: str
    title: str
    status: int
    detail: str
    reason: str
    metadata: dict[str, str]


def install(app: FastAPI) -> None:
    app.add_exception_handler(grpc.aio.AioRpcError, _from_rpc)
    app.add_exception_handler(DomainError, _from_domain)
    app.add_exception_handler(RequestValidationError, _from_validation)
    app.add_exception_handler(HTTPException, _from_http)


def of(error: DomainError) -> JSONResponse:
    status = STATUS_OF_REASON.get(error.reason) or HTTP_STATUS.get(error.code, 500)
    return _problem(status, error.reason, error.message, error.metadata)


async def _from_rpc(_: Request, error: Any) -> JSONResponse:
    return of(from_rpc(error))


async def _from_domain(_: Request, error: Any) -> JSONResponse:
    return of(error)


async def _from_validation(_: Request, error: Any) -> JSONResponse:
    """Names each field at fault by its path in the body or the query."""
    fields = {
        ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0]): item["msg"] for item in error.errors()
    }
    detail = "; ".join(f"{field}: {message}" for field, message in fields.items())
    return _problem(400, "INVALID_REQUEST", f"{detail}. Correct these fields and send it again.", fields)


async def _from_http(_: Request, error: Any) -> JSONResponse:
    return _problem(error.status_code, "NO_SUCH_ADDRESS" if error.status_code == 404 else "HTTP", str(error.detail), {})


def _problem(status: int, reason: str, detail: str, metadata: dict[str, str]) -> JSONResponse:
    title = reason.replace("_", " ").capitalize()
    body = Problem(
        type=f"urn:gyre:{reason.lower()}", title=title, status=status, detail=detail, reason=reason, metadata=metadata
    )
    return JSONResponse(body.model_dump(), status_code=status, media_type="application/problem+json")
