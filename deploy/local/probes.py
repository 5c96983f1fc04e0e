"""Is it up? Questions that end within a second, asked of whatever the runtime started."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PROBE_SECONDS = 1.0
API_VERSIONS = 18  # Kafka's first request: which versions of which requests does the broker speak


class HealthClient:
    """Asks gRPC health over one channel, kept open: a new one for each question costs more than the question."""

    def __init__(self, address: str) -> None:
        self.address = address
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 500)]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._stub = health_pb2_grpc.HealthStub(self._channel)

    async def state(self) -> str:
        """SERVING, NOT_SERVING, UNKNOWN, or UNREACHABLE."""
        try:
            reply = await self._stub.Check(health_pb2.HealthCheckRequest(), timeout=PROBE_SECONDS)
        except grpc.aio.AioRpcError:
            return "UNREACHABLE"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

    async def close(self) -> None:
        await self._channel.close()


async def health(address: str) -> str:
    """One question to one server."""
    client = HealthClient(address)
    try:
        return await client.state()
    finally:
        await client.close()


async def accepts(host: str, port: int) -> bool:
    """True if something listens there."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    return True


async def speaks_kafka(address: str) -> bool:
    """True if `address` answers an ApiVersions request (version 0) without an error."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                request = struct.pack(">hhih", API_VERSIONS, 0, 1, -1)
                writer.write(struct.pack(">i", len(request)) + request)
                size, correlation, error = struct.unpack(">iih", await reader.readexactly(10))
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return bool(size >= 6 and correlation == 1 and error == 0)


async def until(probe: Callable[[], Awaitable[bool]], seconds: float, every: float = 0.05) -> None:
    """Asks until the answer is yes. Raises: TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await probe():  # noqa: ASYNC110 - it is another process that answers
            await asyncio.sleep(every)


async def all_accept(addresses: Iterable[tuple[str, int]]) -> bool:
    return all(await asyncio.gather(*(accepts(host, port) for host, port in addresses)))
