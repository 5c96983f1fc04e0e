"""/v1/embeddings, in front of engines that behave as a test wants and of a real one."""

from __future__ import annotations

import json

import aiohttp
import httpx
import openai
import pytest
from gyre_kit.gguf import read_header

from services.inference_gateway.engines.base import Endpoint
from services.inference_gateway.engines.table import ENGINES
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import bert
from services.inference_gateway.proxy.tests.support import KEY, deployment, model_file
from services.inference_gateway.proxy.tests.upstreams import raw, says, whole

VECTORS = {
    "object": "list",
    "model": "weights",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


@pytest.mark.parametrize("given", ["hello", ["a", "b"], [1, 2], [[1, 2], [3]]])
async def test_vectors_pass_as_the_engine_gives_them_and_tokens_are_counted(start, given):
    async with raw(says(whole(200, VECTORS))) as engine:
        running = await start(deployment(Target("t1", address=engine.address, upstream_model="weights")))
        answer = await running.client().embeddings.create(model="hotline", input=given, encoding_format="float")
        assert running.lines() == []  # nothing to give feedback on
    assert engine.bodies() == [{"model": "weights", "input": given, "encoding_format": "float"}]
    assert b"POST /v1/embeddings HTTP/1.1" in engine.requests[0]
    assert (answer.model, answer.data[0].embedding, answer.usage.total_tokens) == ("hotline", [0.5, -1.0], 3)
    labels = {"project": "demo", "gen_ai_operation_name": "embeddings", "gen_ai_request_model": "hotline"}
    labels |= {"gen_ai_response_model": "", "gen_ai_token_type": "input"}
    assert running.metric("gen_ai_client_token_usage_sum", **labels) == 3


async def test_base64_passes_untouched_to_a_client_that_decodes_it(start):
    vectors = VECTORS | {"data": [{"object": "embedding", "index": 0, "embedding": "AAAAPwAAgL8="}]}
    async with raw(says(whole(200, vectors))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        answer = await running.client().embeddings.create(model="hotline", input="hello")
    assert engine.bodies()[0]["encoding_format"] == "base64"
    assert answer.data[0].embedding == [0.5, -1.0]


@pytest.mark.parametrize("given", ["", [], [[]], ["a", 1], [1.5], [True], [-1], [["a"], 1], [["a"]], {}, None, 5])
async def test_another_input_is_refused(start, given):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    async with httpx.AsyncClient(base_url=running.url, headers={"authorization": f"Bearer {KEY}"}) as http:
        reply = await http.post("/v1/embeddings", content=json.dumps({"model": "hotline", "input": given}))
    assert reply.status_code == 400 and reply.json()["error"]["param"] == "input"


async def test_a_chat_model_says_that_it_makes_no_embeddings(start, engine):
    running = await start(deployment(Target("t1", address=engine)))
    with pytest.raises(openai.BadRequestError, match="an embedding model for") as caught:
        await running.client().embeddings.create(model="hotline", input="hello")
    assert (caught.value.code, caught.value.param) == ("not_supported_by_model", "model")


async def test_a_reply_without_vectors_is_a_502(start):
    async with raw(says(whole(200, {"object": "list"}))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.InternalServerError, match="has no `data`"):
            await running.client().embeddings.create(model="hotline", input="hello")


async def test_a_replica_of_an_embedding_model_serves_embeddings(start, embedder):
    running = await start(deployment(Target("t1", address=embedder)))
    client = running.client()
    one, two = (await client.embeddings.create(model="hotline", input=["hello", "bye"])).data
    assert len(one.embedding) == bert.WIDTH and one.embedding != two.embedding
    floats = await client.embeddings.create(model="hotline", input="hello", encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(one.embedding, abs=1e-6)
    assert floats.usage.prompt_tokens == len("hello") + 2  # a letter each, [CLS] and [SEP]
    assert sum(each * each for each in one.embedding) == pytest.approx(1, abs=1e-3)
    for letters, why in ((500, "context size"), (5000, "too large")):
        with pytest.raises(openai.BadRequestError, match=why):
            await client.embeddings.create(model="hotline", input="a " * letters)
    with pytest.raises(openai.BadRequestError, match="a chat model for all else"):
        await client.responses.create(model="hotline", input="hello")


async def test_the_adapter_finds_both_kinds_of_model_ready(engine, embedder):
    async with aiohttp.ClientSession() as http:
        for address in (engine, embedder):
            health = await ENGINES["llama_cpp"].health(http, Endpoint(f"http://{address}/v1", "any"))
            assert health.ready, health.detail


def test_a_header_that_breaks_off_is_told(tmp_path):
    whole = bert.tiny_bert(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "half.gguf").write_bytes(whole[:30])
    with pytest.raises(ValueError, match=r"header of half\.gguf"):
        read_header(tmp_path / "half.gguf")
    assert read_header(tmp_path / "whole.gguf").makes_embeddings
    assert not read_header(model_file()).makes_embeddings
