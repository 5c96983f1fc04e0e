"""The Responses API as the unmodified `openai` client sees it, in front of engines that know chat completions only."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from services.inference_gateway.proxy import responses
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, says, whole

DONE, END = b"data: [DONE]\n\n", b"0\r\n\r\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 1}}
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


def delta(finish: str | None = None, **fields) -> bytes:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode() + b"\n\n"


def stream_of(*pieces: bytes):
    return says(STREAM_HEAD, *map(chunked, pieces), END)


def asked_of_engine(**fields) -> dict:
    return responses.parse(json.dumps({"model": "hotline", **fields}).encode()).fields


async def test_a_response_is_a_chat_completion_in_other_words(start):
    answer = upstreams.reply("good morning") | {"usage": USAGE}
    async with raw(says(whole(200, answer))) as engine:
        running = await start(deployment(Target("t1", address=engine.address, upstream_model="weights")))
        response = await running.client().responses.create(
            model="hotline", input="hello", instructions="Be kind.", max_output_tokens=9, temperature=0
        )
        (record,) = await running.records()
    assert engine.bodies() == [{
        "model": "weights", "temperature": 0, "max_completion_tokens": 9,
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}],
    }]  # fmt: skip
    assert response.output_text == "good morning" and response.status == "completed" and response.model == "hotline"
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (3, 2, 5)
    assert response.usage.input_tokens_details.cached_tokens == 1 and response.instructions == "Be kind."
    assert response.id.startswith("resp_") and response.id == record.id == response._request_id
    assert record.answer == "good morning" and record.messages[-1] == {"role": "user", "content": "hello"}


async def test_events_come_in_openais_order_and_add_up(start):
    pieces = [piece("good "), piece("day"), piece(finish="stop"), piece(usage=USAGE), DONE]
    async with raw(stream_of(*pieces)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        async with running.client().responses.stream(model="hotline", input="hello") as stream:
            events = [each async for each in stream]
            final = await stream.get_final_response()
        (record,) = await running.records()
    assert [each.type.removeprefix("response.") for each in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [each.sequence_number for each in events] == list(range(10))
    assert final.output_text == "good day" and final.usage.total_tokens == 5 and final.status == "completed"
    assert {events[0].response.id, final.id} == {record.id}
    assert (record.answer, record.total_tokens) == ("good day", 5)
    assert engine.bodies()[0]["stream_options"] == {"include_usage": True}


async def test_thoughts_text_and_calls_are_items_of_their_own(start):
    calls = [
        delta(tool_calls=[{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": ""}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city":'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '"Oslo"}'}}]),
        delta(tool_calls=[{"index": 1, "id": "call_2", "function": {"name": "weather", "arguments": "{}"}}]),
    ]
    pieces = [delta(reasoning_content="hm"), delta(content="Let me see."), *calls, delta("tool_calls"), DONE]
    async with raw(stream_of(*pieces)) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        async with running.client().responses.stream(model="hotline", input="hello", tools=[WEATHER]) as stream:
            events = [each async for each in stream]
            final = await stream.get_final_response()
    assert [each.type for each in final.output] == ["reasoning", "message", "function_call", "function_call"]
    assert [(each.call_id, each.arguments) for each in final.output[2:]] == [
        ("call_1", '{"city":"Oslo"}'), ("call_2", "{}"),
    ]  # fmt: skip
    done = [each.output_index for each in events if each.type == "response.output_item.done"]
    assert done == [0, 1, 2, 3]


async def test_a_tool_call_goes_round(start):
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    answer = upstreams.reply() | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    async with raw(says(whole(200, answer))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        client = running.client()
        first = await client.responses.create(
            model="hotline", input="Oslo?", tools=[WEATHER], tool_choice={"type": "function", "name": "weather"}
        )
        (call,) = first.output
        output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        await client.responses.create(
            model="hotline", tools=[WEATHER], input=[{"role": "user", "content": "Oslo?"}, call.model_dump(), output]
        )
    asked, again = engine.bodies()
    function = {key: value for key, value in WEATHER.items() if key != "type"}
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert again["messages"][1:] == [
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]


def test_parts_and_formats_are_said_as_chat_completions_say_them():
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    fields = asked_of_engine(
        input=[{"role": "developer", "content": [{"type": "input_text", "text": "See"}, image]}],
        text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}},
        reasoning={"effort": "low"}, seed=7, store=True, metadata={"a": "b"},
    )  # fmt: skip
    assert fields == {
        "model": "hotline", "seed": 7, "reasoning_effort": "low",
        "messages": [{"role": "system", "content": [
            {"type": "text", "text": "See"},
            {"type": "image_url", "image_url": {"url": image["image_url"], "detail": "auto"}},
        ]}],
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "a", "schema": {"type": "object"}, "strict": True,
        }},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "param", "says_what"),
    [
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id", "Send all items in `input`"),
        ({"input": "x", "background": True}, "background", "keeps no responses"),
        ({"input": "x", "truncation": "auto"}, "truncation", "shorten the input"),
        ({}, "input", "a list of items"),
        ({"input": [1]}, "input[0]", "must be an object"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "must be one of user"),
        ({"input": [{"role": "user", "content": 1}]}, "input[0].content", "a list of parts"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0]", "`input_file`"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type", "`item_reference`"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id", "must be a text"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools[0]", "`web_search` are not supported"),
        ({"input": "x", "tools": [WEATHER], "tool_choice": {"type": "mcp"}}, "tool_choice", "name a function"),
        ({"input": "x", "text": {"format": {"type": "xml"}}}, "text.format", "json_schema"),
        ({"input": "x", "text": "plain"}, "text", "must be an object"),
        ({"input": "x", "stream": 1}, "stream", "true or false"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields, param, says_what):
    with pytest.raises(responses.ApiError, match=says_what.replace("[", r"\[")) as caught:
        asked_of_engine(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_was_cut_is_incomplete(start, streamed):
    answer = upstreams.reply("half")
    answer["choices"][0]["finish_reason"] = "length"
    behaviour = stream_of(piece("half", finish="length"), DONE) if streamed else says(whole(200, answer))
    async with raw(behaviour) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        if streamed:
            stream = await running.client().responses.create(model="hotline", input="x", stream=True)
            response = [each async for each in stream][-1].response
        else:
            response = await running.client().responses.create(model="hotline", input="x")
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete" and response.output[0].content[0].text == "half"


@pytest.mark.parametrize(
    "end",
    [[], [b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'], [b"data: <html>\n\n"],
     [delta(content=5)], [delta(tool_calls=[{"index": 1, "function": {"arguments": "{"}}])]],
    ids=["closes", "tells an error", "garbage", "a number for text", "a call without a name"],
)  # fmt: skip
async def test_a_stream_that_breaks_ends_with_response_failed(start, end):
    heard = asyncio.Event()

    async def behave(upstream, reader, writer, request):
        writer.write(STREAM_HEAD + chunked(piece("half")))
        await heard.wait()  # what came together would not have begun yet, and be a 502
        writer.write(b"".join(map(chunked, end)))
        await writer.drain()
        raise ConnectionError

    async with raw(behave) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        events = []
        async for event in await running.client().responses.create(model="hotline", input="x", stream=True):
            events.append(event)
            heard.set()
        (record,) = await running.records()
    assert events[-1].type == "response.failed" and events[-1].response.error.message
    assert (record.answer, record.finish_reason) == ("half", "upstream_error")


@pytest.mark.parametrize("choice", [1, {"index": 0}, {"index": 0, "message": {"tool_calls": [1]}}])
async def test_a_reply_that_is_no_message_is_a_502(start, choice):
    async with raw(says(whole(200, {"choices": [choice]}))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        with pytest.raises(openai.InternalServerError, match="has no message") as caught:
            await running.client().responses.create(model="hotline", input="x")
    assert caught.value.status_code == 502


async def test_who_says_store_false_is_not_kept(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        client = running.client()
        await client.responses.create(model="hotline", input="secret", store=False)
        await client.chat.completions.create(
            model="hotline", messages=[{"role": "user", "content": "secret"}], store=False
        )
        kept = await client.responses.create(model="hotline", input="open", store=True)
        assert [each.id for each in await running.records()] == [kept.id]
