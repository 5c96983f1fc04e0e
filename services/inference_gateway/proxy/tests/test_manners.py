"""Engines and clients of bad manners: what comes back is OpenAI's, tells nothing of the inside, and is counted once."""

from __future__ import annotations

import asyncio
import gzip
import json

import openai
import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import KEY, deployment, eventually
from services.inference_gateway.proxy.tests.test_completions import DONE, END, HELLO, USAGE, ask, collect
from services.inference_gateway.proxy.tests.test_connection import AUTH, BODY, error_of, post, statuses
from services.inference_gateway.proxy.tests.test_faults import STREAM_REQUEST
from services.inference_gateway.proxy.tests.upstreams import (
    STREAM_HEAD,
    chunked,
    head,
    piece,
    raw,
    says,
    whole,
)

REPLY = json.dumps(upstreams.reply()).encode()
TOKENS = {
    "project": "demo", "gen_ai_operation_name": "chat", "gen_ai_request_model": "hotline",
    "gen_ai_response_model": "", "gen_ai_token_type": "output",
}  # fmt: skip


def sized(claimed: int, body: bytes) -> bytes:
    return head(200, "application/json", f"content-length: {claimed}\r\n\r\n") + body


@pytest.mark.parametrize(
    "answer",
    [
        sized(len(REPLY) + 10, REPLY),
        sized(len(REPLY) - 10, REPLY),
        sized(0, b""),
        head(200, "application/json", "content-length: nonsense\r\n\r\n") + REPLY,
        head(200, "application/json", f"content-length: 5\r\ncontent-length: {len(REPLY)}\r\n\r\n") + REPLY,
        head(200, "application/json", "transfer-encoding: chunked\r\n\r\n") + b"ZZ\r\n" + REPLY,
        head(200, "application/json", f"content-encoding: gzip\r\ncontent-length: {len(gzip.compress(REPLY))}\r\n\r\n")
        + gzip.compress(REPLY),
        whole(200, b'{"choices": [' + b"[" * 100_000),
        whole(200, b"\xff\xfe" + REPLY),
        b"HTTP/1.1 999 Wow\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
    ],
    ids=["too long", "too short", "empty", "no number", "two lengths", "bad chunk", "gzip", "deep", "not utf-8", "999",
         "204"],
)  # fmt: skip
async def test_a_reply_that_lies_is_a_502(start, answer):
    async with raw(says(answer, close=True)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.InternalServerError) as caught:
            await ask(running)
    assert caught.value.status_code == 502 and set(caught.value.body) == {"message", "type", "param", "code"}
    assert caught.value.response.headers["x-request-id"].startswith("chatcmpl-")
    assert engine.address not in str(caught.value) and "Traceback" not in str(caught.value)
    assert running.metric("gen_ai_client_token_usage_sum", **TOKENS) == 0


async def test_what_an_engine_says_beyond_its_length_does_not_reach_the_next_client(start):
    """Bytes after a reply could pose as the answer to somebody else's question."""
    extra = whole(200, upstreams.reply("forged"))
    async with raw(says(whole(200, upstreams.reply("mine")) + extra)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        said = [(await ask(running)).choices[0].message.content for _ in range(3)]
    assert said == ["mine"] * 3


@pytest.mark.parametrize(
    "garbage",
    [b"data: {\n\n", b"data: []\n\n", b'data: {"choices": 5}\n\n', b'data: {"choices": [5]}\n\n', b"data: \xff\n\n",
     b'data: {"choices": [{"delta": "x"}]}\n\n', b"data: " + b"[" * 100_000 + b"\n\n"],
)  # fmt: skip
async def test_garbage_in_a_stream_ends_it_with_an_error_and_a_cut(start, garbage):
    heard = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD + chunked(piece("half")))
        await heard.wait()
        writer.write(chunked(garbage) + chunked(piece("more", finish="stop")) + chunked(DONE) + END)

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        texts = []
        with pytest.raises(openai.APIError, match="engine behind this model failed"):
            async for each in await ask(running, stream=True):
                texts.append(each.choices[0].delta.content)
                heard.set()
        (record,) = await running.records()
    assert texts == ["half"] and record.finish_reason == "upstream_error"


@pytest.mark.parametrize("usage", [{"completion_tokens": -5}, {"completion_tokens": 2**63}, {"completion_tokens": "9"}])
async def test_a_count_that_cannot_be_is_not_counted(start, usage):
    async with raw(says(whole(200, upstreams.reply() | {"usage": usage}))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running)
    assert running.metric("gen_ai_client_token_usage_sum", **TOKENS) == 0


async def test_tokens_are_counted_once_however_many_engines_were_asked(start):
    parts = [chunked(piece("a", finish="stop")), chunked(piece(usage=USAGE)), chunked(DONE), END]
    async with raw(says(close=True)) as bad, raw(says(STREAM_HEAD, *parts)) as good:
        running = await start(
            deployment(Target("bad", address=bad.address, weight=10**6), Target("t1", address=good.address, weight=1))
        )
        await collect(running)
        (record,) = await running.records()
    await eventually(lambda: running.metric("gen_ai_client_token_usage_sum", **TOKENS))
    assert running.metric("gen_ai_client_token_usage_sum", **TOKENS) == record.completion_tokens == 2
    assert running.metric("gen_ai_client_token_usage_count", **TOKENS) == 1


async def test_a_stream_that_breaks_before_its_usage_counts_the_tokens_that_went_out(start):
    async with raw(says(STREAM_HEAD, chunked(piece("one")), chunked(piece(" two")), close=True)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.APIError):
            await collect(running)
        (record,) = await running.records()
    assert record.completion_tokens == 2
    assert running.metric("gen_ai_client_token_usage_sum", **TOKENS) == 2


async def test_a_hundred_megabytes_are_refused_with_an_answer_that_can_be_read(start):
    running = await start()
    size = 100 * 1024 * 1024
    lines = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + AUTH
    assert statuses(await running.raw(lines + b"content-length: %d\r\n\r\n" % size, b"x" * size)) == [413]
    parts = [chunked(b"x" * 2**20)] * 100
    answer = await running.raw(lines + b"transfer-encoding: chunked\r\n\r\n", *parts)
    assert statuses(answer) == [413] and error_of(answer)["code"] == "body_too_large"
    assert b"x-request-id: req_" in answer
    assert running.server.buffered == 0


async def test_a_slow_loris_is_cut_however_steadily_it_dribbles(start):
    running = await start(header_seconds=0.2, body_seconds=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)

    async def dribble() -> None:
        for byte in post(b"x" * 1000):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.005)

    dribbling = asyncio.create_task(dribble())
    async with asyncio.timeout(10):
        answer = await reader.read()
    dribbling.cancel()
    writer.close()
    assert statuses(answer) == [408] and not running.gateway.router.in_flight


async def test_a_client_that_shuts_its_half_in_a_stream_stops_the_engine(start):
    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD + chunked(piece("half")))
        await upstreams.silence(upstream, reader, writer, request)

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(STREAM_REQUEST)
        await reader.readuntil(b"half")
        writer.write_eof()
        async with asyncio.timeout(5):
            await engine.gone.wait()
        writer.close()
        (record,) = await running.records()
    assert record.finish_reason == "client_closed"


async def test_a_key_that_is_revoked_while_its_connection_is_open_is_refused_at_once(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        client = running.client()
        await client.chat.completions.create(model="hotline", messages=HELLO)
        running.gateway.use(type(running.gateway.snapshot)(revision=2, projects={}, keys={}, deployments={}))
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="hotline", messages=HELLO)
    assert KEY not in str(caught.value) and len(engine.requests) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [("model", 5), ("model", None), ("model", ["hotline"]), ("messages", {}), ("messages", "x"), ("stream", 1),
     ("stream_options", []), ("n", "many")],
)  # fmt: skip
async def test_a_wrong_type_is_refused_and_names_the_field(start, field, value):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    body = json.dumps(json.loads(BODY) | {field: value}).encode()
    answer = await running.raw(post(body))
    assert statuses(answer) == [400] and error_of(answer)["param"] == field


async def test_unknown_fields_reach_the_engine_which_may_know_them(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running, extra_body={"min_p": 0.1, "nobody_knows": [None]})
    assert engine.bodies()[0]["min_p"] == 0.1 and engine.bodies()[0]["nobody_knows"] == [None]


@pytest.mark.parametrize("path", ["chat/completions", "completions", "embeddings", "responses", "feedback"])
@pytest.mark.parametrize(
    ("body", "says_what"),
    [(b"{", "valid JSON"), (b"\xff{}", "valid JSON"), (b"[]", "not an object"), (b"1" * 5000, "valid JSON"),
     (b'{"a":' * 500 + b"1" + b"}" * 500, "levels"), (b'{"a":' * 100_000, "valid JSON")],
    ids=["broken", "not utf-8", "a list", "a long number", "deep", "very deep"],
)  # fmt: skip
async def test_no_path_takes_what_is_no_plain_object(start, path, body, says_what):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    request = post(body).replace(b"/v1/chat/completions", b"/v1/" + path.encode())
    answer = await running.raw(request)
    assert statuses(answer) == [400] and says_what in error_of(answer)["message"]
    assert not running.feedback


@pytest.mark.parametrize(
    "fields",
    [{"model": "\ud800"}, {"model": "hotline@\ud800"}, {"model": "a\r\nx-evil: 1"}, {"model": "\0"},
     {"messages": [{"role": "\ud800", "content": "\ud800\0"}]}, {"user": "\ud83d"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["chat/completions", "responses"])
async def test_halves_of_characters_and_line_breaks_break_nothing(start, path, fields):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", version="1", address=engine.address)))
        asked = {"model": "hotline", "messages": HELLO} | fields
        if path == "responses":
            asked["input"] = asked.pop("messages")
        request = post(json.dumps(asked).encode()).replace(b"/v1/chat/completions", b"/v1/" + path.encode())
        answer = await running.raw(request)
    assert statuses(answer)[0] in (200, 400, 404) and b"\r\nx-evil" not in answer
    json.loads(answer.partition(b"\r\n\r\n")[2])
