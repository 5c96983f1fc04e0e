"""Between workers and the control plane of this machine: a Unix socket, spoken HTTP, 0600.

Workers hand on feedback, files and batches, ask about keys that are new to them, and report their load; so they need no
database, no gRPC and no key of any service. The server is the one that also serves clients, with another handler.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.inference_gateway.proxy import errors, occurrences, stored, wire
from services.inference_gateway.proxy.outcomes import Outcomes, from_json
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.server import Server
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.stored import StoredCall, StoredSink
from services.inference_gateway.proxy.upstream import UpstreamConnection, UpstreamError
from services.inference_gateway.proxy.wire import Request

log = logging.getLogger(__name__)
CALL_SECONDS = 15.0
ENVELOPE = "x-gyre-"
PASSED_ON = ("content-type", "content-disposition", "retry-after")


@dataclass(frozen=True, slots=True)
class FeedbackCall:
    """What a client said, and who it is. `body` is the client's JSON, not looked at yet."""

    project: str
    api_key: str
    role: str
    body: bytes


@dataclass(frozen=True, slots=True)
class SpansCall:
    """An application's export of spans by OTLP/HTTP: the body, not looked at yet, and how it is written."""

    project: str
    content_type: str
    encoding: str
    body: bytes


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker says of itself: the revision of its routes, and of each target the requests running on it and what
    came of those before, since the worker began; how long those waited for a place that had to; of each target that
    sleeps, the requests that wait for it; the prompts that it sent to rented engines; and what guardrails and the exact
    cache did. `alone`: its parent is gone; `told`: the counts that a control plane has heard already, be it an earlier one.
    """

    pid: int
    revision: int
    in_flight: Mapping[str, int]
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)
    waits: Mapping[str, Outcomes] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    sent_out: Counter[occurrences.Place] = field(default_factory=Counter)
    found: Counter[occurrences.Place] = field(default_factory=Counter)
    alone: bool = False
    told: WorkerStatus | None = None


# Returns status and JSON of the answer. May raise ApiError.
FeedbackSink = Callable[[FeedbackCall], Awaitable[tuple[int, Any]]]
# The same; the JSON of a 200 has `rejected` (a number of spans) and `reason`.
SpansSink = Callable[[SpansCall], Awaitable[tuple[int, Any]]]
# Whether somebody holds the key with that SHA-256 (hex); if so, a snapshot with it is on its way.
KeyQuestion = Callable[[str], Awaitable[bool]]
# Starts an engine for the target of that id.
WakeCall = Callable[[str], Awaitable[None]]
# Has the engine of the replica of that id load an adapter. Returns why it cannot; empty if it has it.
AdapterCall = Callable[[str, str], Awaitable[str]]


async def nobody_sleeps(_: str) -> None:
    """For a control plane whose targets never do."""


async def no_adapters(_: str, __: str) -> str:
    """For a control plane whose engines have none."""
    return "there are no adapters"


class ControlFailed(Exception):
    """The control plane did not answer."""


class ControlClient:
    """A worker's end. One connection a call: these are rare."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    async def call(self, path: str, body: bytes, envelope: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """POSTs `body`. Raises: ControlFailed."""
        loop = asyncio.get_running_loop()
        connection: UpstreamConnection | None = None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                _, connection = await loop.create_unix_connection(UpstreamConnection, self._path)
                collected = _Collected(loop)
                connection.send(_message(path, body, envelope or {}), collected)
                return await collected.done
        except (OSError, TimeoutError, UpstreamError) as error:
            raise ControlFailed("the control plane does not answer") from error
        finally:
            if connection is not None:
                connection.close()

    async def relay(self, path: str, body: bytes, envelope: Mapping[str, str], reply: Reply, seconds: float) -> None:
        """POSTs `body` and passes the answer on as it comes, however long it is. `seconds`: until it begins.

        Raises: ControlFailed where nothing went out yet; else the reply stays without an end.
        """
        loop = asyncio.get_running_loop()
        connection: UpstreamConnection | None = None
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_unix_connection(UpstreamConnection, self._path)
                passed_on = _PassedOn(loop, connection, reply)
                connection.send(_message(path, body, envelope), passed_on)
                await passed_on.begun.wait()
            await passed_on.done
        except (OSError, TimeoutError, UpstreamError) as error:
            if not reply.started:
                raise ControlFailed("the control plane does not answer") from error
        finally:
            reply.on_pause = reply.on_resume = None
            if connection is not None:
                connection.close()


class _Collected:
    """A sink that waits for the whole."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[tuple[int, bytes]] = loop.create_future()
        self._status = 0
        self._body: list[bytes] = []

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_read(self) -> None:
        """Nothing goes out before the end."""

    def on_end(self) -> None:
        if not self.done.done():
            self.done.set_result((self._status, b"".join(self._body)))

    def on_error(self, error: UpstreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _PassedOn:
    """A sink that writes to a client at the client's pace."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: UpstreamConnection, reply: Reply) -> None:
        self.begun = asyncio.Event()
        self.done: asyncio.Future[None] = loop.create_future()
        self._reply = reply
        reply.on_pause, reply.on_resume = connection.pause, connection.resume

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._reply.start(status, {name: headers[name] for name in PASSED_ON if name in headers} | wire.request_id())
        self.begun.set()

    def on_body(self, data: bytes) -> None:
        self._reply.write(data)

    def on_read(self) -> None:
        """Every piece went out as it came."""

    def on_end(self) -> None:
        self._reply.end()
        if not self.done.done():
            self.done.set_result(None)

    def on_error(self, error: UpstreamError) -> None:
        self.begun.set()
        if not self.done.done():
            self.done.set_exception(error)


class ControlServer:
    """The control plane's end: `on_feedback` and `on_spans` decide, `knows_key` answers, `on_status` listens and
    says whether that worker goes on, `on_stored` keeps, `on_wake` wakes, `on_adapter` loads."""

    def __init__(
        self,
        path: Path,
        settings: ProxySettings,
        on_feedback: FeedbackSink,
        on_spans: SpansSink,
        knows_key: KeyQuestion,
        on_status: Callable[[WorkerStatus], bool],
        on_stored: StoredSink,
        on_wake: WakeCall = nobody_sleeps,
        on_adapter: AdapterCall = no_adapters,
    ) -> None:
        self._path = path
        self._on_stored = on_stored
        self._on_feedback = on_feedback
        self._on_spans = on_spans
        self._knows_key = knows_key
        self._on_status = on_status
        self._on_wake = on_wake
        self._on_adapter = on_adapter
        self._server = Server(self, settings)

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(self._path))
        os.chmod(self._path, 0o600)
        sock.setblocking(False)
        await self._server.listen(sock)

    async def stop(self) -> None:
        await self._server.drain(1)
        self._path.unlink(missing_ok=True)

    def admit(self, request: Request) -> None:
        paths = ("/feedback", "/spans", "/key", "/status", "/wake", "/adapter", stored.PATH)
        if request.method != "POST" or request.path not in paths:
            raise errors.unknown_path(request.path)

    async def handle(self, request: Request, reply: Reply) -> None:
        if request.path == "/status":
            said = json.loads(request.body)
            told = WorkerStatus(said["pid"], 0, {}, **_counts(said["told"]))
            goes_on = self._on_status(WorkerStatus(**said | _counts(said) | {"told": told}))
            reply.send(200, json.dumps({"end": not goes_on}).encode())
            return
        if request.path == "/wake":
            await self._on_wake(request.body.decode())
            reply.send(200, b"{}")
            return
        if request.path == "/adapter":
            reason = await self._on_adapter(*_adapter(request.body))
            reply.send(503 if reason else 200, json.dumps({"reason": reason}).encode())
            return
        if request.path == "/key":
            reply.send(200 if await self._knows_key(request.body.decode()) else 404, b"{}")
            return
        if request.path == stored.PATH:
            await self._on_stored(StoredCall(**_envelope(request, *stored.FIELDS), body=request.body), reply)
            return
        if request.path == "/spans":
            said = _envelope(request, "project", "content_type", "encoding")
            status, answer = await self._on_spans(SpansCall(**said, body=request.body))
        else:
            said = _envelope(request, "project", "api_key", "role")
            status, answer = await self._on_feedback(FeedbackCall(**said, body=request.body))
        reply.send(status, json.dumps(answer).encode())


def _counts(said: Mapping[str, Any]) -> dict[str, Any]:
    counts: dict[str, Any] = {name: from_json(said[name]) for name in ("outcomes", "waits") if name in said}
    return counts | {name: occurrences.from_json(said[name]) for name in ("sent_out", "found") if name in said}


def _adapter(body: bytes) -> tuple[str, str]:
    asked = json.loads(body)
    return str(asked["replica"]), str(asked["adapter"])


def _envelope(request: Request, *names: str) -> dict[str, str]:
    return {name: request.headers.get(_header(name), "") for name in names}


def _message(path: str, body: bytes, envelope: Mapping[str, str]) -> bytes:
    headers = "".join(f"{_header(name)}: {wire.header_safe(value)}\r\n" for name, value in envelope.items())
    head = f"POST {path} HTTP/1.1\r\nhost: control\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode("latin-1", "replace") + body


def _header(name: str) -> str:
    return f"{ENVELOPE}{name.replace('_', '-')}"
