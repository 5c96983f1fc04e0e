"""Budgets and limits as a client meets them, across workers that are processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from hashlib import sha256
from pathlib import Path

import aiohttp
import openai
import pytest

from services.inference_gateway.proxy.allowance import Account, Limits, Period
from services.inference_gateway.proxy.asking import parse_chat
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.proxy.limits import estimate
from services.inference_gateway.proxy.parts import LINE_HEADER
from services.inference_gateway.proxy.policy import Guardrails, Hook, Policy
from services.inference_gateway.proxy.snapshot import Key, Project, Target, make_snapshot, write_snapshot
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import Running, deployment, eventually
from services.inference_gateway.proxy.tests.test_completions import HELLO
from services.inference_gateway.proxy.tests.test_guardrails import use
from services.inference_gateway.proxy.tests.test_processes import Home, at_home
from services.inference_gateway.proxy.tests.upstreams import STREAM_HEAD, chunked, piece, raw

SECRET = "gyre-with-a-budget"
LIMITED = "projects/demo/keys/2"  # "gyre-limited"
KEY = Key(name="projects/demo/keys/b", project="demo")
PRICE = 1_000_000  # microdollars a million tokens: two tokens of an answer cost two microdollars
ONE_PIECE = upstreams.says(
    STREAM_HEAD, chunked(piece("hello", finish="stop")), chunked(b"data: [DONE]\n\n"), b"0\r\n\r\n"
)
BODY = json.dumps({"model": "hotline", "messages": HELLO, "max_tokens": 2}).encode()


async def route(home: Home, engine: str, limits: Limits, of_project: Limits = Limits(), **key: float) -> None:  # noqa: B008
    held = Key(name=KEY.name, project=KEY.project, limits=limits, **key)
    target = Target("t1", address=engine, output_price=PRICE)
    keys = {sha256(SECRET.encode()).hexdigest(): held}
    write_snapshot(
        home.paths.snapshot, make_snapshot(1, keys, {"demo": Project(limits=of_project)}, [deployment(target)])
    )
    await home.pool.until_revision(1)


async def ask_at_once(home: Home, count: int) -> Counter[tuple[int, str]]:
    """Status and error code of `count` requests, each on a connection of its own."""
    headers = {"authorization": f"Bearer {SECRET}"}
    url = f"http://127.0.0.1:{home.port}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=count, force_close=True)

    async def one(http: aiohttp.ClientSession) -> tuple[int, str]:
        async with http.post(url, data=BODY) as reply:
            body = await reply.json()
            return reply.status, body.get("error", {}).get("code", "")

    async with aiohttp.ClientSession(connector=connector, headers=headers) as http:
        return Counter(await asyncio.gather(*(one(http) for _ in range(count))))


async def test_a_thousand_requests_at_once_on_the_last_cents_pass_as_often_as_the_budget_allows():
    async with at_home(workers=2) as home, raw(upstreams.answers()) as engine:
        await route(home, engine.address, Limits(budget_microusd=101, budget_period=Period.TOTAL))
        outcomes = await ask_at_once(home, 1000)
        account = await settled(home)
    assert outcomes == {(200, ""): 50, (429, "insufficient_quota"): 950}
    assert len(engine.requests) == 50, "who may not pay does not reach the engine"
    assert (account.spent_picousd, account.requests) == (100 * PRICE, 50)


@pytest.mark.parametrize(
    "limits", [(Limits(requests_per_minute=40), Limits()), (Limits(), Limits(requests_per_minute=40))]
)
async def test_a_limit_of_requests_is_exact_across_workers(limits):
    async with at_home(workers=2) as home, raw(upstreams.answers()) as engine:
        await route(home, engine.address, *limits)
        outcomes = await ask_at_once(home, 200)
    assert outcomes == {(200, ""): 40, (429, "rate_limit_exceeded"): 160}


async def test_what_runs_at_once_is_exact_across_workers_and_a_killed_worker_holds_nothing():
    async with at_home(workers=2) as home, raw(upstreams.silence) as engine:
        await route(home, engine.address, Limits(concurrent_requests=30))
        asking = asyncio.create_task(ask_at_once(home, 100))
        await eventually(lambda: len(engine.requests) >= 30)
        assert running(home) == 30
        for pid in home.pool.pids:
            os.kill(pid, signal.SIGKILL)
        await eventually(lambda: running(home) == 0)
        with pytest.raises(aiohttp.ClientError):
            await asking
    assert len(engine.requests) == 30


async def test_a_stream_that_its_client_left_is_billed_by_what_was_passed_on():
    async def behave(upstream, reader, writer, request):
        for word in ("one", " two", " three"):
            writer.write(chunked(piece(word)) if word != "one" else STREAM_HEAD + chunked(piece(word)))
        await upstreams.silence(upstream, reader, writer, request)

    async with at_home() as home, raw(behave) as engine:
        await route(home, engine.address, Limits(budget_microusd=10_000))
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{home.port}/v1", api_key=SECRET) as client:
            stream = await client.chat.completions.create(model="hotline", messages=HELLO, stream=True)
            pieces = aiter(stream)
            for _ in range(3):
                await anext(pieces)
            await stream.close()
        account = await settled(home)
    assert account.spent_picousd == 3 * PRICE
    assert account.reserved_picousd == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_went_out_is_billed_though_its_worker_dies_before_it_settles(start, tmp_path, stream):
    async with raw(ONE_PIECE if stream else upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)))
        running.gateway.limiter.settle = lambda hold, used: None  # it did not live to do it
        assert await said(running, stream) == "hello"
        account = after_the_death_of(running, tmp_path)
    assert (account.requests, account.running, account.reserved_tokens) == (1, 0, 0)
    assert account.spent_tokens > 9, "all that was reserved, for nobody knows what it was"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_a_hook_still_looks_at_is_not_billed_when_the_worker_dies(start, tmp_path, stream):
    found: list[Account] = []

    async def looks(upstream, reader, writer, request):
        running.gateway.limiter.settle = lambda hold, used: None
        found.append(after_the_death_of(running, tmp_path))
        writer.write(upstreams.whole(200, {"allow": True}))

    async with raw(ONE_PIECE if stream else upstreams.answers()) as engine, raw(looks) as judge:
        running = await start(deployment(Target("t1", address=engine.address)))
        hook = Hook(f"http://{judge.address}", seconds=5, before=False, after=True)
        use(running, Policy(guardrails=Guardrails(hook=hook)))
        assert await said(running, stream) == "hello"
    assert [(each.requests, each.running, each.spent_tokens) for each in found] == [(0, 0, 0)]


async def test_a_line_of_a_batch_is_not_billed_before_its_answer_is_kept(start, tmp_path):
    found: list[Account] = []

    class DiesFirst:
        def append(self, batch: str, record: bytes) -> None:
            running.gateway.limiter.settle = lambda hold, used: None
            found.append(after_the_death_of(running, tmp_path))

    of_batch = Key(LIMITED, "demo", limits=Limits(requests_per_minute=2), batch="b1")
    async with raw(upstreams.answers()) as engine:
        to_engine = deployment(Target("t1", address=engine.address))
        running = await start(to_engine)
        keys = {sha256(SECRET.encode()).hexdigest(): of_batch}
        running.gateway.use(make_snapshot(2, keys, {"demo": Project()}, [to_engine]))
        running.gateway._parts = DiesFirst()
        client = running.client(SECRET, default_headers={LINE_HEADER: "1"})
        assert (await client.chat.completions.create(model="hotline", messages=HELLO, max_tokens=9)).choices
    assert [(each.requests, each.running, each.spent_tokens) for each in found] == [(0, 0, 0)]


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [({}, 1024), ({"max_tokens": 5}, 5), ({"max_completion_tokens": 1, "max_tokens": 9}, 9), ({"n_predict": 9}, 9),
     ({"max_tokens": 1, "n_predict": 9, "n": 3}, 27), ({"max_tokens": -1}, 1024)],
)  # fmt: skip
def test_what_is_reserved_is_the_longest_answer_that_any_engine_may_give(fields, tokens):
    ask = parse_chat(json.dumps({"model": "hotline", "messages": HELLO} | fields).encode())
    assert estimate(ask, deployment(Target("t1")), 1024)[1] == tokens


async def test_what_failed_costs_nothing():
    async with at_home() as home, raw(upstreams.says(upstreams.whole(500, {"error": "broken"}))) as engine:
        await route(home, engine.address, Limits(budget_microusd=10_000))
        assert await ask_at_once(home, 3) == {(502, "upstream_error"): 3}
        account = await settled(home)
    assert (account.spent_tokens, account.spent_picousd, account.requests) == (0, 0, 0)


async def test_what_a_key_without_limits_used_is_known_all_the_same():
    async with at_home() as home, raw(upstreams.answers()) as engine:
        await route(home, engine.address, Limits())
        assert await ask_at_once(home, 5) == {(200, ""): 5}
        await eventually(lambda: account_of(home).requests == 5)
        account = account_of(home)
    assert (account.requests, account.spent_tokens, account.spent_picousd) == (5, 25, 10 * PRICE)


async def test_an_expired_key_is_told_so():
    async with at_home() as home, raw(upstreams.answers()) as engine:
        await route(home, engine.address, Limits(), expires=1.0)
        assert await ask_at_once(home, 1) == {(401, "expired_api_key"): 1}


async def test_a_budget_that_is_used_up_says_when_the_next_one_begins():
    async with at_home() as home, raw(upstreams.answers()) as engine:
        await route(home, engine.address, Limits(budget_microusd=2, budget_period=Period.DAY, tokens_per_minute=10**6))
        asked = {"model": "hotline", "messages": HELLO, "max_tokens": 2}
        address = f"http://127.0.0.1:{home.port}/v1"
        async with openai.AsyncOpenAI(base_url=address, api_key=SECRET, max_retries=2) as client:
            first = await client.chat.completions.with_raw_response.create(**asked)
            assert first.headers["x-ratelimit-limit-tokens"] == "1000000"
            with pytest.raises(openai.RateLimitError, match=r"daily budget of \$0\.000002,") as caught:
                await client.chat.completions.create(**asked)
    assert caught.value.code == "insufficient_quota"
    assert 0 < int(caught.value.response.headers["retry-after"]) <= 86_400
    assert len(engine.requests) == 1, "the client was told not to try again"


def account_of(home: Home) -> Account:
    ledger = Ledger(home.paths.ledger)
    try:
        return ledger.read(ledger.account(KEY.name))
    finally:
        ledger.close()


async def said(running: Running, stream: bool) -> str:
    """By a key whose requests are reserved."""
    asking = running.client("gyre-limited").chat.completions
    answer = await asking.create(model="hotline", messages=HELLO, max_tokens=9, stream=stream)
    if not stream:
        return str(answer.choices[0].message.content)
    return "".join([each.choices[0].delta.content or "" async for each in answer])


def after_the_death_of(running: Running, folder: Path) -> Account:
    """What the key of `said` is billed once others have settled what this worker still held."""
    running.gateway.limiter._seat.leave()  # as the kernel does for the dead
    ledger = Ledger(folder / "ledger")
    try:
        ledger.settle_left_seats()
        return ledger.read(ledger.account(LIMITED))
    finally:
        ledger.close()


def running(home: Home) -> int:
    return account_of(home).running


async def settled(home: Home) -> Account:
    await eventually(lambda: running(home) == 0)
    return account_of(home)
