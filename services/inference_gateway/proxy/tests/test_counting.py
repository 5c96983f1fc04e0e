"""The gateway counts as the engine does: beforehand, in usage, streamed and not, in English and Chinese, with tools."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.conftest import Start
from services.inference_gateway.proxy.tests.support import deployment
from services.inference_gateway.proxy.tests.upstreams import raw, silence

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "name": "weather", "description": "Weather of a city.", "parameters": PARAMETERS}
SAID = {
    "English": "How warm is it in Oslo, and do I need <|im_start|> a coat?",
    "Chinese": "奥斯陆现在多少度？我需要穿大衣吗？",
}


@pytest.mark.parametrize("language", SAID)
@pytest.mark.parametrize("tools", [[], [WEATHER]])
async def test_what_is_counted_beforehand_is_what_the_engine_says_it_was(
    start: Start, engine: str, language: str, tools: list[Any]
) -> None:
    gateway = await start(deployment(Target("t1", address=engine)))
    client, asked = gateway.client(), {"model": "hotline", "input": SAID[language], "instructions": "Be short."}
    more: dict[str, Any] = {"tools": tools} if tools else {}
    counted = (await client.responses.input_tokens.count(**asked, **more)).input_tokens
    answer = await client.responses.create(**asked, **more, max_output_tokens=4, temperature=0)
    stream = await client.responses.create(**asked, **more, max_output_tokens=4, temperature=0, stream=True)
    (end,) = [event.response async for event in stream if event.type in ("response.completed", "response.incomplete")]
    assert counted == answer.usage.input_tokens == end.usage.input_tokens > 10
    assert answer.usage.output_tokens == end.usage.output_tokens > 0
    kept = await gateway.records(2)
    assert [each.prompt_tokens for each in kept] == [counted, counted]


async def test_an_engine_that_cannot_count_or_does_not_answer_is_told_apart(start: Start) -> None:
    async with raw(silence) as engine:
        gateway = await start(deployment(Target("t1", address=engine.address, engine="openai")))
        with pytest.raises(openai.BadRequestError, match="counts no tokens"):
            await gateway.client().responses.input_tokens.count(model="hotline", input="Hello?")
        gateway = await start(deployment(Target("t1", address="127.0.0.1:1")))
        with pytest.raises(openai.APIStatusError) as failed:
            await gateway.client().responses.input_tokens.count(model="hotline", input="Hello?")
        assert failed.value.status_code == 502
        with pytest.raises(openai.NotFoundError):
            await gateway.client().responses.input_tokens.count(model="other", input="Hello?")
