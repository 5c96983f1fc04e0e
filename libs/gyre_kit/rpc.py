"""gRPC as the house speaks it: authenticated, with deadlines, domain errors as `google.rpc.Status`, traced, counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry.instrumentation.grpc import aio_client_interceptors, aio_server_interceptor
from sqlalchemy.exc import DBAPIError

from gyre_kit.auth import Identity, Role, Signer, Verifier, acting_as, caller
from gyre_kit.errors import Denied, DomainError, NotFound, Unauthenticated, Unavailable, from_rpc, to_status
from gyre_kit.settings import KitSettings
from gyre_kit.telemetry import Metrics

log = logging.getLogger(__name__)
MAX_MESSAGE = 16 * 1024 * 1024
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
]
# Of one caller to one service; the others wait here. gRPC's core drops calls at random, as CANCELLED, when more than
# 1,000 wait at a server, and who has few is not to wait behind somebody's thousands.
MOST_AT_ONCE = 100
OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.")
READ_VERBS = ("Get", "List", "Watch", "Query")


class Gate(grpc.aio.ServerInterceptor):
    """Steps around each call: who is it, may they, run it, and say what went wrong in one form."""

    def __init__(self, component: str, verifier: Verifier, roles: Mapping[str, Role], metrics: Metrics) -> None:
        self._component, self._verifier, self._roles, self._metrics = component, verifier, roles, metrics

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        handler = await continuation(details)
        if handler is None or details.method.startswith(OPEN_SERVICES):
            return handler
        metadata = dict(details.invocation_metadata or ())
        return self._wrap(handler, details.method, str(metadata.get("authorization", "")))

    def _wrap(self, handler: Any, method: str, authorization: str) -> Any:
        if handler.request_streaming and not handler.response_streaming:
            return handler._replace(stream_unary=self._unary(handler.stream_unary, method, authorization))
        if handler.request_streaming:
            return handler._replace(stream_stream=self._stream(handler.stream_stream, method, authorization))
        if handler.response_streaming:
            return handler._replace(unary_stream=self._stream(handler.unary_stream, method, authorization))
        return handler._replace(unary_unary=self._unary(handler.unary_unary, method, authorization))

    def _unary(self, behaviour: Any, method: str, authorization: str) -> Any:
        async def call(request: Any, context: Any) -> Any:
            with self._measured(method) as outcome:
                try:
                    with acting_as(self._admit(method, authorization, request)):
                        return await behaviour(request, context)
                except Exception as error:  # noqa: BLE001  (whatever it is, the caller gets a status)
                    await self._abort(context, method, error, outcome)

        return call

    def _stream(self, behaviour: Any, method: str, authorization: str) -> Any:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            with self._measured(method) as outcome:
                try:
                    with acting_as(self._admit(method, authorization, request)):
                        async for reply in behaviour(request, context):
                            yield reply
                except Exception as error:  # noqa: BLE001  (whatever it is, the caller gets a status)
                    await self._abort(context, method, error, outcome)

        return call

    def _admit(self, method: str, authorization: str, request: Any) -> Identity:
        """Raises: Unauthenticated; Denied; NotFound for a name in a project that is not the caller's."""
        if not authorization.startswith("Bearer "):
            raise Unauthenticated("The call carries no token.")
        identity = self._verifier.identity(authorization.removeprefix("Bearer "))
        verb = method.rsplit("/", 1)[-1]
        needed = self._roles.get(verb, Role.VIEWER if verb.startswith(READ_VERBS) else Role.ENGINEER)
        worker_call = needed is Role.WORKER
        if identity.role < needed or (identity.role is Role.WORKER and not worker_call):
            raise Denied(method=verb, needs=needed.name, has=identity.role.name)
        for field in ("name", "parent"):
            given = getattr(request, field, "")
            if isinstance(given, str) and given.startswith("projects/"):
                project = given.split("/")[1]
                if not identity.may_see(project):
                    raise NotFound(name=given)
        return identity

    @contextmanager
    def _measured(self, method: str) -> Iterator[dict[str, str]]:
        outcome = {"code": "OK"}
        started = time.perf_counter()
        self._metrics.rpc_in_flight.inc()
        try:
            yield outcome
        finally:
            self._metrics.rpc_in_flight.dec()
            seconds = time.perf_counter() - started
            self._metrics.rpc_seconds.labels(method=method.rsplit(".", 1)[-1], code=outcome["code"]).observe(seconds)

    async def _abort(self, context: Any, method: str, error: Exception, outcome: dict[str, str]) -> None:
        if isinstance(error, grpc.aio.AbortError):
            raise error
        known = self._known(method, error)
        outcome["code"] = known.code.name
        await context.abort_with_status(to_status(known, self._component))

    def _known(self, method: str, error: Exception) -> DomainError:
        if isinstance(error, DomainError):
            return error
        if isinstance(error, grpc.aio.AioRpcError):
            return from_rpc(error)
        if isinstance(error, (DBAPIError, OSError)) and getattr(error, "connection_invalidated", True):
            log.warning("a part that is needed does not answer", extra={"method": method, "error": str(error)[:300]})
            return Unavailable("The database does not answer now; try again in a moment.")
        log.exception("call failed", extra={"method": method})
        failed = DomainError("The service failed; its log has the details under this trace id.")
        failed.code = grpc.StatusCode.INTERNAL
        return failed


def make_server(component: str, verifier: Verifier, roles: Mapping[str, Role], metrics: Metrics) -> grpc.aio.Server:
    gate = Gate(component, verifier, roles, metrics)
    return grpc.aio.server(interceptors=[aio_server_interceptor(), gate], options=OPTIONS)


def add_servicers(server: grpc.aio.Server, servicers: Sequence[Any]) -> health.aio.HealthServicer:
    """Adds the servicers, health and reflection. Health says SERVING from the first, unless it is told another state."""
    names = []
    for servicer in servicers:
        base = next(cls for cls in type(servicer).__mro__ if cls.__module__.endswith("_pb2_grpc"))
        module = import_module(base.__module__)
        getattr(module, f"add_{base.__name__}_to_server")(servicer, server)
        messages = import_module(base.__module__.removesuffix("_grpc"))
        names.append(messages.DESCRIPTOR.services_by_name[base.__name__.removesuffix("Servicer")].full_name)
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    return status


async def set_serving(status: health.aio.HealthServicer, serving: bool) -> None:
    state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
    await status.set("", state)


class Clients:
    """Stubs of the other services. Each call carries the current identity, a deadline and the trace."""

    def __init__(self, settings: KitSettings, signer: Signer) -> None:
        self._settings, self._signer = settings, signer
        self._channels: dict[str, grpc.aio.Channel] = {}

    def stub(self, stub: Callable[[Any], Any]) -> Any:
        """`clients.stub(RunServiceStub)`; the stub's package says which service it is.

        `Any`, for the generated stubs have the types of the synchronous API.
        """
        component = stub.__module__.split(".")[1]
        return stub(self.channel(component))

    def channel(self, component: str) -> grpc.aio.Channel:
        if component not in self._channels:
            outgoing = Outgoing(self._signer, self._settings.rpc_timeout_seconds)
            self._channels[component] = grpc.aio.insecure_channel(
                self._settings.grpc_address(component),
                options=[
                    *OPTIONS,
                    ("grpc.initial_reconnect_backoff_ms", 100),
                    ("grpc.max_reconnect_backoff_ms", 2000),
                ],
                interceptors=[*aio_client_interceptors(), *outgoing.interceptors()],
            )
        return self._channels[component]

    async def close(self) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))


class Outgoing:
    """Adds token and deadline to every kind of call, and bounds how many a caller has under way."""

    def __init__(self, signer: Signer, timeout: float) -> None:
        self._signer, self._timeout = signer, timeout
        self._turns: WeakValueDictionary[Identity, asyncio.Semaphore] = WeakValueDictionary()

    def interceptors(self) -> list[Any]:
        outer = self

        class UnaryUnary(grpc.aio.UnaryUnaryClientInterceptor):
            async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
                async with outer.turns():
                    call = await continuation(outer.prepared(details, deadline=True), request)
                    try:
                        await call.code()  # its end, whatever that is
                    except asyncio.CancelledError:  # telemetry, which waits likewise, would let it go on
                        call.cancel()
                        raise
                    return call

        class UnaryStream(grpc.aio.UnaryStreamClientInterceptor):
            async def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
                return await continuation(outer.prepared(details, deadline=False), request)

        class StreamUnary(grpc.aio.StreamUnaryClientInterceptor):
            async def intercept_stream_unary(self, continuation: Any, details: Any, requests: Any) -> Any:
                return await continuation(outer.prepared(details, deadline=False), requests)

        return [UnaryUnary(), UnaryStream(), StreamUnary()]

    def turns(self) -> asyncio.Semaphore:
        """Of the current identity; those who hold one or wait for one keep it."""
        return self._turns.setdefault(caller(), asyncio.Semaphore(MOST_AT_ONCE))

    def prepared(self, details: Any, deadline: bool) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        metadata.set_all("authorization", [f"Bearer {self._signer.token(self._as_service(caller()))}"])
        timeout = details.timeout or (self._timeout if deadline else None)
        return details._replace(metadata=metadata, timeout=timeout)

    def _as_service(self, identity: Identity) -> Identity:
        """A reconciler speaks as its service; a request speaks for whoever made it."""
        if identity.subject == "system":
            return Identity(subject=f"services/{self._signer.component}", project=identity.project, role=identity.role)
        return identity


async def wait_until_serving(address: str, seconds: float) -> bool:
    """True as soon as the server at `address` says that it serves; False after `seconds`."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                if reply.status == health_pb2.HealthCheckResponse.SERVING:
                    return True
            except grpc.aio.AioRpcError:
                pass
            await asyncio.sleep(0.1)
    return False
