"""Engines that fail: another one takes over as long as nothing went out, and what did go out ends honestly."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
import openai
import pytest

from services.inference_gateway.proxy.outcomes import Outcomes, from_json
from services.inference_gateway.proxy.routing import Router
from services.inference_gateway.proxy.snapshot import Target, TargetState
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment, eventually, free_port
from services.inference_gateway.proxy.tests.test_completions import DONE, END, HELLO, ask, collect
from services.inference_gateway.proxy.tests.upstreams import (
    STREAM_HEAD,
    answers,
    chunked,
    head,
    piece,
    raw,
    says,
    whole,
)

LOADING = whole(503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})

STREAM_BODY = b'{"model":"hotline","stream":true,"messages":[{"role":"user","content":"x"}]}'
STREAM_REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer gyre-test-key\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(STREAM_BODY), STREAM_BODY)
)


def two(bad: str, good: str, version: str = "") -> object:
    """The bad one is asked first: the good one gets a request in a million."""
    return deployment(Target("bad", address=bad, weight=1_000_000), Target("good", address=good, weight=1))


@pytest.mark.parametrize(
    "behaviour",
    [
        says(close=True),
        says(b"SSH-2.0-OpenSSH_9.2\r\n", close=True),
        says(LOADING),
        says(whole(429, {"error": {"message": "slow down"}})),
        says(head(200, "application/json", "content-length: 50\r\n\r\n") + b'{"id":', close=True),
        says(whole(200, b"<html>hello</html>")),
        says(whole(200, b"[]")),
        says(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000),
    ],
    ids=["closes", "other protocol", "loading", "busy", "half a body", "html", "no completion", "endless header"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_another_engine_takes_over_before_the_first_byte(start, behaviour, stream):
    parts = [chunked(piece("fine", finish="stop")), chunked(DONE), END]
    async with raw(behaviour) as bad, raw(says(STREAM_HEAD, *parts) if stream else answers("fine")) as good:
        running = await start(two(bad.address, good.address))
        if stream:
            text = "".join(each.choices[0].delta.content or "" for each in await collect(running))
        else:
            text = (await ask(running)).choices[0].message.content
    assert text == "fine" and len(bad.requests) == 1


@pytest.mark.parametrize("is_there", [False, True], ids=["no process yet", "loading"])
async def test_an_engine_that_still_starts_is_called_so(start, is_there):
    async with raw(says(LOADING)) as loading:
        address = loading.address if is_there else f"127.0.0.1:{free_port()}"
        running = await start(deployment(Target("t1", address=address, state=TargetState.UNHEALTHY)))
        with pytest.raises(openai.InternalServerError, match="no engine that takes requests yet") as caught:
            await ask(running)
    assert (caught.value.status_code, caught.value.response.headers["retry-after"]) == (503, "5")


async def test_an_engine_that_is_gone_stands_back_for_a_while(start):
    async with raw(answers("fine")) as good:
        running = await start(two(f"127.0.0.1:{free_port()}", good.address))
        running.gateway.router = Router(lambda: 100.0)  # no time passes
        for _ in range(5):
            await ask(running)
    assert running.metric("gyre_gateway_upstream_failures_total", target="bad", reason="ConnectFailed") == 1


async def test_a_stream_that_dies_after_its_first_piece_tells_the_client_and_is_not_asked_again(start):
    async with raw(says(STREAM_HEAD, chunked(piece("half")), close=True)) as bad, raw(answers()) as good:
        running = await start(two(bad.address, good.address))
        pieces = []
        with pytest.raises(openai.APIError, match="closed the connection in the middle"):
            async for each in await ask(running, stream=True):
                pieces.append(each)
        (record,) = await running.records()
    assert [each.choices[0].delta.content for each in pieces] == ["half"] and not good.requests
    assert (record.answer, record.finish_reason) == ("half", "upstream_error")


async def test_a_stream_that_ends_without_an_end_is_an_error_not_an_answer(start):
    async with raw(says(STREAM_HEAD, chunked(piece("half")), END)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.APIError, match="before the answer was at its end"):
            await collect(running)


async def test_an_error_that_the_engine_tells_within_its_stream_reaches_the_client(start):
    error = chunked(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
    async with raw(says(STREAM_HEAD, chunked(piece("half")), error, END)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.APIError, match="out of memory"):
            await collect(running)
        (record,) = await running.records()
    assert record.finish_reason == "upstream_error"


async def test_an_engine_that_forgets_done_is_completed(start):
    async with raw(says(STREAM_HEAD, chunked(piece("all", finish="stop")), END)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        async with httpx.AsyncClient(base_url=running.url, headers={"authorization": "Bearer gyre-test-key"}) as http:
            body = {"model": "hotline", "messages": HELLO, "stream": True}
            reply = await http.post("/v1/chat/completions", json=body)
    assert reply.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("answer", "error", "says_what"),
    [
        (whole(400, {"error": {"message": "context is 512 tokens", "type": "exceed_context"}}),
         openai.BadRequestError, "context is 512 tokens"),
        (whole(401, {"error": {"message": "bad key sk-secret"}}), openai.InternalServerError, "upstream_key_ref"),
        (whole(404, {"error": {"message": "no model m"}}), openai.InternalServerError, "no model m"),
        (whole(500, b"oops"), openai.InternalServerError, "it answered 500"),
        (whole(429, b""), openai.RateLimitError, "no more requests now"),
        (LOADING, openai.InternalServerError, "Loading model"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
         openai.InternalServerError, "it answered 302"),
    ],
)  # fmt: skip
async def test_what_an_engine_refuses_is_told_in_openais_shape(start, answer, error, says_what):
    async with raw(says(answer)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(error, match=says_what) as caught:
            await ask(running)
    assert set(caught.value.body) == {"message", "type", "param", "code"}
    assert "sk-secret" not in str(caught.value)


async def test_the_engine_may_close_a_kept_connection_at_any_time(start):
    closing = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        writer.write(whole(200, upstreams.reply()))
        if len(upstream.requests) == 1:
            await closing.wait()
            raise ConnectionError

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running)
        (pool,) = running.gateway.pools.all()
        assert pool.idle == 1
        closing.set()
        assert (await ask(running)).choices  # whether its end was noticed before or after it was used again
    assert engine.connections == 2


async def test_connections_to_an_engine_are_kept_and_used_again(start):
    async with raw(answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        for _ in range(5):
            await ask(running)
    assert engine.connections == 1


async def test_a_silent_engine_ends_in_504(start):
    async with raw(upstreams.silence) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), first_byte_seconds=0.05)
        with pytest.raises(openai.InternalServerError, match=r"no answer within 0\.05 s") as caught:
            await ask(running)
        async with asyncio.timeout(5):
            await engine.gone.wait()
    assert caught.value.status_code == 504


async def test_a_stream_that_stalls_ends(start):
    async with raw(says(STREAM_HEAD, chunked(piece("one")), wait=asyncio.Event())) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), idle_seconds=0.05)
        with pytest.raises(openai.APIError, match="no further piece"):
            await collect(running)


async def test_a_completion_has_a_time_limit_for_all_attempts_together(start):
    async with raw(upstreams.silence) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), total_seconds=0.05)
        with pytest.raises(openai.InternalServerError, match=r"not done after 0\.05 s") as caught:
            await ask(running)
    assert caught.value.status_code == 504


async def test_requests_that_find_no_free_connection_wait_and_beyond_a_bound_are_refused(start):
    go_on = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        await go_on.wait()
        writer.write(whole(200, upstreams.reply()))

    async with raw(behave) as engine:
        target = deployment(Target("t1", address=engine.address))
        running = await start(target, upstream_connections=1, upstream_waiting=1)
        first = asyncio.create_task(ask(running))
        await eventually(lambda: engine.requests)
        second = asyncio.create_task(ask(running))
        (pool,) = running.gateway.pools.all()
        await eventually(lambda: pool.waiting == 1)
        with pytest.raises(openai.InternalServerError, match="is busy") as caught:
            await ask(running)
        assert caught.value.status_code == 503 and caught.value.response.headers["retry-after"] == "1"
        go_on.set()
        assert (await first).choices and (await second).choices
    assert engine.connections == 1


async def test_a_reply_that_is_too_large_is_not_held(start):
    async with raw(answers("x" * 5000)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), max_response_bytes=2000)
        with pytest.raises(openai.InternalServerError, match="larger than 2,000 bytes"):
            await ask(running)


async def test_a_slow_reader_slows_the_engine_down_and_does_not_fill_the_gateway(start):
    """Megabytes that nobody reads must not pile up in the gateway."""
    held_by_engine = 0

    async def behave(upstream, reader, writer, request):
        nonlocal held_by_engine
        writer.write(STREAM_HEAD)
        while True:
            writer.write(chunked(piece("x" * 60_000)))
            held_by_engine = writer.transport.get_write_buffer_size()
            await writer.drain()

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        _, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
        writer.write(STREAM_REQUEST)
        (connection,) = await eventually(lambda: running.server.connections)
        # Nobody reads, the gateway has stopped reading, and the engine's own system takes no more:
        await eventually(lambda: connection.write_paused and held_by_engine > 50_000)
        assert connection._transport.get_write_buffer_size() < 1_000_000
        writer.close()


async def test_a_client_that_reads_nothing_is_dropped(start):
    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD)
        while True:
            writer.write(chunked(piece("x" * 60_000)))
            await writer.drain()

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), write_stall_seconds=0.1)
        _, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
        writer.write(STREAM_REQUEST)
        async with asyncio.timeout(10):
            await engine.gone.wait()
        await eventually(lambda: not running.server.connections)
        writer.close()


@pytest.mark.parametrize(
    ("behaviour", "failed"),
    [
        (says(close=True), 1),
        (says(whole(500, {"error": {"message": "out of memory"}})), 1),
        (says(whole(200, b"[]")), 1),
        (says(whole(400, {"error": {"message": "too long"}})), 0),
        (says(whole(429, {"error": {"message": "slow down"}})), 0),
    ],
    ids=["closes", "breaks", "garbage", "a bad request", "busy"],
)
async def test_what_came_of_requests_is_counted_by_target(start, behaviour, failed):
    async with raw(behaviour) as bad, raw(answers("fine")) as good:
        running = await start(two(bad.address, good.address))
        with suppress(openai.APIStatusError):
            await ask(running)
        counts = from_json(running.gateway.router.outcomes.as_json())
        assert counts.get("bad", Outcomes()).failed == failed
        assert counts.get("bad", Outcomes()).all == failed
        assert counts.get("good", Outcomes()).failed == 0
