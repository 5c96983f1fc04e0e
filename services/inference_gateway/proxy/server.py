"""The side that clients see: listening, the bounds that all connections share, draining."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from typing import Protocol

from services.inference_gateway.proxy.connection import ClientConnection
from services.inference_gateway.proxy.reply import Reply
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.wire import Request

log = logging.getLogger(__name__)
BACKLOG = 2048
QUIET_SECONDS = 0.2


class Handler(Protocol):
    """What answers. `admit` runs before the body is read and may refuse by raising ApiError."""

    def admit(self, request: Request) -> None: ...

    async def handle(self, request: Request, reply: Reply) -> None: ...


class Server:
    """One listener of one worker. `connections` and `buffered` (bytes of bodies being received) are its bounds."""

    def __init__(self, handler: Handler, settings: ProxySettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.handler = handler
        self.settings = settings
        self.clock = clock
        self.connections: set[ClientConnection] = set()
        self.buffered = 0
        self.refused_connections = 0
        self.draining = False
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()

    async def listen(self, sock: socket.socket) -> None:
        """Serves `sock`, which is bound already."""
        loop = asyncio.get_running_loop()
        if sock.family == socket.AF_UNIX:
            self._listener = await loop.create_unix_server(lambda: ClientConnection(self), sock=sock, backlog=BACKLOG)
        else:
            self._listener = await loop.create_server(lambda: ClientConnection(self), sock=sock, backlog=BACKLOG)
        self._sweeper = loop.create_task(self._sweep(), name="gateway.sweep")

    async def drain(self, seconds: float) -> bool:
        """Takes no new connection, lets running answers end, then cuts what is left. True if nothing was cut."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        if self.connections:  # who just came, or asks just now, has its request under way
            await asyncio.sleep(min(seconds, QUIET_SECONDS))
        for connection in list(self.connections):
            connection.close_when_idle()
        try:
            async with asyncio.timeout(seconds):
                await self._until_empty()
            clean = True
        except TimeoutError:
            clean = not self.connections
        for connection in list(self.connections):
            connection.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        return clean

    def joined(self, connection: ClientConnection) -> bool:
        """False if there is no room for it."""
        if len(self.connections) >= self.settings.max_connections:
            self.refused_connections += 1
            return False
        self.connections.add(connection)
        return True

    def left(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def _until_empty(self) -> None:
        while self.connections:
            self._empty.clear()
            await self._empty.wait()

    async def _sweep(self) -> None:
        """One pass over all connections twice a second costs less than a timer for each request."""
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            now = self.clock()
            for connection in list(self.connections):
                connection.check_deadlines(now)


def bind(host: str, port: int, reuse_port: bool) -> socket.socket:
    """A listening address of several workers at once. Raises: OSError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock
