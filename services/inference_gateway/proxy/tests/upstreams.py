"""Engines that misbehave on purpose: raw asyncio servers, a few lines each. The well-behaved engine is the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Raw", asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


@dataclass
class Raw:
    """One server. `requests` are heads and bodies as they came; `gone` is set when a client closed on us."""

    behaviour: Behaviour
    address: str = ""
    requests: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(next(line for line in head.lower().split(b"\r\n") if b"content-length" in line).split()[1])
                self.requests.append(head + await reader.readexactly(length))
                await self.behaviour(self, reader, writer, self.requests[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def raw(behaviour: Behaviour) -> AsyncIterator[Raw]:
    upstream = Raw(behaviour)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    upstream.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield upstream
    server.close()


def head(status: int, kind: str, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{extra}".encode()


def whole(status: int, body: dict[str, Any] | bytes) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, "application/json", f"content-length: {len(data)}\r\n\r\n") + data


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = head(200, "text/event-stream", "transfer-encoding: chunked\r\n\r\n")


def piece(text: str | None = None, finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choices = [] if usage else [{"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}]
    fields: dict[str, Any] = {"id": "chatcmpl-engine", "model": "engine-model", "object": "chat.completion.chunk"}
    fields |= {"created": 1, "choices": choices} | ({"usage": usage} if usage else {})
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def reply(text: str = "hello") -> dict[str, Any]:
    return {
        "id": "chatcmpl-engine",
        "object": "chat.completion",
        "created": 1,
        "model": "engine-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def answers(text: str = "hello") -> Behaviour:
    async def behave(upstream: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(whole(200, reply(text)))
        await writer.drain()

    return behave


def says(*parts: bytes, close: bool = False, wait: asyncio.Event | None = None) -> Behaviour:
    """Writes `parts`, then waits for `wait` (or for ever, if the client does not leave), then closes if told."""

    async def behave(upstream: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if wait is not None:
            await wait.wait()
        if close:
            raise ConnectionError

    return behave


async def silence(upstream: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    """Reads on, to notice that the client left, and says nothing."""
    await reader.read(1)
    raise ConnectionError
