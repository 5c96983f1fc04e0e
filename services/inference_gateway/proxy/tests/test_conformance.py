"""What official clients do, through the gateway, with a real llama.cpp and a real model behind it."""

from __future__ import annotations

import json

import openai
import pytest
from pydantic import BaseModel

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.support import deployment

HELLO = [{"role": "user", "content": "Name a colour and say how warm it is from 0 to 9."}]
EXACT = {"temperature": 0, "max_tokens": 24}
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "warmth": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["colour", "warmth"],
    "additionalProperties": False,
}
WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Colour(BaseModel):
    colour: str
    warmth: int


@pytest.fixture
async def client(start, engine):
    return (await start(deployment(Target("t1", version="1", address=engine)))).client()


async def ask(client, **options):
    return await client.chat.completions.create(**({"model": "hotline", "messages": HELLO} | EXACT | options))


async def test_a_json_schema_binds_the_answer(client):
    form = {"type": "json_schema", "json_schema": {"name": "colour", "schema": SCHEMA, "strict": True}}
    answer = await ask(client, response_format=form)
    said = json.loads(answer.choices[0].message.content)
    assert said["colour"] in ("red", "blue") and 0 <= said["warmth"] <= 9


async def test_logprobs_come_with_their_alternatives(client):
    answer = await ask(client, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert "".join(each.token for each in tokens).startswith(answer.choices[0].message.content[:5])
    assert all(len(each.top_logprobs) == 3 and each.logprob <= 0 for each in tokens)


async def test_two_choices_are_two_answers(client):
    answer = await ask(client, n=2, temperature=1.5, seed=1)
    assert [each.index for each in answer.choices] == [0, 1]
    assert all(each.message.content for each in answer.choices)


async def test_two_choices_stream_side_by_side(client):
    stream = await ask(client, n=2, stream=True, stream_options={"include_usage": True})
    pieces = [each async for each in stream]
    assert {choice.index for each in pieces for choice in each.choices} == {0, 1}
    assert pieces[-1].usage.completion_tokens > 0 and pieces[-1].choices == []


async def test_a_stop_text_ends_the_answer_and_is_not_in_it(client):
    whole = (await ask(client)).choices[0].message.content
    stop = whole.split()[3]
    cut = (await ask(client, stop=[stop])).choices[0]
    assert stop not in cut.message.content and cut.finish_reason == "stop"
    assert len(cut.message.content) < len(whole)


async def test_a_seed_makes_chance_repeatable(client):
    options = {"temperature": 1.2, "extra_body": {"cache_prompt": False}}
    texts = [(await ask(client, seed=seed, **options)).choices[0].message.content for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


async def test_tools_calls_and_their_results_are_taken(client):
    """This model's template knows no tools, so it never calls one: that a call comes back, test_responses.py shows."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    turns = [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    answer = await ask(client, messages=turns, tools=[{"type": "function", "function": WEATHER}])
    assert answer.choices[0].message.content


async def test_more_choices_than_the_engine_has_room_for_are_refused_in_its_words(client):
    with pytest.raises(openai.BadRequestError, match="'n'"):
        await ask(client, n=100)
    with pytest.raises(openai.BadRequestError, match="from 1 to 128"):
        await ask(client, n=1_000_000)


async def test_a_prompt_of_a_million_tokens_is_refused_as_too_long(client):
    with pytest.raises(openai.BadRequestError, match="context size"):
        await ask(client, messages=[{"role": "user", "content": "word " * 1_000_000}])
    assert (await ask(client)).choices  # and the engine goes on


async def test_a_response_is_parsed_into_the_callers_type(client):
    response = await client.responses.parse(
        model="hotline", input="Red is a warm colour.", text_format=Colour, max_output_tokens=64, temperature=0
    )
    assert isinstance(response.output_parsed, Colour)
    assert response.usage.output_tokens > 0


async def test_a_response_streams_what_it_says_whole(client):
    asked = {"model": "hotline", "input": "Name three colours.", "max_output_tokens": 12, "temperature": 0}
    asked["extra_body"] = {"cache_prompt": False}
    whole = await client.responses.create(**asked)
    async with client.responses.stream(**asked) as stream:
        events = [each async for each in stream]
    final = events[-1].response
    deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert "".join(deltas) == final.output_text == whole.output_text != ""
    assert final.usage.output_tokens == whole.usage.output_tokens == 12
    assert (final.status, final.incomplete_details.reason) == ("incomplete", "max_output_tokens")
