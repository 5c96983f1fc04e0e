"""A key that was made a moment ago works; one that nobody made is asked about once."""

from __future__ import annotations

from hashlib import sha256

import openai
import pytest

from services.inference_gateway.proxy.newcomers import QUESTIONS_PER_MINUTE, Newcomers
from services.inference_gateway.proxy.snapshot import Key, Target, make_snapshot
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment, snapshot_of
from services.inference_gateway.proxy.tests.test_completions import HELLO
from services.inference_gateway.proxy.tests.upstreams import raw

FRESH = "gyre-made-just-now"


async def test_a_key_works_before_any_snapshot_has_it(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(served := deployment(Target("t1", address=engine.address)))

        async def knows(digest: str) -> bool:
            before = snapshot_of([served])
            keys = {**before.keys, digest: Key(name="projects/demo/keys/9", project="demo")}
            running.gateway.use(make_snapshot(2, keys, before.projects, [served]))
            return True

        running.knows_key = knows
        client = running.client(FRESH)
        first = await client.chat.completions.create(model="hotline", messages=HELLO)
        await client.chat.completions.create(model="hotline", messages=HELLO)
    assert first.choices[0].message.content
    assert running.asked_about == [sha256(FRESH.encode()).hexdigest()], "the second request finds it in the snapshot"


async def test_what_nobody_holds_is_asked_about_once(start):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    for _ in range(3):
        with pytest.raises(openai.AuthenticationError):
            await running.client("gyre-guess").models.list()
    assert len(running.asked_about) == 1


async def test_guessing_many_asks_no_more_than_its_share(start):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))
    running.gateway._newcomers = Newcomers(running.gateway._control, lambda: 100.0)  # no time passes
    for number in range(QUESTIONS_PER_MINUTE + 20):
        with pytest.raises(openai.AuthenticationError):
            await running.client(f"gyre-guess-{number}").models.list()
    assert len(running.asked_about) == QUESTIONS_PER_MINUTE


async def test_a_control_plane_that_is_away_leaves_it_at_no(start):
    running = await start(deployment(Target("t1", address="127.0.0.1:9")))

    async def fails(digest: str) -> bool:
        raise ConnectionError("api_gateway is away")

    running.knows_key = fails
    with pytest.raises(openai.AuthenticationError):
        await running.client(FRESH).models.list()
    running.knows_key = lambda digest: _yes()
    running.gateway.use(
        make_snapshot(2, {sha256(FRESH.encode()).hexdigest(): Key(name="projects/demo/keys/9", project="demo")}, {}, [])
    )
    assert (await running.client(FRESH).models.list()).data == [], "a no for want of an answer is not remembered"


async def _yes() -> bool:
    return True
