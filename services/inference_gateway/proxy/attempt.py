"""One request on one connection to an engine: where its answer arrives, and whether it takes too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.inference_gateway.proxy.answering import StreamRewriter
from services.inference_gateway.proxy.upstream import Garbage, UpstreamConnection, UpstreamError

if TYPE_CHECKING:
    from services.inference_gateway.proxy.exchange import Exchange

ERROR_BODY_BYTES = 64 * 1024


class Refusal(UpstreamError):
    """The engine answered with another status than 200."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"it answered {status}")
        self.status = status
        self.body = body


class TooSlow(UpstreamError):
    """The engine said nothing for too long."""


class Attempt:
    """A sink for one response. Streamed pieces go straight to the client; all else is collected to its end."""

    __slots__ = (
        "_care", "_clock", "_collected", "_connection", "_done", "_exchange", "_last_heard", "_rewriter", "_settings", "_size",
        "_status",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, connection: UpstreamConnection) -> None:
        self._exchange = exchange
        self._connection = connection
        self._settings = exchange.gateway.settings
        self._clock = exchange.gateway.clock
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._rewriter: StreamRewriter | None = None
        self._care = exchange.care
        self._collected: list[bytes] = []
        self._size = 0
        self._last_heard = self._clock()

    @property
    def heard(self) -> bool:
        """True once anything of an answer came."""
        return self._status != 0

    async def run(self, data: bytes) -> None:
        """Sends `data` and returns when the client has the whole answer.

        Raises: UpstreamError; whether something went out already, the reply knows.
        """
        reply = self._exchange.reply
        reply.on_pause, reply.on_resume = self._connection.pause, self._resume
        self._connection.send(data, self)
        data = b""  # a long prompt need not wait for a long answer's end
        await self._done

    def look(self, now: float) -> None:
        """Gives up on an engine that said nothing for too long."""
        limit = self._settings.idle_seconds if self.heard else self._settings.first_byte_seconds
        if self._exchange.reply.paused:  # the client is the slow one; its own time-out watches it
            self._last_heard = now
        elif now - self._last_heard >= limit:
            what = "no further piece of its answer" if self.heard else "no answer"
            self.on_error(TooSlow(f"{what} within {limit:g} s"))

    # -- what the connection calls -----------------------------------------------------------------------------------

    def on_head(self, status: int, headers: dict[str, str]) -> None:
        self._status = status
        self._last_heard = self._clock()
        exchange = self._exchange
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if headers.get("content-encoding", "identity") != "identity":
            self.on_error(Garbage("it compressed its reply, which nobody asked for"))
        elif status == 200 and exchange.asking.stream:
            if kind != "text/event-stream":
                self.on_error(Garbage(f"it answered a stream request with {kind or 'no content type'}"))
                return
            self._rewriter = exchange.rewriter()

    def on_body(self, data: bytes) -> None:
        if self._done.done():
            return
        self._collected.append(data)
        if self._rewriter is not None:
            return
        self._size += len(data)
        if self._size > (self._settings.max_response_bytes if self._status == 200 else ERROR_BODY_BYTES):
            self._too_large()

    def on_read(self) -> None:
        if self._done.done():
            return
        self._last_heard = self._clock()
        if self._rewriter is not None:
            try:
                data = self._rewriter.feed(self._take() if self._care is None else self._care.feed(self._take()))
                self._forward(data, self._rewriter.finished)
            except UpstreamError as error:
                self.on_error(error)

    def on_end(self) -> None:
        if self._done.done():
            return
        try:
            self._complete()
        except UpstreamError as error:
            self.on_error(error)
        else:
            self._done.set_result(None)

    def on_error(self, error: UpstreamError) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    # -- below -------------------------------------------------------------------------------------------------------

    def _complete(self) -> None:
        if self._rewriter is not None:
            rest = self._take()
            if self._care is not None:
                rest = self._care.feed(rest) + self._care.end()
            data = self._rewriter.feed(rest) + self._rewriter.end()
            self._exchange.whole()
            self._exchange.reply.end(self._begun(data))
        elif self._status == 200:
            self._exchange.send_whole(self._take())
        else:
            raise Refusal(self._status, self._take())

    def _take(self) -> bytes:
        data, self._collected = b"".join(self._collected), []
        return data

    def _forward(self, data: bytes, is_last: bool) -> None:
        if is_last:
            self._exchange.whole()
        if data:
            self._exchange.reply.write(self._begun(data))

    def _begun(self, data: bytes) -> bytes:
        """The client's answer begins with the first piece, not with the engine's headers: until then another engine
        may still take over."""
        reply = self._exchange.reply
        if not reply.started:
            self._exchange.begin_stream()
            if reply.paused:
                self._connection.pause()
        return data

    def _too_large(self) -> None:
        if self._status == 200:
            limit = self._settings.max_response_bytes
            self.on_error(Garbage(f"its reply is larger than {limit:,} bytes (GYRE_PROXY_MAX_RESPONSE_BYTES)"))
        else:
            self.on_error(Refusal(self._status, b""))

    def _resume(self) -> None:
        self._last_heard = self._clock()
        self._connection.resume()
