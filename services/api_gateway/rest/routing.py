"""REST from RPCs: a `Route` says which call an address stands for; the shapes follow from the protos.

The path fills `name` and `parent`, the query fills a read's other fields, the body is the request message without what
the path said. Every call that changes something, or was kept from it, leaves an entry in the audit log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from inspect import Parameter, Signature
from typing import Any

import grpc
from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import Response
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import Identity, acting_as
from gyre_kit.errors import Invalid, from_rpc
from gyre_kit.schemas import request_model, response_model, to_message
from opentelemetry import trace
from pydantic import AwareDatetime

from services.api_gateway import service
from services.api_gateway.rest.problems import Problem

PROBLEMS: dict[int | str, dict[str, Any]] = {"4XX": {"model": Problem}, "5XX": {"model": Problem}}
QUERY_TYPES = {
    FieldDescriptor.CPPTYPE_STRING: str,
    FieldDescriptor.CPPTYPE_INT32: int,
    FieldDescriptor.CPPTYPE_INT64: int,
    FieldDescriptor.CPPTYPE_BOOL: bool,
    FieldDescriptor.CPPTYPE_ENUM: str,
}
# Refused for what the request itself says: nothing was concerned, and nothing is left behind, no audit entry either.
MISTAKES = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


@dataclass(frozen=True)
class Route:
    """`sets` gives request fields as templates of the path's parts; `resource` names the message that is the body,
    where the body is the thing itself and not the request around it (PATCH). `timeout`: seconds, where the usual ones
    are too few. `suffix` tells a second address of one call from the first."""

    verb: str
    path: str
    stub: type[Any]
    rpc: str
    sets: Mapping[str, str] = field(default_factory=dict)
    resource: str = ""
    required: tuple[str, ...] = ()
    timeout: float | None = None
    suffix: str = ""

    @property
    def method(self) -> MethodDescriptor:
        module = import_module(self.stub.__module__.removesuffix("_grpc"))
        services = module.DESCRIPTOR.services_by_name
        method: MethodDescriptor = services[self.stub.__name__.removesuffix("Stub")].methods_by_name[self.rpc]
        return method

    @property
    def action(self) -> str:
        """`training_scheduler.CreateRun`, as the audit log has it."""
        return f"{self.stub.__module__.split('.')[1]}.{self.rpc}"


def build(routes: list[Route], context: Callable[[], Context]) -> APIRouter:
    router = APIRouter(prefix="/api/v1")
    for route in routes:
        method = route.method
        router.add_api_route(
            route.path,
            _endpoint(route, context),
            methods=[route.verb],
            response_model=None,
            responses={200: {"model": response_model(_class(method.output_type))}, **PROBLEMS}
            if method.output_type.full_name != "google.protobuf.Empty"
            else PROBLEMS,
            operation_id=route.action.replace(".", "_") + route.suffix,
            summary=_words(route.rpc),
            tags=[route.action.split(".")[0]],
            status_code=200 if method.output_type.full_name != "google.protobuf.Empty" else 204,
        )
    return router


def _endpoint(route: Route, context: Callable[[], Context]) -> Callable[..., Any]:
    """A function with the signature that FastAPI reads: path parts, query fields, body."""
    request_class = _class(route.method.input_type)
    path_parts = re.findall(r"{(\w+)}", route.path)
    query = _query_fields(request_class, route) if route.verb in ("GET", "DELETE") else {}
    body = None if route.verb in ("GET", "DELETE") else _body(request_class, route)

    async def call(request: Request, **given: Any) -> Response:
        parts = {part: given[part] for part in path_parts}
        set_by_path = {name: template.format(**parts) for name, template in route.sets.items()}
        message = _message(request_class, route, given, set_by_path, query)
        return await forward(context(), request, route, message, parts.get("project", ""))

    parameters = [Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request)]
    parameters += [Parameter(part, Parameter.KEYWORD_ONLY, annotation=str) for part in path_parts]
    parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind, default=Query(None)) for name, kind in query.items()
    ]
    if body is not None:
        parameters.append(Parameter("body", Parameter.KEYWORD_ONLY, annotation=body, default=Body(...)))
    call.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    call.__name__ = route.rpc
    return call


async def forward(context: Context, request: Request, route: Route, message: Message, project: str) -> Response:
    """1 who is it, 2 call as them, 3 write down what they changed, 4 answer."""
    identity: Identity = await context.state["identities"].identify(request, project)
    with acting_as(identity):
        stub = context.clients.stub(route.stub)
        try:
            reply = await getattr(stub, route.rpc)(message, timeout=route.timeout)
        except grpc.aio.AioRpcError as error:
            if route.verb != "GET" and error.code() not in MISTAKES:
                await _audit(context, identity, route, message, project, error)
            raise
        is_empty = reply.DESCRIPTOR.full_name == "google.protobuf.Empty"
        if route.verb != "GET":  # of what is gone, the request has the name
            await _audit(context, identity, route, message if is_empty else reply, project)
    if is_empty:
        return Response(status_code=204)
    return Response(events.to_json(reply), media_type="application/json")


async def _audit(
    context: Context, identity: Identity, route: Route, about: Message, project: str, error: Any = None
) -> None:
    known = from_rpc(error) if error else None
    denied = known is not None and known.code is grpc.StatusCode.PERMISSION_DENIED
    span = trace.get_current_span().get_span_context()
    async with context.db.transaction() as session:
        await service.record(
            session,
            project=project or service.FIRST_PROJECT,
            actor=identity.subject,
            action=route.action,
            resource=str(getattr(about, "name", "")),
            outcome="DENIED" if denied else "FAILED" if known else "DONE",
            reason=known.reason if known else "",
            trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
        )


def _message(
    request_class: type[Message], route: Route, given: dict[str, Any], path: dict[str, str], query: dict[str, Any]
) -> Message:
    if route.resource:
        body = given["body"]
        resource_field = request_class.DESCRIPTOR.fields_by_name[route.resource]
        resource = to_message(body, _class(resource_field.message_type), **path)
        message = request_class(**{route.resource: resource})
        changed = [name for name in body.model_fields_set if name != "etag"]
        message.update_mask.paths.extend(sorted(changed))  # type: ignore[attr-defined]
        return message
    if "body" in given:
        return to_message(given["body"], request_class, **path)
    message = request_class(**path)
    for name in query:
        if given.get(name) is not None:
            _set_query(message, name, given[name])
    return message


def _set_query(message: Message, name: str, value: Any) -> None:
    enum = message.DESCRIPTOR.fields_by_name[name].enum_type
    if isinstance(value, datetime):
        getattr(message, name).FromDatetime(value)
        return
    if enum is None:
        setattr(message, name, value)
        return
    values = enum.values_by_name
    if value not in values:
        raise UnknownValue(field=name, given=str(value)[:80], allowed="|".join(values))
    setattr(message, name, values[value].number)


class UnknownValue(Invalid):
    """The query names a value that this field does not know."""


def _query_fields(request_class: type[Message], route: Route) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for known in request_class.DESCRIPTOR.fields:
        if known.name in route.sets or known.is_repeated:
            continue
        if known.message_type is Timestamp.DESCRIPTOR:
            fields[known.name] = AwareDatetime | None
        elif known.cpp_type in QUERY_TYPES:
            fields[known.name] = QUERY_TYPES[known.cpp_type] | None
    return fields


def _body(request_class: type[Message], route: Route) -> Any:
    if route.resource:
        resource = _class(request_class.DESCRIPTOR.fields_by_name[route.resource].message_type)
        return request_model(resource, omit=tuple(route.sets))
    return request_model(request_class, omit=tuple(route.sets), required=route.required)


def _class(descriptor: Any) -> type[Message]:
    cls: type[Message] = descriptor._concrete_class
    return cls


def _words(rpc: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rpc).capitalize()
