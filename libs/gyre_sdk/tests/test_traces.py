"""An agent's run from its own spans and the gateway's completions to the command line: nothing in between is a fake but
the engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from gyre.inference_gateway.v1.trace_pb2 import Step, Trace
from gyre_kit import migrate
from gyre_kit.testing import Platform, eventually
from gyre_sdk import Gyre
from gyre_sdk.cli.base import Exit
from gyre_sdk.cli.root import run
from gyre_sdk.cli.traces import tree
from gyre_sdk.resources.serving import target
from gyre_sdk.tests.conftest import rest_url

from services.api_gateway import main as gateway_main
from services.api_gateway.settings import Settings as GatewaySettings
from services.inference_gateway import main as inference_main
from services.inference_gateway.publishing import workers_know
from services.inference_gateway.settings import Settings as InferenceSettings

SERVED = ((gateway_main, GatewaySettings), (inference_main, InferenceSettings))
TRACE = "5b8efff798038103d269b633813fc60c"
AGENT, TOOL = "00000000000000a1", "00000000000000b2"
CALL = {"id": "call_1", "type": "function", "function": {"name": "find_order", "arguments": '{"id": 7}'}}


async def engine_answers(request: web.Request) -> web.Response:
    """Asks for a tool first, and answers once it has the result."""
    messages = (await request.json())["messages"]
    done = messages[-1]["role"] == "tool"
    message = {"content": "Order 7 was sent."} if done else {"content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop" if done else "tool_calls"}
    usage = {
        "prompt_tokens": 40, "completion_tokens": 8, "total_tokens": 48, "prompt_tokens_details": {"cached_tokens": 16},
    }  # fmt: skip
    return web.json_response(
        {"id": "x", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    )


async def engine_models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})


@dataclass(frozen=True)
class Whole:
    gyre: Gyre
    openai: str
    key: str

    async def post(self, path: str, body: Any, **headers: str) -> Any:
        given = {"authorization": f"Bearer {self.key}", "openai-project": "default"} | headers
        async with aiohttp.ClientSession() as http, http.post(self.openai + path, json=body, headers=given) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json(content_type=None)

    async def chat(self, messages: list[Any], **headers: str) -> Any:
        return await self.post("/v1/chat/completions", {"model": "helper", "messages": messages}, **headers)

    async def trace(self, name: str, steps: int) -> Trace:
        """Once it has so many steps."""

        async def there() -> Trace | None:
            found = (await asyncio.to_thread(self.gyre.traces.page, session="mrs-smith")).items
            whole = await asyncio.to_thread(self.gyre.traces.get, name) if found else None
            return whole if whole and len(whole.steps) == steps else None

        return await eventually(there)


@pytest.fixture(scope="module")
async def whole(platform: Platform) -> AsyncIterator[Whole]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", engine_answers)
    app.router.add_get("/v1/models", engine_models)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    engine = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"  # type: ignore[union-attr]
    for main, _ in SERVED:
        await migrate.upgrade(platform.settings().database_url_of(main.app.component), main.app.component)
        await platform.empty(main.app.component)
    (platform.home / "admin.key").unlink(missing_ok=True)
    apps = [replace(main.app, settings=platform.settings(settings)) for main, settings in SERVED]
    async with platform.serving(*apps) as contexts:
        key = (platform.home / "admin.key").read_text()
        with Gyre(url=rest_url(platform), key=key) as gyre:
            prices = {"input_price_microusd": 2_000_000, "output_price_microusd": 8_000_000}
            wanted = [target(upstream_url=engine, upstream_model="m", **prices)]
            made = await asyncio.to_thread(gyre.deployments.create, "helper", wanted)
            await asyncio.to_thread(gyre.deployments.wait_ready, made.name)
            await workers_know(contexts[1])
            port = contexts[1].settings.openai_port
            yield Whole(gyre, f"http://127.0.0.1:{port}", key)
    for main, _ in SERVED:
        await platform.empty(main.app.component)
    (platform.home / "admin.key").unlink(missing_ok=True)
    await runner.cleanup()


def spans() -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp() * 1e9)

    def span(span_id: str, parent: str, name: str, **attributes: str) -> dict[str, Any]:
        pairs = [{"key": key, "value": {"stringValue": value}} for key, value in attributes.items()]
        return {
            "traceId": TRACE, "spanId": span_id, "parentSpanId": parent, "name": name, "attributes": pairs,
            "startTimeUnixNano": str(now - 10**9), "endTimeUnixNano": str(now),
        }  # fmt: skip

    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": "mrs-smith"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.call.result": "sent to bob@example.com"}
    both = [span(AGENT, "", "invoke_agent helper", **agent), span(TOOL, AGENT, "execute_tool find_order", **tool)]
    return {"resourceSpans": [{"scopeSpans": [{"spans": both}]}]}


async def agents_run(whole: Whole) -> list[str]:
    """Ids of its two completions."""
    asked = [{"role": "user", "content": "Where is my order 7? I am bob@example.com"}]
    headers = {"traceparent": f"00-{TRACE}-{AGENT}-01", "x-session-id": "mrs-smith"}
    first = await whole.chat(asked, **headers)
    asked += [first["choices"][0]["message"], {"role": "tool", "tool_call_id": "call_1", "content": "sent"}]
    second = await whole.chat(asked, **headers)
    assert await whole.post("/v1/traces", spans()) == {}
    return [first["id"], second["id"]]


async def test_an_agents_run_is_one_trace_with_its_tools_tokens_and_cost(
    whole: Whole, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = await agents_run(whole)
    trace = await whole.trace(TRACE, steps=4)
    assert (trace.completion_count, trace.span_count, trace.error_count) == (2, 2, 0)
    assert (trace.total_tokens, round(trace.cost_microusd)) == (96, 288)
    depths = {step.title: depth for depth, step in tree(trace)}
    assert depths == {"invoke_agent helper": 0, "helper": 1, "execute_tool find_order": 1}
    first, second = (step.completion for step in trace.steps if step.kind == Step.KIND_COMPLETION)
    assert [each.name.rsplit("/", 1)[-1] for each in (first, second)] == ids
    assert (first.tool_calls[0].name, first.cached_tokens) == ("find_order", 16)
    assert second.messages[1].tool_calls[0].arguments == '{"id": 7}' and second.messages[2].tool_call_id == "call_1"
    # the project keeps no personal data: neither a name, nor an address
    assert "bob@" not in str(trace) and "mrs-smith" not in str(trace) and "[email]" in first.messages[0].content

    monkeypatch.setenv("GYRE_URL", whole.gyre.config.url)
    monkeypatch.setenv("GYRE_API_KEY", whole.key)
    assert await gyre("traces", "list", "-q", "order 7 was", "--session", "mrs-smith") == Exit.OK
    listed = capsys.readouterr().out
    assert TRACE in listed and "I am [email]" in listed and "helper" in listed
    assert await gyre("traces", "show", ids[1]) == Exit.OK
    shown = capsys.readouterr().out
    assert "assistant calls  find_order" in shown and "Order 7 was sent." in shown
    assert await gyre("traces", "show", "0" * 32) == Exit.NOT_FOUND
    assert await gyre("traces", "delete") == Exit.USAGE
    assert await gyre("traces", "delete", "--session", "mrs-smith", "-y", "--json") == Exit.OK
    assert json.loads(capsys.readouterr().out)["completion_count"] == 2
    assert await gyre("traces", "show", TRACE) == Exit.NOT_FOUND
    audited = await asyncio.to_thread(lambda: list(whole.gyre.keys.audit()))
    forgotten = next(entry for entry in audited if entry.action == "inference_gateway.DeleteSession")
    assert "/sessions/s-" in forgotten.resource and "mrs-smith" not in str(audited)


async def gyre(*arguments: str) -> int:
    return await asyncio.to_thread(run, list(arguments))
