"""Bodies that are small to send and large to serve: refused before an engine pays for them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from services.inference_gateway.proxy import asking, bounds, responses
from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment
from services.inference_gateway.proxy.tests.test_completions import HELLO, ask
from services.inference_gateway.proxy.tests.upstreams import raw

WIDE = {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(bounds.MAX_PROPERTIES + 1)}}
MANY = {"anyOf": [{"type": "string"}] * (bounds.MAX_SCHEMA_NODES + 1)}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


def refusal(**fields: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        asking.parse_chat(json.dumps({"model": "hotline", "messages": HELLO} | fields).encode())
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("bomb", [WIDE, MANY, {"$defs": {"a": {"items": [WIDE]}}}])
def test_a_schema_bomb_is_refused_wherever_it_stands(bomb):
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": bomb}}
    tools = [{"type": "function", "function": {"name": "a", "parameters": bomb}}]
    for name, value in {"response_format": form, "tools": tools, "json_schema": bomb, "functions": [bomb]}.items():
        error = refusal(**{name: value})
        assert (error.code, error.param) == ("schema_too_large", name)
    body = {"model": "hotline", "input": "x", "text": {"format": {"type": "json_schema", "name": "a", "schema": bomb}}}
    with pytest.raises(ApiError, match="too large"):
        responses.parse(json.dumps(body).encode())


def test_a_schema_of_ordinary_size_passes():
    schema = {"type": "object", "properties": {f"p{at}": nested(5) for at in range(200)}}
    asking.parse_chat(json.dumps({"model": "m", "messages": HELLO, "response_format": {"schema": schema}}).encode())


@pytest.mark.parametrize(("depth", "passes"), [(49, True), (50, False), (200, False)])
def test_nesting_has_a_bound_wherever_it_stands(depth, passes):
    body = json.dumps({"model": "hotline", "messages": HELLO, "metadata": nested(depth)}).encode()
    if passes:
        asking.parse_chat(body)
    else:
        with pytest.raises(ApiError, match="deeper than 100 levels"):
            asking.parse_chat(body)


def test_a_long_conversation_is_not_deep():
    body = json.dumps({"model": "hotline", "messages": HELLO * 1000}).encode()
    assert len(asking.parse_chat(body).messages() or []) == 1000


@pytest.mark.parametrize("count", [0, -1, 129, 10**100, 1.5, "2", True])
@pytest.mark.parametrize("name", ["n", "best_of"])
def test_the_number_of_choices_has_a_bound(name, count):
    assert refusal(**{name: count}).param == name


async def test_what_passes_is_still_kept(start):
    """The record nests a body two levels deeper."""
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running, extra_body={"metadata": nested(49), "text": "\x00"})
        (record,) = await running.records()
        assert record.parameters["metadata"] == nested(49)
        with pytest.raises(openai.BadRequestError):
            await ask(running, extra_body={"metadata": nested(400)})
