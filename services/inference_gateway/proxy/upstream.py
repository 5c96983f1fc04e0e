"""One connection to an engine: sends a request, and hands what comes back to a sink, piece by piece."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from services.inference_gateway.proxy.wire import NAMES

MAX_HEADER_BYTES = 64 * 1024
BODILESS = frozenset({204, 304})


class UpstreamError(Exception):
    """An engine could not be asked, or did not answer properly. `detail` is for people."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ConnectFailed(UpstreamError):
    """Nothing was sent."""


class ClosedEarly(UpstreamError):
    """The engine closed the connection before the end of its answer."""


class Garbage(UpstreamError):
    """What came back is no HTTP, or larger than allowed."""


class Sink(Protocol):
    """Receives one response, in this order; `on_error` may come at any time and ends it. `on_read` follows the pieces
    that one read from the network brought: what they became can go out in one write."""

    def on_head(self, status: int, headers: dict[str, str]) -> None: ...

    def on_body(self, data: bytes) -> None: ...

    def on_read(self) -> None: ...

    def on_end(self) -> None: ...

    def on_error(self, error: UpstreamError) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """Used for one request at a time; `reusable` says whether it can take another."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sink: Sink | None = None
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._in_body = False
        self._interim = False
        self._until_close = False
        self._keep_alive = True
        self.closed = False
        self.requests = 0
        self.idle_since = 0.0
        self.idle_limit: float | None = None

    @property
    def reusable(self) -> bool:
        return not self.closed and self._sink is None and self._keep_alive

    def send(self, data: bytes, sink: Sink) -> None:
        """Sends one request. The write buffer may take all of it: bodies are bounded before they come here."""
        self._sink = sink
        self.requests += 1
        if self.closed or self._transport is None:
            self._fail(ClosedEarly("the connection was closed"))
        else:
            self._transport.write(data)

    def pause(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()

    def close(self) -> None:
        """At once: an engine that still computes an answer notices, and stops."""
        self._sink = None
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            self.close()  # it speaks without being asked: what it says next could be taken for an answer
            return
        if not self._in_body:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Garbage(f"its reply is not valid HTTP ({error.__context__ or error})"))
            return
        if self._in_body and self._sink is not None:
            self._sink.on_read()
        elif not self._in_body and self._header_bytes > MAX_HEADER_BYTES:
            self._fail(Garbage("the headers of its reply do not end"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._sink is None:
            return
        if self._in_body and self._until_close and exc is None:
            self._finish()
        else:
            reason = (
                f"it closed the connection in the middle of its answer ({exc})"
                if exc
                else (
                    "it closed the connection in the middle of its answer"
                    if self._in_body
                    else "it closed the connection without an answer"
                )
            )
            self._fail(ClosedEarly(reason))

    # -- what httptools calls ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._headers = {}
        self._in_body = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[NAMES.get(name) or name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._interim = 100 <= status < 200
        if self._interim or self._sink is None:
            return
        self._in_body = True
        self._header_bytes = 0
        self._keep_alive = self._parser.should_keep_alive()
        headers = self._headers
        self._until_close = (
            "content-length" not in headers and "transfer-encoding" not in headers and status not in BODILESS
        )
        self.idle_limit = _keep_alive_seconds(headers.get("keep-alive", ""))
        self._sink.on_head(status, headers)

    def on_body(self, body: bytes) -> None:
        if self._sink is not None:
            self._sink.on_body(body)

    def on_message_complete(self) -> None:
        if not self._interim and self._sink is not None:
            self._finish()

    def _finish(self) -> None:
        sink, self._sink = self._sink, None
        self._in_body = False
        if sink is not None:
            sink.on_end()

    def _fail(self, error: UpstreamError) -> None:
        sink = self._sink
        self.close()
        if sink is not None:
            sink.on_error(error)


def _keep_alive_seconds(header: str) -> float | None:
    """`Keep-Alive: timeout=5, max=100` → 4.0: a second less than the engine says, or None where it says nothing."""
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "timeout" and value.isdigit():
            return max(0.0, int(value) - 1.0)
    return None
