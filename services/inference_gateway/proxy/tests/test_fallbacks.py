"""Where a deployment cannot answer, others do, and say so."""

from __future__ import annotations

from dataclasses import replace

import openai
import pytest

from services.inference_gateway.proxy.snapshot import Deployment, Target
from services.inference_gateway.proxy.tests.conftest import Start
from services.inference_gateway.proxy.tests.support import Running, deployment, eventually
from services.inference_gateway.proxy.tests.upstreams import (
    STREAM_HEAD,
    answers,
    chunked,
    piece,
    raw,
    says,
    silence,
    whole,
)

MESSAGES = [{"role": "user", "content": "Hello?"}]
DOWN = Target("down", address="127.0.0.1:1")


def falling(*fallbacks: str, target: Target | None = DOWN, seconds: float = 0.0) -> Deployment:
    made = deployment(target) if target else deployment()
    return replace(made, fallbacks=fallbacks, fallback_seconds=seconds)


def second(address: str, name: str = "spare") -> Deployment:
    return deployment(Target(name, address=address, version="7", input_price=10**6), name=name)


async def ask(gateway: Running, **more: object) -> tuple[str, str]:
    """The answer, and which fallback gave it."""
    reply = await gateway.client().chat.completions.with_raw_response.create(model="hotline", messages=MESSAGES, **more)
    return str(reply.parse().choices[0].message.content), reply.headers.get("x-gyre-fallback", "")


@pytest.mark.parametrize("target", [DOWN, None])
async def test_a_deployment_that_is_down_or_empty_hands_on_and_the_answer_says_so(
    start: Start, target: Target | None
) -> None:
    async with raw(answers("from the spare")) as engine:
        gateway = await start(falling("spare", target=target), second(engine.address))
        assert await ask(gateway) == ("from the spare", "spare")
        (record,) = await gateway.records()
        assert (record.deployment, record.target) == ("projects/demo/deployments/spare", "spare")
        labels = {"project": "demo", "asked": "hotline", "answered": "spare"}
        assert gateway.metric("gyre_gateway_fallbacks_total", **labels) == 1


async def test_the_bill_is_by_the_prices_of_the_one_that_answered(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await start(falling("spare"), second(engine.address))
        await ask(gateway)
        gateway.gateway.limiter.note()
        ledger = gateway.gateway.limiter.ledger
        position = ledger.look_up("projects/demo")
        assert position is not None
        assert ledger.read(position).spent_picousd == 3 * 10**6


async def test_the_first_that_can_answers_and_names_that_are_gone_are_passed_over(start: Start) -> None:
    async with raw(answers("third")) as engine:
        dead = deployment(replace(DOWN, id="dead"), name="dead")
        gateway = await start(falling("gone", "dead", "third"), dead, second(engine.address, "third"))
        assert await ask(gateway) == ("third", "third")


async def test_two_that_name_each_other_fail_once_and_not_for_ever(start: Start) -> None:
    other = replace(deployment(replace(DOWN, id="other"), name="spare"), fallbacks=("hotline",))
    gateway = await start(falling("spare"), other)
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(gateway)
    assert "x-gyre-fallback" not in caught.value.response.headers


@pytest.mark.parametrize(("status", "handed_on"), [(429, True), (503, True), (400, False)])
async def test_a_full_engine_hands_on_and_a_request_that_is_wrong_does_not(
    start: Start, status: int, handed_on: bool
) -> None:
    refusal = whole(status, {"error": {"message": "no", "code": "no"}})
    async with raw(says(refusal)) as first, raw(answers("spare")) as engine:
        gateway = await start(falling("spare", target=Target("a", address=first.address)), second(engine.address))
        if handed_on:
            assert await ask(gateway) == ("spare", "spare")
        else:
            with pytest.raises(openai.BadRequestError):
                await ask(gateway)
            assert not engine.requests


async def test_an_engine_without_a_first_byte_in_time_is_given_up(start: Start) -> None:
    async with raw(silence) as slow, raw(answers("spare")) as engine:
        target = Target("slow", address=slow.address)
        gateway = await start(falling("spare", target=target, seconds=0.05), second(engine.address))
        assert await ask(gateway) == ("spare", "spare")
        await eventually(slow.gone.is_set)
        assert gateway.gateway.router.outcomes.as_json()["slow"][0] == 1


async def test_a_stream_that_began_in_time_may_take_its_time(start: Start) -> None:
    parts = (STREAM_HEAD, chunked(piece("slow but mine")))
    async with raw(says(*parts)) as slow, raw(answers("spare")) as engine:
        target = Target("slow", address=slow.address)
        gateway = await start(falling("spare", target=target, seconds=0.1), second(engine.address), idle_seconds=0.4)
        pieces = await gateway.client().chat.completions.create(model="hotline", messages=MESSAGES, stream=True)
        texts = []
        with pytest.raises(openai.APIError):
            async for each in pieces:
                texts.append(each.choices[0].delta.content)
        assert texts == ["slow but mine"]
        assert not engine.requests


async def test_who_asks_for_a_version_gets_that_or_nothing(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await start(falling("spare", target=replace(DOWN, version="3")), second(engine.address))
        with pytest.raises(openai.APIStatusError):
            await ask(gateway, extra_headers={"x-gyre-version": "3"})
        assert not engine.requests


async def test_regions_that_are_not_allowed_any_more_say_so(start: Start) -> None:
    gateway = await start(replace(deployment(), refused_regions=("us",)))
    with pytest.raises(openai.PermissionDeniedError, match="rented engine in us"):
        await ask(gateway)


async def test_prompts_for_a_rented_engine_are_counted_by_project_host_and_region(start: Start) -> None:
    async with raw(answers()) as engine:
        rented = Target("rented", address=engine.address, sent_to="api.example.com", region="eu")
        gateway = await start(deployment(rented))
        await ask(gateway)
        await ask(gateway)
        assert gateway.gateway.sent_out.as_json() == [["demo", "api.example.com", "eu", 2]]
        labels = {"project": "demo", "upstream": "api.example.com", "region": "eu"}
        assert gateway.metric("gyre_gateway_prompts_sent_out_total", **labels) == 2


async def test_a_prompt_that_found_no_connection_has_not_left(start: Start) -> None:
    gateway = await start(deployment(replace(DOWN, sent_to="api.example.com", region="eu")))
    with pytest.raises(openai.APIStatusError):
        await ask(gateway)
    assert gateway.gateway.sent_out.as_json() == []
