"""In front of a real llama.cpp with a real model: what the gateway says is what the engine says."""

from __future__ import annotations

import aiohttp
import httpx
import openai
import pytest

from services.inference_gateway.engines.base import Endpoint
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.engines.wire import WIRES
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.support import deployment, free_port

QUESTION = [{"role": "user", "content": "Name three colours."}]
# Without its prompt cache the engine computes the same numbers each time, so answers can be compared letter by letter.
EXACT = {"temperature": 0, "max_tokens": 8, "seed": 7}
NO_CACHE = {"cache_prompt": False}


@pytest.fixture
async def gateway(start, engine):
    return await start(deployment(Target("t1", version="1", address=engine)))


async def test_at_temperature_0_the_answer_is_the_engines_own(gateway, engine):
    body = {"model": "hotline", "messages": QUESTION, **EXACT, **NO_CACHE}
    async with httpx.AsyncClient(timeout=120) as http:
        own = (await http.post(f"http://{engine}/v1/chat/completions", json=body)).json()
    answer = await gateway.client().chat.completions.create(
        model="hotline", messages=QUESTION, extra_body=NO_CACHE, **EXACT
    )
    assert answer.choices[0].message.content == own["choices"][0]["message"]["content"] != ""
    assert answer.choices[0].finish_reason == own["choices"][0]["finish_reason"]
    assert answer.usage.completion_tokens == own["usage"]["completion_tokens"]


async def test_a_stream_says_the_same_piece_by_piece(gateway):
    client = gateway.client()
    whole = await client.chat.completions.create(model="hotline", messages=QUESTION, extra_body=NO_CACHE, **EXACT)
    stream = await client.chat.completions.create(
        model="hotline", messages=QUESTION, stream=True, stream_options={"include_usage": True}, extra_body=NO_CACHE,
        **EXACT,
    )  # fmt: skip
    pieces = [each async for each in stream]
    texts = [each.choices[0].delta.content for each in pieces if each.choices and each.choices[0].delta.content]
    assert "".join(texts) == whole.choices[0].message.content
    assert len(texts) > 3
    assert pieces[-1].usage.model_dump()["total_tokens"] == whole.usage.total_tokens
    kept_whole, kept_stream = await gateway.records(2)
    assert kept_stream.answer == kept_whole.answer and kept_stream.id == pieces[0].id
    assert kept_stream.ttft_ms > 0


async def test_usage_equals_the_tokenizers_count(gateway, engine):
    answer = await gateway.client().chat.completions.create(model="hotline", messages=QUESTION, **EXACT)
    async with httpx.AsyncClient(base_url=f"http://{engine}", timeout=60) as http:
        prompt = (await http.post("/apply-template", json={"messages": QUESTION})).json()["prompt"]
        tokens = (await http.post("/tokenize", json={"content": prompt, "parse_special": True})).json()["tokens"]
        text = {"content": answer.choices[0].message.content}
        answered = (await http.post("/tokenize", json=text)).json()["tokens"]
    assert answer.usage.prompt_tokens == len(tokens)
    ended_itself = answer.choices[0].finish_reason == "stop"  # the token that ends a turn is counted, and is no text
    assert answer.usage.completion_tokens == len(answered) + ended_itself


async def test_text_completions_stream_too(gateway):
    stream = await gateway.client().completions.create(
        model="hotline", prompt="One, two, three,", stream=True, max_tokens=4, temperature=0
    )
    assert "".join([each.choices[0].text async for each in stream if each.choices])


async def test_what_the_engine_refuses_is_a_400_with_its_words(gateway):
    with pytest.raises(openai.BadRequestError, match="context size"):
        await gateway.client().chat.completions.create(
            model="hotline", messages=[{"role": "user", "content": "word " * 2000}]
        )


async def test_the_adapter_knows_ready_from_absent(engine):
    adapter = ENGINES["llama_cpp"]
    async with aiohttp.ClientSession() as http:
        endpoint = Endpoint(f"http://{engine}/v1", "any")
        assert (await adapter.health(http, endpoint)).ready
        absent = await adapter.health(http, Endpoint(f"http://127.0.0.1:{free_port()}/v1", "any"))
        assert not absent.ready and "cannot be reached" in absent.detail
        rented = ENGINES["openai"]
        assert (await rented.health(http, Endpoint(f"http://{engine}/v1", ""))).ready
        wrong = await rented.health(http, Endpoint(f"http://{engine}/v1", "gpt-9"))
        assert not wrong.ready and "has no model 'gpt-9'" in wrong.detail


def test_every_engine_has_its_facts_and_its_adapter():
    assert WIRES.keys() == ENGINES.keys()
    assert all(ENGINES[name].name == name and ENGINES[name].wire is WIRES[name] for name in WIRES)
