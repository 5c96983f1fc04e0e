"""Adapters that an engine loads while it serves: the first use loads, once; what was let go is loaded anew."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import openai
import pytest

from services.inference_gateway.proxy.adapters import served_as
from services.inference_gateway.proxy.hot_adapters import SAY_SECONDS
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import eventually
from services.inference_gateway.proxy.tests.test_adapters import MARIA, OTTO, serving
from services.inference_gateway.proxy.tests.test_completions import HELLO
from services.inference_gateway.proxy.tests.upstreams import raw, whole

MARIA_S = served_as("maria", MARIA.digest)


def vllm(address: str) -> Target:
    return Target("r1", version="1", engine="vllm", address=address, adapters=(MARIA, OTTO))


def ask(running, model="hotline:maria"):
    return running.client().chat.completions.create(model=model, messages=HELLO)


async def test_who_comes_while_it_loads_waits_for_the_same_call_and_later_ones_make_none(start):
    async with raw(upstreams.answers("hello")) as engine:
        running = await start(serving(vllm(engine.address)))
        loaded = asyncio.Event()

        async def loads() -> str:
            await loaded.wait()
            return ""

        running.loads = loads
        asking = [asyncio.create_task(ask(running)) for _ in range(5)]
        await eventually(lambda: running.loaded)
        asking[0].cancel()  # who leaves ends it for nobody else
        await ask(running, "hotline")  # the base waits for no adapter
        loaded.set()
        await asyncio.gather(*asking[1:])
        await ask(running)
    assert running.loaded == [("r1", MARIA_S)]
    assert [each["model"] for each in engine.bodies()] == ["hotline", *[MARIA_S] * 5]
    assert all("lora" not in each for each in engine.bodies())


async def test_one_that_was_let_go_is_loaded_anew(start):
    refused = []

    async def behaviour(upstream, reader, writer, request):
        if len(upstream.requests) == 2 and not refused:
            refused.append(json.loads(request.partition(b"\r\n\r\n")[2])["model"])
            writer.write(whole(404, {"error": {"message": "The model does not exist.", "type": "NotFoundError"}}))
        else:
            writer.write(whole(200, upstreams.reply("hello")))

    async with raw(behaviour) as engine:
        running = await start(serving(vllm(engine.address)))
        for _ in range(2):
            assert (await ask(running)).choices[0].message.content == "hello"
    assert refused == [MARIA_S] and running.loaded == [("r1", MARIA_S)] * 2


async def test_one_that_cannot_be_loaded_is_an_honest_error_and_is_tried_again_next_time(start):
    async with raw(upstreams.answers("hello")) as engine:
        running = await start(serving(vllm(engine.address)))

        async def cannot() -> str:
            return "the engine does not take it"

        works, running.loads = running.loads, cannot
        with pytest.raises(openai.InternalServerError, match="does not take it"):
            await ask(running)
        assert not engine.requests
        running.loads = works
        assert (await ask(running)).choices[0].message.content == "hello"


async def test_its_use_is_told_now_and_then_without_anybody_waiting(start):
    async with raw(upstreams.answers("hello")) as engine:
        running = await start(serving(vllm(engine.address)))
        await ask(running)
        hot = running.gateway.hot_adapters
        now = hot._clock()
        hot._clock = lambda: now + SAY_SECONDS + 1
        await ask(running)
        await eventually(lambda: len(running.loaded) == 2)
        hot.forget_others([])  # its replica is gone
        await ask(running)
    assert len(running.loaded) == 3


async def test_another_adapter_of_the_same_name_is_another_model(start):
    other = replace(MARIA, digest=OTTO.digest)
    async with raw(upstreams.answers("hello")) as engine:
        running = await start(serving(replace(vllm(engine.address), adapters=(other,))))
        await ask(running)
    assert running.loaded == [("r1", served_as("maria", OTTO.digest))]
