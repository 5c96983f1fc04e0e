"""The wire itself: what is not HTTP, not finished, too large, too slow or too much."""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress

import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment, eventually
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, says

AUTH = b"authorization: Bearer gyre-test-key\r\n"
BODY = b'{"model":"hotline","messages":[{"role":"user","content":"hello"}]}'
HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def post(body: bytes = BODY, *headers: bytes, version: bytes = b"1.1", close: bool = True) -> bytes:
    lines = [b"POST /v1/chat/completions HTTP/" + version, b"host: x", *headers, b"content-length: %d" % len(body)]
    lines += [b"connection: close"] if close else []
    return b"\r\n".join(lines) + b"\r\n" + AUTH + b"\r\n" + body


def statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


def error_of(answer: bytes) -> dict:
    return json.loads(answer.rpartition(b"\r\n\r\n")[2])["error"]


async def test_pipelined_requests_are_answered_in_order(start):
    async with raw(upstreams.answers("slow one")) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        unknown = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n"
        answer = await running.raw(post(close=False) + unknown + HEALTH + LAST_HEALTH)
    assert statuses(answer) == [200, 404, 200, 200]
    assert answer.index(b"slow one") < answer.index(b"unknown_url") < answer.index(b'"ok"')


async def test_thousands_of_pipelined_requests_are_answered_one_by_one(start):
    running = await start()
    answer = await running.raw(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n" * 3000 + HEALTH * 3000 + LAST_HEALTH)
    assert statuses(answer) == [404] * 3000 + [200] * 3001


async def test_answers_that_nobody_reads_do_not_pile_up(start):
    running = await start(write_stall_seconds=2)
    _, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
    (connection,) = await eventually(lambda: running.server.connections)

    async def flood() -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(HEALTH * 1000)
                await writer.drain()

    flooding = asyncio.create_task(flood())
    await eventually(lambda: connection.write_paused)
    assert connection._transport.get_write_buffer_size() < 1_000_000
    await eventually(lambda: not running.server.connections)
    await flooding
    writer.close()


async def test_a_request_may_come_byte_by_byte(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        answer = await running.raw(*[bytes([each]) for each in post()])
    assert statuses(answer) == [200]


async def test_a_chunked_body_is_read_and_handed_on_with_a_length(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address, upstream_model="hotline")))
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n"
        answer = await running.raw(head + AUTH + b"\r\n", chunked(BODY[:10]), chunked(BODY[10:]), b"0\r\n\r\n")
    assert statuses(answer) == [200]
    assert engine.requests[0].endswith(b"\r\n\r\n" + BODY)


async def test_expect_100_continue_is_answered_before_the_body_is_sent(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        head, _, body = post(BODY, b"expect: 100-continue").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(start):
    done = b"data: [DONE]\n\n"
    async with raw(says(STREAM_HEAD, chunked(piece("all", finish="stop") + done), b"0\r\n\r\n")) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        body = BODY[:-1] + b',"stream":true}'
        answer = await running.raw(post(body, version=b"1.0", close=False))
    assert b"transfer-encoding" not in answer and b"connection: close" in answer and answer.endswith(done)


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost : x\r\n\r\n",
        b"POST /v1/feedback HTTP/1.1\r\nhost: x\r\n" + AUTH + b"transfer-encoding: chunked\r\n\r\nZZ\r\n",
    ],
    ids=["tls", "two lengths", "lengths differ", "negative length", "space before colon", "bad chunk"],
)
async def test_what_is_not_plainly_http_is_refused_and_the_connection_closed(start, request_):
    running = await start()
    answer = await running.raw(request_ + HEALTH)
    assert statuses(answer) == [400] and error_of(answer)["code"] == "invalid_http"


async def test_headers_have_a_bound(start):
    running = await start(max_header_bytes=2000)
    for filler in (b"x: " + b"y" * 3000 + b"\r\n", b"x: y\r\n" * 1000):
        answer = await running.raw(b"GET /health HTTP/1.1\r\nhost: x\r\n" + filler + b"\r\n")
        assert statuses(answer) == [431] and "2,000 bytes" in error_of(answer)["message"]


async def test_one_header_without_an_end_is_cut(start):
    running = await start(max_header_bytes=2000)
    answer = await running.raw(b"GET /health HTTP/1.1\r\nx: ", *[b"y" * 1500 for _ in range(5)])
    assert statuses(answer) == [431]


async def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(start):
    running = await start(max_body_bytes=2000)
    answer = await running.raw(post(b"x" * 3000))
    assert statuses(answer) == [413] and "GYRE_PROXY_MAX_BODY_BYTES" in error_of(answer)["message"]


async def test_a_chunked_body_is_counted_as_it_comes(start):
    running = await start(max_body_bytes=2000)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n" + AUTH + b"\r\n"
    answer = await running.raw(head, *[chunked(b"x" * 500) for _ in range(10)])
    assert statuses(answer) == [413]
    assert running.server.buffered == 0


async def test_all_bodies_together_have_a_bound(start):
    running = await start(max_body_bytes=2_000_000, max_buffered_bytes=1024 * 1024)
    answer = await running.raw(post(b"x" * 1_500_000))
    assert statuses(answer) == [503] and running.server.buffered == 0


async def test_a_wrong_key_is_refused_before_the_body_is_read(start):
    running = await start()
    lines = b"host: x\r\nauthorization: Bearer no\r\ncontent-length: 9000000\r\n\r\n"
    answer = await running.raw(b"POST /v1/chat/completions HTTP/1.1\r\n" + lines)
    assert statuses(answer) == [401] and b"connection: close" in answer


async def test_a_client_that_still_sends_gets_to_read_why_it_was_refused(start):
    """Closing at once would reset the connection and throw the answer away."""
    running = await start(max_body_bytes=2000)
    body = b"x" * 4_000_000
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
    assert statuses(await running.raw(head + AUTH + b"\r\n" + body)) == [413]


@pytest.mark.parametrize(
    ("sent", "what"),
    [(b"GET /health HTTP/1.1\r\nhost:", "headers"), (post(b"x" * 100)[:-50], "body")],
)
async def test_a_request_that_dribbles_is_cut(start, sent, what):
    running = await start(header_seconds=0.1, body_seconds=0.1)
    answer = await running.raw(sent)
    assert statuses(answer) == [408] and what in error_of(answer)["message"]


async def test_a_silent_connection_is_closed(start):
    running = await start(header_seconds=0.1, keep_alive_seconds=0.1)
    assert await running.raw() == b""
    assert statuses(await running.raw(HEALTH)) == [200]
    assert not running.server.connections


async def test_connections_have_a_bound(start):
    running = await start(max_connections=2)
    held = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(2)]
    await eventually(lambda: len(running.server.connections) == 2)
    answer = await running.raw()
    assert statuses(answer) == [503]
    held[0][1].close()
    await eventually(lambda: len(running.server.connections) == 1)
    assert statuses(await running.raw(LAST_HEALTH)) == [200]
    held[1][1].close()


async def test_a_client_that_closes_its_half_counts_as_gone(start):
    async with raw(upstreams.silence) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(post(close=False))
        await eventually(lambda: engine.requests)
        writer.write_eof()
        assert await reader.read() == b""
        async with asyncio.timeout(5):
            await engine.gone.wait()
        writer.close()


async def test_a_draining_server_ends_what_runs_and_takes_nothing_new(start):
    go_on = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        await go_on.wait()
        writer.write(upstreams.whole(200, upstreams.reply("late")))

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        answering = asyncio.create_task(running.raw(post(close=False)))
        await eventually(lambda: engine.requests)
        draining = asyncio.create_task(running.server.drain(5))
        await eventually(lambda: running.server.draining)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", running.port)
        go_on.set()
        answer = await answering
        assert b"late" in answer and b"connection: close" in answer
        assert await draining


async def test_an_upgrade_is_not_taken_and_the_request_answered(start):
    running = await start()
    request = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    answer = await running.raw(request)
    assert statuses(answer) == [200] and b"connection: close" in answer


async def test_a_bug_is_a_500_that_tells_nothing_of_itself(start, monkeypatch, caplog):
    running = await start()
    monkeypatch.setattr(running.gateway, "snapshot", object())
    answer = await running.raw(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + AUTH + b"\r\n")
    assert statuses(answer) == [500] and error_of(answer)["code"] == "internal_error"
    assert "AttributeError" in caplog.text and b"Attribute" not in answer
