"""Which adapter a request gets, and what its engine hears of it."""

from __future__ import annotations

from dataclasses import replace

import openai
import pytest

from services.inference_gateway.proxy import snapshot
from services.inference_gateway.proxy.adapters import served_as
from services.inference_gateway.proxy.asking import parse_chat
from services.inference_gateway.proxy.routing import Wish, resolve
from services.inference_gateway.proxy.snapshot import Adapter, Target
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import KEY, deployment, snapshot_of
from services.inference_gateway.proxy.tests.test_completions import HELLO
from services.inference_gateway.proxy.tests.upstreams import raw

MARIA = Adapter("maria", "v/maria", "m/1", "sha256:aaaaaaaaaaaaaaaa")
OTTO = Adapter("otto", "v/otto", "m/2", "sha256:bbbbbbbbbbbbbbbb", keys=("projects/demo/keys/2",))
BASE = Target("t1", version="1", variant="v/base", adapters=(MARIA, OTTO))
SCALES = {"": [0.0, 0.0], "maria": [1.0, 0.0], "otto": [0.0, 1.0]}


def serving(*targets):
    return replace(deployment(*targets), adapters=(MARIA, OTTO))


def wish(model, key="", **headers):
    return resolve(snapshot_of([serving(BASE)]), "demo", model, headers, key)[1]


def test_the_name_after_a_colon_or_the_header_picks_it_also_beside_a_version():
    assert wish("hotline") == Wish()
    assert wish("hotline:maria") == wish("hotline", **{"x-gyre-adapter": "maria"}) == Wish(adapter="maria")
    assert wish("hotline:maria@1") == Wish("1", adapter="maria")


def test_a_key_that_one_is_bound_to_gets_it_unasked_and_is_the_only_one_that_does():
    assert wish("hotline", "projects/demo/keys/2") == wish("hotline:otto", "projects/demo/keys/2")
    assert wish("hotline:maria", "projects/demo/keys/2") == Wish(adapter="maria")
    for name in ("hotline:otto", "hotline:nobody"):
        with pytest.raises(Exception, match="There are hotline:maria") as caught:
            wish(name, "projects/demo/keys/1")
        assert (caught.value.status, caught.value.code) == (404, "adapter_not_found")


def test_a_session_with_an_adapter_is_another_one_than_with_the_base():
    sessions = {wish(name, **{"x-session-id": "s"}).session for name in ("hotline", "hotline:maria")}
    assert len(sessions) == 2 and None not in sessions


def test_it_survives_the_way_to_the_workers():
    made = snapshot_of([serving(BASE), deployment(name="plain")])
    assert snapshot.from_json(snapshot.to_json(made)) == made


@pytest.mark.parametrize("name", SCALES)
async def test_the_engine_hears_of_every_adapter_how_much_it_counts_and_the_client_which_one_answered(start, name):
    async with raw(upstreams.answers("hello")) as engine:
        running = await start(serving(replace(BASE, address=engine.address)))
        client = running.client("gyre-limited" if name == "otto" else KEY)
        reply = await client.chat.completions.with_raw_response.create(
            model=f"hotline:{name}" if name else "hotline", messages=HELLO, extra_body={"lora": [{"id": 1, "scale": 9}]}
        )
        (asked,) = engine.bodies()
    assert [(each["id"], each["scale"]) for each in asked["lora"]] == list(enumerate(SCALES[name]))
    assert asked["model"] == "hotline"
    assert reply.headers.get("x-gyre-adapter", "") == name
    (kept,) = await running.records()
    assert kept.variant == {"": "v/base", "maria": "v/maria", "otto": "v/otto"}[name]


def test_the_engine_s_field_is_put_into_the_text_where_the_client_has_none():
    text = b'{"model": "hotline:maria", "messages": [{"role": "user", "content": "Hi"}]}'
    scales = [{"id": 0, "scale": 1.0}]
    assert parse_chat(text).body_for("hotline", True, scales) == (
        b'{"lora":[{"id": 0, "scale": 1.0}],"model": "hotline", "messages": [{"role": "user", "content": "Hi"}]}'
    )


async def test_only_engines_that_have_it_are_asked(start):
    async with raw(upstreams.answers("old")) as old, raw(upstreams.answers("new")) as new:
        plain = Target("t0", version="1", address=old.address, weight=99)
        running = await start(serving(plain, replace(BASE, address=new.address, weight=1)))
        client = running.client()
        answers = {
            (await client.chat.completions.create(model="hotline:maria", messages=HELLO)).choices[0].message.content
            for _ in range(10)
        }
    assert answers == {"new"}


async def test_the_list_of_models_has_those_that_the_key_may_use(start):
    running = await start(serving(BASE))
    for key, listed in (("gyre-test-key", ["maria"]), ("gyre-limited", ["maria", "otto"])):
        models = await running.client(key).models.list()
        assert [each.id for each in models.data] == ["hotline", *(f"hotline:{name}" for name in listed)]
    with pytest.raises(openai.NotFoundError, match="has no adapter 'otto'"):
        await running.client().models.retrieve("hotline:otto")
    with pytest.raises(openai.NotFoundError):
        await running.client("gyre-other").models.retrieve("hotline:maria")


def test_one_name_with_other_bytes_is_another_model_to_an_engine_that_loads_while_it_serves():
    assert served_as("maria", MARIA.digest) == "maria-aaaaaaaaaaaa" != served_as("maria", OTTO.digest)
