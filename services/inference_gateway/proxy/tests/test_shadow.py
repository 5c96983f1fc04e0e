"""A shadow gets copies, and nobody notices: not the client, not its budget, not those who wait for the same engine."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import openai
import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.conftest import Start
from services.inference_gateway.proxy.tests.support import Running, deployment, eventually
from services.inference_gateway.proxy.tests.upstreams import (
    STREAM_HEAD,
    Raw,
    answers,
    chunked,
    piece,
    raw,
    says,
    silence,
)

MESSAGES = [{"role": "user", "content": "Hello?"}]
STREAM = (
    STREAM_HEAD,
    chunked(piece("Good day")),
    chunked(piece(finish="stop") + piece(usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})),
    chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n",
)


def live(engine: Raw, **fields: int) -> Target:
    return Target("live", address=engine.address, version="1", **fields)


def shadow(engine: Raw, percent: int = 100, **fields: int) -> Target:
    return Target("shadow", address=engine.address, version="2", weight=0, shadow_percent=percent, **fields)


async def ask(gateway: Running, session: str = "", **more: object) -> str:
    headers = {"x-session-id": session} if session else {}
    reply = await gateway.client().chat.completions.create(
        model="hotline", messages=MESSAGES, extra_headers=headers, **more
    )
    return str(reply.choices[0].message.content)


async def test_the_client_gets_the_live_answer_and_both_are_compared(start: Start) -> None:
    async with raw(answers("Good day")) as one, raw(answers("good  DAY")) as two:
        gateway = await start(deployment(live(one), shadow(two)))
        assert await ask(gateway) == "Good day"
        first, second = await gateway.records(2)
        assert (first.answer, first.shadow_of, first.comparison) == ("Good day", "", None)
        assert (second.answer, second.shadow_of, second.target) == ("good  DAY", first.id, "shadow")
        assert second.comparison is not None
        assert (second.comparison["agrees"], second.comparison["similarity"]) == (True, 1.0)
        assert two.bodies()[0]["messages"] == MESSAGES


async def test_a_stream_is_copied_as_a_stream(start: Start) -> None:
    async with raw(says(*STREAM)) as one, raw(says(*STREAM)) as two:
        gateway = await start(deployment(live(one), shadow(two)))
        pieces = await gateway.client().chat.completions.create(model="hotline", messages=MESSAGES, stream=True)
        assert "".join([each.choices[0].delta.content or "" async for each in pieces if each.choices]) == "Good day"
        _, copy = await gateway.records(2)
        assert copy.comparison is not None and copy.comparison["agrees"] and copy.streamed
        assert copy.total_tokens == 5


async def test_a_copy_begins_when_the_client_has_its_answer_and_is_billed_to_nobody(start: Start) -> None:
    async with raw(answers()) as one, raw(silence) as two:
        gateway = await start(deployment(live(one, input_price=10**6), shadow(two, input_price=10**9)))
        await ask(gateway)
        await eventually(lambda: two.requests)  # it never answers, and the client is served already
        gateway.gateway.limiter.note()
        ledger = gateway.gateway.limiter.ledger
        position = ledger.look_up("projects/demo")
        assert position is not None
        account = ledger.read(position)
        assert (account.requests, account.spent_tokens, account.spent_picousd) == (1, 5, 3 * 10**6)
        gateway.gateway.shadows.stop()


async def test_a_project_that_did_not_consent_leaves_figures_and_no_text(start: Start) -> None:
    async with raw(answers("Good day")) as one, raw(answers("Bad day")) as two:
        gateway = await start(deployment(live(one), shadow(two)), consent=False)
        await ask(gateway)
        (copy,) = await gateway.records()
        assert (copy.messages, copy.answer, copy.parameters) == ([], "", {})
        assert copy.comparison is not None
        assert (copy.comparison["agrees"], copy.comparison["length"]) == (False, len("Good day"))


async def test_a_shadow_that_fails_is_counted_and_harms_nobody(start: Start) -> None:
    async with raw(answers()) as one, raw(says(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")) as two:
        gateway = await start(deployment(live(one), shadow(two)))
        assert await ask(gateway) == "hello"
        _, copy = await gateway.records(2)
        assert copy.comparison is not None and copy.comparison["failure_reason"] == "Refusal"
        assert gateway.metric("gyre_gateway_shadow_requests_total", target="shadow", outcome="failed") == 1
        assert gateway.gateway.router.outcomes.as_json().keys() == {"live"}


async def test_a_shadow_answers_no_client_even_when_the_live_target_is_down(start: Start) -> None:
    async with raw(answers()) as two:
        gateway = await start(deployment(Target("live", address="127.0.0.1:1"), shadow(two)))
        with pytest.raises(openai.InternalServerError):
            await ask(gateway)
        assert not two.requests


async def test_a_session_is_copied_as_a_whole_or_not_at_all(start: Start) -> None:
    async with raw(answers()) as one, raw(answers()) as two:
        gateway = await start(deployment(live(one), shadow(two, percent=50)))
        copied = []
        for session in range(16):
            before = len(two.requests)
            for _ in range(3):
                await ask(gateway, session=f"s{session}")
                await eventually(lambda: not gateway.gateway.shadows.running)
            copied.append(len(two.requests) - before)
        assert set(copied) == {0, 3}


async def test_no_copy_is_asked_where_the_engine_has_no_place_free(start: Start) -> None:
    async with raw(answers()) as one, raw(silence) as two:
        gateway = await start(deployment(live(one), shadow(two, places=1)))
        await ask(gateway)
        await eventually(lambda: two.requests)
        await ask(gateway)
        await ask(gateway)
        assert len(two.requests) == 1
        assert gateway.metric("gyre_gateway_shadow_requests_total", target="shadow", outcome="no_room") == 2
        gateway.gateway.shadows.stop()


async def test_a_copy_gives_way_to_a_real_request_for_the_same_place(start: Start) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(raw(answers()))
        busy = asyncio.Event()

        async def first_silent(upstream: Raw, reader: object, writer: asyncio.StreamWriter, request: bytes) -> None:
            if len(upstream.requests) == 1:
                busy.set()
                return
            await answers("mine")(upstream, reader, writer, request)  # type: ignore[arg-type]

        two = await stack.enter_async_context(raw(first_silent))
        gateway = await start(deployment(live(one), shadow(two, places=1)))
        await ask(gateway)
        await busy.wait()
        reply = await gateway.client().chat.completions.create(model="hotline@2", messages=MESSAGES)
        assert reply.choices[0].message.content == "mine"
        assert gateway.metric("gyre_gateway_shadow_requests_total", target="shadow", outcome="gave_way") == 1


async def test_copies_under_way_are_bounded(start: Start) -> None:
    async with raw(answers()) as one, raw(silence) as two:
        gateway = await start(deployment(live(one), shadow(two)), shadow_requests=2)
        for _ in range(4):
            await ask(gateway)
        await eventually(lambda: len(two.requests) == 2)
        assert gateway.metric("gyre_gateway_shadow_requests_total", target="shadow", outcome="no_room") == 2
        gateway.gateway.shadows.stop()
