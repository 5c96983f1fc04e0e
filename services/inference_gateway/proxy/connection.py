"""One client connection: parses requests within bounds, answers them one after another, in the order they came.

Reading goes on while an answer is being made, so that a client that leaves is noticed at once; `max_pipelined` bounds
what that can pile up. A half-closed connection counts as left, as it does for nginx.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast

import httptools

from services.inference_gateway.proxy import errors, stored, wire
from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.spool import Spool, SpoolFull
from services.inference_gateway.proxy.wire import Request

if TYPE_CHECKING:
    from services.inference_gateway.proxy.server import Server

log = logging.getLogger(__name__)
LINGER_SECONDS = 5.0
MAX_HEADERS = 100


class ClientConnection(asyncio.Protocol):
    """A state machine over httptools. `_incoming` is what is being read, `_queue` what waits, `_reply` what runs."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._settings = server.settings
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request | ApiError] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reply: Reply | None = None
        self.write_paused = False
        self._reading_paused = False
        self._deaf = False  # nothing more is parsed: the connection closes after what is queued
        self._lingering = False
        self._read_deadline = 0.0  # 0: none
        self._write_deadline = 0.0
        self._held_bytes = 0
        self._begun = 0  # requests, whole or not
        self._phase = "idle"  # idle, headers, body
        # What `_reset_incoming` sets anew for each request:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = self._open_header_bytes = self._header_count = self._body_bytes = 0
        self._body: list[bytes] = []
        self._incoming: Request | None = None
        self._refused: ApiError | None = None

    # -- what asyncio calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._server.joined(self):
            error = errors.overloaded("This gateway holds as many connections as it may.", close=True)
            self._transport.write(wire.response(error.status, error.body(), error.headers.items(), keep_alive=False))
            self._transport.close()
            self._deaf = True
            return
        self._read_deadline = self._server.clock() + self._settings.header_seconds

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        before = self._phase, self._begun
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = True  # an upgrade is not offered: the request is answered as it stands, then closed
        except httptools.HttpParserCallbackError:
            log.exception("reading a request failed")
            self._refuse(errors.internal())
        except httptools.HttpParserError as error:
            detail = f"The request is not valid HTTP/1.1 ({error})."
            self._refuse(errors.bad_request("invalid_http", detail, close=True))
        if self._phase == "headers":
            self._count_open_header(len(data), *before)
        self._serve_next()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        self._forget_body()
        self._forget_queue()
        self._release()
        if self._task is not None:
            self._task.cancel()
        self._server.left(self)

    def pause_writing(self) -> None:
        self.write_paused = True
        self._write_deadline = self._server.clock() + self._settings.write_stall_seconds
        if self._reply is not None and self._reply.on_pause is not None:
            self._reply.on_pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        self._write_deadline = 0.0
        if self._reply is not None and self._reply.on_resume is not None:
            self._reply.on_resume()
        self._serve_next()

    # -- what the server and the reply call --------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def keeps_alive(self, request: Request) -> bool:
        return request.keep_alive and not self._server.draining and not (self._deaf and not self._queue)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close_when_idle(self) -> None:
        if self._task is None and not self._queue and self._phase == "idle" and self._transport is not None:
            self._transport.close()

    def check_deadlines(self, now: float) -> None:
        """Slow readers are cut; slow senders get 408; idle connections are closed; slow engines are given up."""
        if self._reply is not None and self._reply.on_look is not None:
            self._reply.on_look(now)
        if self._write_deadline and now >= self._write_deadline:
            self.abort()
        elif self._read_deadline and now >= self._read_deadline:
            self._read_deadline = 0.0
            if self._lingering:
                self.abort()
            elif self._phase == "idle" and self._task is None and self._transport is not None:
                self._transport.close()
            elif self._phase != "idle":
                self._refuse(errors.request_timeout(self._phase))
                self._serve_next()

    # -- what httptools calls ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reset_incoming()
        self._begun += 1
        self._phase = "headers"
        self._read_deadline = self._server.clock() + self._settings.header_seconds

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._header_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        self._header_count += 1
        if self._header_bytes <= self._settings.max_header_bytes and self._header_count <= MAX_HEADERS:
            self._headers[wire.NAMES.get(name) or name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        if self._deaf:
            return
        self._phase = "body"
        self._read_deadline = self._server.clock() + self._settings.body_seconds
        if self._header_bytes > self._settings.max_header_bytes or self._header_count > MAX_HEADERS:
            self._refuse(errors.headers_too_large(self._settings.max_header_bytes))
            return
        request = self._make_request()
        try:
            self._check_length(request)
            self._server.handler.admit(request)
            self._expect_upload(request)
        except ApiError as error:
            error.close = error.close or self._has_body(request) or not request.keep_alive
            self._refused = error
            if error.close:
                self._refuse(error)
            return
        self._incoming = request
        if request.headers.get("expect", "").lower() == "100-continue" and self._reply is None and not self._queue:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._deaf or self._incoming is None:
            return
        if self._incoming.spool is not None:
            self._to_disk(self._incoming.spool, body)
            return
        self._body_bytes += len(body)
        self._server.buffered += len(body)
        self._body.append(body)
        if self._body_bytes > self._settings.max_body_bytes:
            self._refuse(errors.body_too_large(self._settings.max_body_bytes))
        elif self._server.buffered > self._settings.max_buffered_bytes:
            self._refuse(errors.overloaded("This gateway is receiving as much as it can hold.", close=True))

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        request, refused = self._incoming, self._refused
        if request is not None and request.spool is not None and not self._is_whole(request.spool):
            return
        if request is not None:
            request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            request.received = self._server.clock()
            self._body, self._body_bytes = [], 0
            self._queue.append(request)
        elif refused is not None:
            self._queue.append(refused)
        self._phase, self._incoming, self._refused = "idle", None, None
        self._read_deadline = self._server.clock() + self._settings.keep_alive_seconds
        if request is not None and not request.keep_alive:
            self._deaf = True
        if len(self._queue) >= self._settings.max_pipelined:
            self._pause_reading()

    # -- one request after another -----------------------------------------------------------------------------------

    def _serve_next(self) -> None:
        """Starts the next request, after the refusals that stand before it; not while the client does not read."""
        transport = self._transport
        while self._task is None and self._queue and not self.write_paused and transport and not transport.is_closing():
            item = self._queue.popleft()
            if self._reading_paused and len(self._queue) < self._settings.max_pipelined:
                self._reading_paused = False
                transport.resume_reading()
            if isinstance(item, Request):
                self._start(item)
            elif self._send_error(item):
                self._linger()
                return

    def _start(self, request: Request) -> None:
        if self._phase == "idle":
            self._read_deadline = 0.0
        self._held_bytes = len(request.body)
        self._reply = Reply(self, request)
        self._task = self._loop.create_task(self._serve(request, self._reply))

    async def _serve(self, request: Request, reply: Reply) -> None:
        """Runs the handler. The client's leaving cancels it; a bug becomes a 500 and a log line."""
        try:
            await self._server.handler.handle(request, reply)
        except ApiError as error:
            self._answer_error(error, reply)
        except Exception:
            failed = errors.internal()
            log.exception("a request failed", extra={"path": request.path, "id": failed.headers[wire.REQUEST_ID]})
            self._answer_error(failed, reply)
        finally:
            if request.spool is not None:
                request.spool.close()
            self._release()
            self._task, self._reply = None, None
        if reply.ended:
            self._after(request.keep_alive)
        else:
            self.abort()  # an answer that broke off: a cut connection is the only honest end

    def _answer_error(self, error: ApiError, reply: Reply) -> None:
        if reply.started:
            return
        if error.close:
            reply.close_after()
        reply.send(error.status, error.body(), error.headers)

    def _send_error(self, error: ApiError) -> bool:
        """True if nothing comes after it."""
        last = error.close or self._server.draining or (self._deaf and not self._queue)
        self.write(wire.response(error.status, error.body(), error.headers.items(), keep_alive=not last))
        return last

    def _after(self, keep_alive: bool) -> None:
        """Goes on with the next request, or closes."""
        if self._transport is None or self._transport.is_closing():
            return
        if not keep_alive or self._server.draining or (self._deaf and not self._queue):
            self._deaf = True
            self._forget_queue()
            self._transport.close()  # after what is written has gone out
            return
        if self._phase == "idle":
            self._read_deadline = self._server.clock() + self._settings.keep_alive_seconds
        self._serve_next()

    def _linger(self) -> None:
        """Closes our half and lets the client finish sending: a reset, which is what closing on unread input means,
        would eat the refusal before it is read."""
        self._deaf = self._lingering = True
        self._forget_queue()
        self._forget_body()
        self._read_deadline = self._server.clock() + LINGER_SECONDS
        transport = cast(asyncio.Transport, self._transport)
        if self._reading_paused:
            self._reading_paused = False
            transport.resume_reading()
        transport.write_eof()

    # -- small things ------------------------------------------------------------------------------------------------

    def _refuse(self, error: ApiError) -> None:
        """Ends reading: `error` is the last answer, after those that are due before it."""
        if not self._deaf:
            self._deaf = True
            self._forget_body()
            self._phase, self._read_deadline = "idle", 0.0
            error.close = True
            self._queue.append(error)

    def _count_open_header(self, received: int, phase: str, begun: int) -> None:
        """httptools tells of a header once it is whole: one without an end shows only in what was received for it."""
        if (phase, begun) == ("headers", self._begun) or (phase, begun) == ("idle", self._begun - 1):
            self._open_header_bytes += received
        if self._open_header_bytes > self._settings.max_header_bytes:
            self._refuse(errors.headers_too_large(self._settings.max_header_bytes))

    def _make_request(self) -> Request:
        path, _, query = self._url.decode("latin-1").partition("?")
        if path.startswith(("http://", "https://")):
            path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
        return Request(
            method=self._parser.get_method().decode("latin-1"),
            path=path,
            headers=self._headers,
            keep_alive=self._parser.should_keep_alive(),
            http_1_0=self._parser.get_http_version() == "1.0",
            query=query,
        )

    def _check_length(self, request: Request) -> None:
        is_file = request.path == stored.FILES
        limit = self._settings.max_upload_bytes if is_file else self._settings.max_body_bytes
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit:
            raise errors.file_too_large(limit) if is_file else errors.body_too_large(limit)

    def _expect_upload(self, request: Request) -> None:
        """A file may take longer than other bodies."""
        if request.spool is not None:
            self._read_deadline = self._server.clock() + self._settings.upload_seconds

    def _is_whole(self, spool: Spool) -> bool:
        try:
            spool.finish()
        except OSError:
            self._refuse(errors.overloaded("This gateway cannot write files now.", close=True))
            return False
        return True

    def _to_disk(self, spool: Spool, data: bytes) -> None:
        try:
            spool.write(data)
        except SpoolFull:
            self._refuse(errors.file_too_large(spool.limit))
        except OSError:
            self._refuse(errors.overloaded("This gateway cannot write files now.", close=True))

    def _has_body(self, request: Request) -> bool:
        return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers

    def _pause_reading(self) -> None:
        if not self._reading_paused and self._transport is not None and not self._transport.is_closing():
            self._reading_paused = True
            self._transport.pause_reading()

    def _forget_body(self) -> None:
        self._server.buffered -= self._body_bytes
        if self._incoming is not None and self._incoming.spool is not None:
            self._incoming.spool.close()
        self._body, self._body_bytes, self._incoming = [], 0, None

    def _forget_queue(self) -> None:
        waiting = [item for item in self._queue if isinstance(item, Request)]
        self._server.buffered -= sum(len(request.body) for request in waiting)
        for request in waiting:
            if request.spool is not None:
                request.spool.close()
        self._queue.clear()

    def _release(self) -> None:
        """Gives back the room of the body being answered. Twice is harmless: a task may end before it began."""
        self._server.buffered -= self._held_bytes
        self._held_bytes = 0

    def _reset_incoming(self) -> None:
        self._url = b""
        self._headers, self._body = {}, []
        self._header_bytes = self._open_header_bytes = self._header_count = self._body_bytes = 0
        self._incoming = self._refused = None
