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
LONG_ENUM = {"enum": [f"value {at}" for at in range(bounds.MAX_LISTED + 1)]}
MANY_ENUMS = {"anyOf": [{"enum": list(range(bounds.MAX_LISTED))}] * 2}
AMBIGUOUS = {"type": "string", "pattern": "^" + "(a|b)*" * 100 + "$"}
SPREAD = {"properties": {f"p{at}": {"pattern": "(a|b)*"} for at in range(70)}}
NESTED = {"pattern": "^([a-z]{0,50}[a-z]{0,50}){0,50}$"}
PATTERNS = (
    "^[A-Z]{2}-[0-9]{4}(-x)?(a|b|c|d|e|f|g|h|i)$", "^([0-9]{1,3}\\.){3}[0-9]{1,3}$", "^([0-9a-f]{2}:){15}[0-9a-f]{2}$",
    "^[a-z0-9]+(-[a-z0-9]+)*$", "^[^@ ]+@[^@ ]+\\.[a-z]{2,63}$", "^(a|b){0,1000}$", "^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$",
)  # fmt: skip
LONG_PATTERN = {"pattern": "a" * (bounds.MAX_PATTERN + 1)}


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


@pytest.mark.parametrize(
    "bomb",
    [WIDE, MANY, {"$defs": {"a": {"items": [WIDE]}}}, LONG_ENUM, MANY_ENUMS, AMBIGUOUS, SPREAD, NESTED, LONG_PATTERN],
    ids=["wide", "many", "below", "long enum", "many enums", "ambiguous", "spread", "nested", "long pattern"],
)
def test_a_schema_bomb_is_refused_wherever_it_stands(bomb):
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": bomb}}
    tools = [{"type": "function", "function": {"name": "a", "parameters": bomb}}]
    for name, value in {"response_format": form, "tools": tools, "json_schema": bomb, "functions": [bomb]}.items():
        error = refusal(**{name: value})
        assert (error.code, error.param) == ("schema_too_large", name)
    body = {"model": "hotline", "input": "x", "text": {"format": {"type": "json_schema", "name": "a", "schema": bomb}}}
    with pytest.raises(ApiError, match=r"too (large|much)"):
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


@pytest.mark.parametrize(
    ("field", "value"),
    [("top_logprobs", 10**9), ("n_probs", 10**9), ("n_probs", -1), ("logprobs", 10**9), ("repeat_last_n", 2**31 - 1),
     ("dry_penalty_last_n", 2**31 - 1), ("stop", ["x"] * 129), ("logit_bias", {str(at): 1 for at in range(2000)}),
     ("logit_bias", [[at, 1] for at in range(2000)]), ("samplers", ["x"] * 100), ("dry_sequence_breakers", ["x"] * 100),
     ("grammar", 'root ::= "a"')],
)  # fmt: skip
def test_what_can_keep_an_engine_busy_for_ever_is_refused(field, value):
    assert refusal(**{field: value}).param == field


@pytest.mark.parametrize(
    "fields",
    [{"logprobs": True, "top_logprobs": 20}, {"logprobs": False}, {"stop": "x"}, {"stop": ["a", "b"]}, {"repeat_last_n": -1},
     {"logit_bias": {"5": -100}}, {"response_format": "text"}, {"tools": None}, {"grammar": None},
     *({"json_schema": {"pattern": pattern}} for pattern in PATTERNS), {"json_schema": {"properties": {"pattern": {"type": "string"}}}}],
)  # fmt: skip
def test_what_people_ask_for_passes(fields):
    asking.parse_chat(json.dumps({"model": "m", "messages": HELLO} | fields).encode())


async def test_bombs_leave_a_real_engine_alone(start, engine):
    """Sent past the gateway, each of them keeps llama.cpp from answering anybody, or ends it."""
    running = await start(deployment(Target("t1", address=engine)))
    for bomb in (LONG_ENUM, AMBIGUOUS):
        with pytest.raises(openai.BadRequestError):
            await ask(running, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": bomb}})
    for fields in ({"grammar": "root ::= " + "(" * 100_000 + '"a"' + ")" * 100_000}, {"repeat_last_n": 2**31 - 1}):
        with pytest.raises(openai.BadRequestError):
            await ask(running, extra_body=fields)
    for bomb in ({"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}):  # these it bears
        with pytest.raises(openai.BadRequestError):
            await ask(running, response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": bomb}})
    assert (await ask(running, max_tokens=2)).choices


async def test_an_image_for_a_model_that_only_reads_is_refused_and_not_held_against_its_engine(start, engine):
    running = await start(deployment(Target("t1", address=engine)))
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    with pytest.raises(openai.BadRequestError, match="cannot do this") as caught:
        await ask(running, messages=[{"role": "user", "content": [image]}])
    assert caught.value.code == "not_supported_by_model"
    assert running.gateway.router.outcomes.as_json().get("t1", [0])[0] == 0


async def test_what_passes_is_still_kept(start):
    """The record nests a body two levels deeper."""
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        await ask(running, extra_body={"metadata": nested(49), "text": "\x00"})
        (record,) = await running.records()
        assert record.parameters["metadata"] == nested(49)
        with pytest.raises(openai.BadRequestError):
            await ask(running, extra_body={"metadata": nested(400)})
