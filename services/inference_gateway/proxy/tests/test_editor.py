"""What an editor plug-in sends: the shapes of Continue's OpenAI adapter (chat with tools, tab completion, abort).

Read in its source (`packages/openai-adapters/src/apis/OpenAI.ts`): OpenAI's Node client with `stream_options`, prompts of
tab completion that carry the model's own marks around the cursor, keys also in `x-api-key`.
"""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.support import KEY, deployment
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw, says

HEADERS = {
    "authorization": f"Bearer {KEY}",
    "x-api-key": KEY,
    "accept": "application/json",
    "user-agent": "OpenAI/JS 5.13.1",
    "x-stainless-lang": "js",
}
READ_FILE = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Reads a file of the workspace.",
        "parameters": {"type": "object", "required": ["filepath"], "properties": {"filepath": {"type": "string"}}},
    },
}
ASKED = {
    "model": "hotline",
    "messages": [
        {"role": "system", "content": "You are in agent mode."},
        {"role": "user", "content": [{"type": "text", "text": "What does main.py do?"}]},
    ],
    "max_tokens": 64,
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [READ_FILE],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
}
CALL = [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": ""}},
    {"index": 0, "function": {"arguments": '{"filepath":'}},
    {"index": 0, "function": {"arguments": ' "main.py"}'}},
]
BEFORE, AFTER = "def add(a, b):\n    ", "\n\nprint(add(1, 2))\n"
TAB = {
    "model": "hotline",
    "prompt": f"<fim_prefix>{BEFORE}<fim_suffix>{AFTER}<fim_middle>",
    "max_tokens": 16,
    "temperature": 0.01,
    "stop": ["<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<|endoftext|>", "\n\n"],
    "stream": True,
}


def tool_call(delta: dict) -> bytes:
    fields = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choice = {"index": 0, "delta": {"tool_calls": [delta]}, "finish_reason": None}
    return b"data: " + json.dumps(fields | {"choices": [choice]}).encode() + b"\n\n"


def events_of(text: str) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_an_agents_tool_call_comes_through_piece_by_piece_and_its_result_goes_back(start):
    parts = [*map(tool_call, CALL), piece(finish="tool_calls"), piece(usage={"total_tokens": 9}), b"data: [DONE]\n\n"]
    async with raw(says(STREAM_HEAD + b"".join(map(chunked, parts)) + b"0\r\n\r\n")) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        async with httpx.AsyncClient(base_url=f"{running.url}/v1", headers=HEADERS) as editor:
            (model,) = (await editor.get("/models")).json()["data"]
            events = events_of((await editor.post("/chat/completions", json=ASKED | {"model": model["id"]})).text)
            deltas = [choice["delta"] for event in events for choice in event["choices"]]
            assert [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta] == CALL
            assert events[-1]["usage"]["total_tokens"] == 9 and events[-1]["choices"] == []
            call = {"id": "call_1", "type": "function", "function": {"name": "read_file", "arguments": "{}"}}
            told = [
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "print(1)"},
            ]
            again = ASKED | {"messages": [*ASKED["messages"], *told]}
            assert (await editor.post("/chat/completions", json=again)).status_code == 200
        first, second = engine.bodies()
    assert first == ASKED and second == again  # the engine sees what the editor wrote
    assert "x-api-key" not in engine.requests[0].decode().lower()


async def test_tab_completion_goes_to_the_engine_as_it_came(start):
    asked = TAB | {"suffix": AFTER}
    async with raw(
        says(STREAM_HEAD + b"".join(map(chunked, [piece("x"), b"data: [DONE]\n\n"])) + b"0\r\n\r\n")
    ) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        async with httpx.AsyncClient(base_url=f"{running.url}/v1", headers=HEADERS) as editor:
            assert (await editor.post("/completions", json=asked)).status_code == 200
        (body,) = engine.bodies()
    assert body.pop("stream_options") == {"include_usage": True}  # ours, for the count; not shown to the client
    assert body == asked


async def test_a_real_engine_completes_at_the_cursor(start, engine):
    running = await start(deployment(Target("t1", version="1", address=engine)))
    async with httpx.AsyncClient(base_url=f"{running.url}/v1", headers=HEADERS, timeout=60) as editor:
        events = events_of((await editor.post("/completions", json=TAB | {"suffix": AFTER})).text)
    assert {event["object"] for event in events} == {"text_completion"}
    assert events[-1]["choices"][0]["finish_reason"] in ("stop", "length")


async def test_typing_on_aborts_what_the_engine_was_doing(start):
    async with raw(says(STREAM_HEAD + chunked(piece("re")))) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        async with httpx.AsyncClient(base_url=f"{running.url}/v1", headers=HEADERS) as editor:
            async with editor.stream("POST", "/completions", json=TAB) as reply:
                assert "re" in await anext(reply.aiter_text())
            async with asyncio.timeout(5):
                await engine.gone.wait()


@pytest.mark.parametrize("path", ["/fim/completions", "/rerank"])
async def test_a_path_that_only_some_providers_have_is_refused_in_words(start, path):
    running = await start()
    async with httpx.AsyncClient(base_url=f"{running.url}/v1", headers=HEADERS) as editor:
        reply = await editor.post(path, json=TAB)
    assert reply.status_code == 404 and "/v1/completions" in reply.json()["error"]["message"]
