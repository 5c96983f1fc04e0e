"""A storm of engines and clients that misbehave, on a worker of its own: when it is over, nothing of it is left."""

from __future__ import annotations

import asyncio
import json
from itertools import count

import psutil

from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import eventually
from services.inference_gateway.proxy.tests.test_budgets import SECRET, account_of, route, settled
from services.inference_gateway.proxy.tests.test_completions import DONE, END, HELLO
from services.inference_gateway.proxy.tests.test_manners import REPLY, sized
from services.inference_gateway.proxy.tests.test_processes import Home, at_home
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, says, whole

ROUNDS, AT_ONCE = 6, 12
MOST_MORE_BYTES = 16_000_000
STREAMED = [
    says(STREAM_HEAD, chunked(piece("all", finish="stop")), chunked(DONE), END),
    says(STREAM_HEAD, chunked(piece("half")), close=True),
    says(STREAM_HEAD, chunked(piece("half")), chunked(b"data: {\n\n"), close=True),
    says(STREAM_HEAD, chunked(piece("half")), END),
    upstreams.silence,
]
WHOLE = [
    upstreams.answers(),
    says(close=True),
    says(sized(len(REPLY) + 10, REPLY), close=True),
    says(sized(len(REPLY) - 10, REPLY), close=True),
    says(whole(500, b"oops")),
    says(b"SSH-2.0-OpenSSH_9.2\r\n", close=True),
    upstreams.silence,
]


async def test_a_storm_leaves_no_descriptor_no_memory_no_running_count_and_no_reservation():
    numbers = {True: count(), False: count()}

    async def any_engine(upstream, reader, writer, request):
        streams = b'"stream":true' in request
        behaviours = STREAMED if streams else WHOLE
        await behaviours[next(numbers[streams]) % len(behaviours)](upstream, reader, writer, request)

    async with at_home() as home, raw(any_engine) as engine:
        await route(home, engine.address, Limits(budget_microusd=10**9, concurrent_requests=1000))
        worker = psutil.Process(home.pool.pids[0])
        before = await measured(home, worker)
        for _ in range(ROUNDS):
            after = await measured(home, worker)
        account = await settled(home)
    assert after[0] <= before[0] + 8, "descriptors"  # connections to the engine that are kept
    assert after[1] <= before[1] + MOST_MORE_BYTES, "memory"
    assert (account.running, account.reserved_tokens, account.reserved_picousd) == (0, 0, 0)
    assert 0 < account.requests < len(engine.requests), "what failed before its first byte costs nothing"


async def measured(home: Home, worker: psutil.Process) -> tuple[int, int]:
    """Descriptors and memory of the worker after a round, when all connections are closed."""
    manners = [read_to_the_end, leave, shut_a_half, send_half, send_garbage]
    await asyncio.gather(*(manner(home.port, number % 2 == 0) for manner in manners for number in range(AT_ONCE)))
    await eventually(lambda: account_of(home).running == 0, 30)
    await eventually(
        lambda: not [each for each in worker.net_connections() if each.laddr.port == home.port and each.raddr]
    )
    return worker.num_fds(), worker.memory_info().rss


def request(streams: bool) -> bytes:
    fields = {"model": "hotline", "messages": HELLO, "max_tokens": 2} | ({"stream": True} if streams else {})
    body = json.dumps(fields, separators=(",", ":")).encode()
    lines = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {SECRET}\r\nconnection: close\r\n"
    return f"{lines}content-length: {len(body)}\r\n\r\n".encode() + body


async def read_to_the_end(port: int, streams: bool) -> None:
    """Or for two seconds: some engines say nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(streams))
    try:
        async with asyncio.timeout(2):
            await reader.read()
    except TimeoutError:
        pass
    writer.close()


async def leave(port: int, streams: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(streams))
    await asyncio.sleep(0.02)
    writer.transport.abort()


async def shut_a_half(port: int, streams: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(streams))
    writer.write_eof()
    await reader.read()
    writer.close()


async def send_half(port: int, streams: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(streams)[:-5])
    await asyncio.sleep(0.02)
    writer.close()


async def send_garbage(port: int, streams: bool) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(streams)[:-5] + b"\xff\xff\xff\xff\xff" if streams else b"\x16\x03\x01 no http\r\n\r\n")
    await reader.read()
    writer.close()
