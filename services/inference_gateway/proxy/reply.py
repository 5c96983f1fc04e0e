"""The way back to a client, or to nobody. All forms of it are here: compiled, `Reply` has heirs in its own file only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from services.inference_gateway.proxy import wire
from services.inference_gateway.proxy.wire import Request

if TYPE_CHECKING:
    from services.inference_gateway.proxy.connection import ClientConnection

Nothing = Callable[[], None]
Look = Callable[[float], None]


class Reply:
    """For one request. Writing after the client left does nothing.

    `on_look` is called with the time as long as the answer is being made, some times a second: what takes too long is
    found there, for a timer for each request would cost more than asking it.
    """

    __slots__ = (
        "_connection", "_head", "_request", "chunked", "ended", "on_look", "on_pause", "on_resume", "started", "status"
    )  # fmt: skip

    def __init__(self, connection: ClientConnection, request: Request) -> None:
        self._connection = connection
        self._request = request
        self._head = b""
        self.status = 0
        self.started = False
        self.ended = False
        self.chunked = False
        self.on_pause: Nothing | None = None
        self.on_resume: Nothing | None = None
        self.on_look: Look | None = None

    @property
    def paused(self) -> bool:
        """True while the client reads slower than we write."""
        return self._connection.write_paused

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """A whole reply."""
        keep = self._connection.keeps_alive(self._request)
        data = wire.response(status, body, (headers or {}).items(), keep)
        if self._request.method == "HEAD":
            data = data[: len(data) - len(body)]
        self.status, self.started, self.ended = status, True, True
        self._connection.write(data)

    def start(self, status: int, headers: dict[str, str]) -> None:
        """Begins a reply of unknown length: chunked, or to the end of the connection for HTTP/1.0."""
        self.status, self.started = status, True
        self.chunked = not self._request.http_1_0
        fields = dict(headers)
        if self.chunked:
            fields["transfer-encoding"] = "chunked"
        if not self._connection.keeps_alive(self._request) or not self.chunked:
            self._request.keep_alive = False
            fields["connection"] = "close"
        self._head = wire.head(status, fields.items())

    def write(self, data: bytes) -> None:
        """One piece; the head goes out with the first."""
        if data:
            self._connection.write(self._head + (wire.chunk(data) if self.chunked else data))
            self._head = b""

    def end(self, data: bytes = b"") -> None:
        """The last piece, if there is one, and the end."""
        if self.chunked:
            data = (wire.chunk(data) if data else b"") + wire.LAST_CHUNK
        self._connection.write(self._head + data)
        self._head = b""
        self.ended = True

    def close_after(self) -> None:
        self._request.keep_alive = False


class Unseen(Reply):
    """Takes an answer that goes to nobody."""

    __slots__ = ()

    def __init__(self) -> None:
        self.status, self.started, self.ended, self.chunked = 0, False, False, False
        self.on_pause = self.on_resume = None
        self.on_look = None

    @property
    def paused(self) -> bool:
        return False

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.status, self.started, self.ended = status, True, True

    def start(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.started = status, True

    def write(self, data: bytes) -> None:
        pass

    def end(self, data: bytes = b"") -> None:
        self.ended = True

    def close_after(self) -> None:
        pass


class Held(Unseen):
    """Keeps an answer until it may go out."""

    __slots__ = ("_body", "_headers")

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []

    def look(self, now: float) -> None:
        """The client's own reply is looked at; what takes too long is behind this one."""
        if self.on_look is not None:
            self.on_look(now)

    def send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        super().send(status, body, headers)
        self._headers, self._body = dict(headers or {}), [body]

    def start(self, status: int, headers: dict[str, str]) -> None:
        super().start(status, headers)
        self._headers, self.chunked = headers, True

    def write(self, data: bytes) -> None:
        self._body.append(data)

    def end(self, data: bytes = b"") -> None:
        self._body.append(data)
        super().end(data)

    def play(self, reply: Reply) -> None:
        """All of it, to the client."""
        body = b"".join(self._body)
        if self.chunked:
            reply.start(self.status, self._headers)
            reply.end(body)
        else:
            reply.send(self.status, body, self._headers)
