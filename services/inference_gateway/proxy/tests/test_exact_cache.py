"""The same request gets the same answer without an engine: never another project's, another version's or an old one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.inference_gateway.proxy import asking
from services.inference_gateway.proxy.exact_cache import ExactCache, key_of, may_be_kept
from services.inference_gateway.proxy.policy import Caching, Guardrails, Policy
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.tests.conftest import Start
from services.inference_gateway.proxy.tests.support import Running, deployment
from services.inference_gateway.proxy.tests.test_guardrails import streams, use
from services.inference_gateway.proxy.tests.upstreams import Raw, answers, raw, whole

MESSAGES: Any = [{"role": "user", "content": "Hello?"}]
PRICE = 10**6


async def caching(start: Start, engine: Raw, policy: Caching | None = None, **settings: Any) -> Running:
    target = Target("t1", address=engine.address, version="1", input_price=PRICE, output_price=PRICE)
    gateway: Running = await start(deployment(target), **settings)
    use(gateway, Policy(caching=policy or Caching(always=True)))
    return gateway


async def ask(gateway: Running, cache: str = "", key: str = "gyre-test-key", **more: Any) -> tuple[str, str, Any]:
    """Answer, what the header says, usage."""
    client, headers = gateway.client(key), {"x-gyre-cache": cache} if cache else {}
    asked = {"model": "hotline", "messages": MESSAGES, "temperature": 0} | more
    said = await client.chat.completions.with_raw_response.create(extra_headers=headers, **asked)
    completion = said.parse()
    return str(completion.choices[0].message.content), said.headers.get("x-gyre-cache", ""), completion.usage


async def streamed(gateway: Running, **more: Any) -> tuple[str, str, Any]:
    client = gateway.client()
    said = await client.chat.completions.with_raw_response.create(
        model="hotline", messages=MESSAGES, temperature=0, stream=True, stream_options={"include_usage": True}, **more
    )
    pieces = [each async for each in said.parse()]
    text = "".join(each.choices[0].delta.content or "" for each in pieces if each.choices)
    return text, said.headers.get("x-gyre-cache", ""), pieces[-1].usage


def spent(gateway: Running) -> int:
    gateway.gateway.limiter.note()
    ledger = gateway.gateway.limiter.ledger
    position = ledger.look_up("projects/demo")
    return ledger.read(position).spent_picousd if position is not None else 0


async def test_a_second_time_no_engine_is_asked_and_nobody_pays(start: Start) -> None:
    async with raw(answers("hello")) as engine:
        gateway = await caching(start, engine)
        assert (await ask(gateway))[:2] == ("hello", "miss")
        before = spent(gateway)
        text, header, usage = await ask(gateway, user="somebody else")
        assert (text, header) == ("hello", "hit")
        assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens == 3
        assert len(engine.requests) == 1
        assert spent(gateway) == before > 0
        first, second = await gateway.records(2)
        assert (first.cached, second.cached, second.cost_picousd, second.answer) == (False, True, 0, "hello")
        assert first.id != second.id
        assert gateway.metric("gyre_gateway_cache_lookups_total", project="demo", result="hit") == 1


async def test_one_entry_answers_whole_and_streamed_and_in_both_dialects(start: Start) -> None:
    async with raw(streams("Good ", "day")) as engine:
        gateway = await caching(start, engine)
        assert (await streamed(gateway))[:2] == ("Good day", "miss")
        assert (await ask(gateway))[:2] == ("Good day", "hit")
        text, header, usage = await streamed(gateway)
        assert (text, header, usage.prompt_tokens_details.cached_tokens) == ("Good day", "hit", 3)
        response = await gateway.client().responses.create(model="hotline", input="Hello?", temperature=0)
        assert (response.output_text, response.usage and response.usage.input_tokens_details.cached_tokens) == (
            "Good day",
            3,
        )
        assert len(engine.requests) == 1


async def test_another_version_another_project_and_another_question_are_not_answered_by_it(start: Start) -> None:
    async with raw(answers("old")) as engine, raw(answers("new")) as second:
        gateway = await caching(start, engine)
        await ask(gateway)
        assert (await ask(gateway, messages=[{"role": "user", "content": "Hello!"}]))[1] == "miss"
        known = gateway.gateway.snapshot
        assert known is not None
        shifted = deployment(Target("t2", address=second.address, version="2"))
        others = deployment(Target("t1", address=second.address), project="other")
        projects = {**known.projects, "other": known.projects["demo"]}
        deployments = {("demo", "hotline"): shifted, ("other", "hotline"): others}
        gateway.gateway.use(replace(known, projects=projects, deployments=deployments))
        assert (await ask(gateway))[:2] == ("new", "miss")
        assert (await ask(gateway, key="gyre-other"))[:2] == ("new", "miss")


async def test_a_request_says_whether_it_wants_it(start: Start) -> None:
    async with raw(answers()) as engine:
        gateway = await caching(start, engine, Caching(always=False))
        assert [(await ask(gateway, each))[1] for each in ("", "on", "on", "off", "refresh")] == [
            "",
            "miss",
            "hit",
            "",
            "miss",
        ]
        use(gateway, Policy(caching=Caching(always=True, deployments=("another",))))
        assert (await ask(gateway, "on"))[1] == ""
        use(gateway, Policy(caching=Caching(always=True, billed=True)))
        before = spent(gateway)
        assert (await ask(gateway))[1] == "hit"
        assert spent(gateway) == before + 5 * PRICE


async def test_personal_data_of_one_who_asks_is_never_told_to_another(start: Start) -> None:
    """The entry has the marks; each gets their own values back."""
    async with raw(answers("Written to [email_1].")) as engine:
        gateway = await caching(start, engine)
        use(gateway, Policy(guardrails=Guardrails(prompt_data="mark"), caching=Caching(always=True)))
        said = []
        for address in ("ada@example.com", "bob@example.org"):
            said.append((await ask(gateway, messages=[{"role": "user", "content": f"Write to {address}"}]))[:2])
        assert said == [("Written to ada@example.com.", "miss"), ("Written to bob@example.org.", "hit")]


@pytest.mark.parametrize(
    ("more", "is_kept"),
    [
        ({"temperature": 0}, True),
        ({"seed": 7, "temperature": 0.8}, True),
        ({"temperature": 0.2}, False),
        ({}, False),
        ({"temperature": 0, "n": 2}, False),
        ({"temperature": 0, "tools": [{"type": "function", "function": {"name": "f"}}]}, False),
        ({"temperature": 0, "logprobs": True}, False),
    ],
)
def test_only_what_the_engine_would_say_again_is_kept(more: dict[str, Any], is_kept: bool) -> None:
    fields = {"model": "hotline", "messages": MESSAGES} | more
    assert may_be_kept(asking.completion(asking.CHAT, b"", fields)) is is_kept


async def test_an_answer_that_was_refused_or_cut_short_by_a_filter_is_not_kept(start: Start) -> None:
    async with raw(whole_of(400, {"error": {"message": "no"}})) as engine:
        gateway = await caching(start, engine)
        for _ in range(2):
            with pytest.raises(Exception, match="no"):
                await ask(gateway)
        assert len(engine.requests) == 2


def whole_of(status: int, body: dict[str, Any]) -> Any:
    async def behave(_: Raw, __: Any, writer: Any, ___: bytes) -> None:
        writer.write(whole(status, body))
        await writer.drain()

    return behave


def test_the_oldest_goes_when_the_memory_is_full_and_every_entry_when_its_time_is_over() -> None:
    now = [0.0]
    cache = ExactCache(2000, lambda: now[0])
    for number in range(30):
        cache.put(b"%d" % number, b"x" * 100, 60)
        cache.get(b"0")
    assert (cache.bytes, len(cache)) == (2000, 20)
    assert (cache.get(b"0"), cache.get(b"1"), cache.get(b"29")) == (b"x" * 100, None, b"x" * 100)
    cache.put(b"large", b"x" * 200, 60)
    assert cache.get(b"large") is None
    now[0] = 61.0
    assert (cache.get(b"0"), cache.get(b"29"), cache.bytes) == (None, None, 1800)


def test_the_order_of_fields_is_no_part_of_a_request() -> None:
    target = Target("t")
    first = asking.completion(asking.CHAT, b"", {"model": "m", "temperature": 0, "messages": MESSAGES})
    second = asking.completion(
        asking.CHAT, b"", {"messages": MESSAGES, "temperature": 0, "model": "m@1", "stream": True}
    )
    assert key_of("p", target, "", first) == key_of("p", target, "", second)
    assert key_of("p", target, "", first) != key_of("q", target, "", first)
    assert key_of("p", target, "maria", first) not in (
        key_of("p", target, "", first),
        key_of("p", target, "otto", first),
    )
