"""A deployment that sleeps: who asks waits until it is awake, in bounds; and how replicas of one target share sessions."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import httpx
import openai
import pytest

from services.inference_gateway.proxy.routing import Router, Wish
from services.inference_gateway.proxy.sessions import SessionLedger, session_of
from services.inference_gateway.proxy.snapshot import Target, TargetState
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import KEY, deployment, eventually, snapshot_of
from services.inference_gateway.proxy.tests.test_completions import HELLO
from services.inference_gateway.proxy.tests.upstreams import raw

ASLEEP = Target("01M8T00000000000000000000T", version="1", state=TargetState.ASLEEP)


def ask(running, **options):
    return running.client().chat.completions.create(model="hotline", messages=HELLO, **options)


async def test_the_first_request_wakes_it_and_all_that_came_meanwhile_are_answered(start):
    async with raw(upstreams.answers("awake")) as engine:
        running = await start(deployment(ASLEEP))
        asking = [asyncio.create_task(ask(running)) for _ in range(5)]
        await eventually(lambda: running.gateway.sleepers.held() == {ASLEEP.id: 5} and running.woken)
        replica = Target("r1", version="1", address=engine.address, replica_of=ASLEEP.id)
        running.gateway.use(snapshot_of([deployment(replica)], revision=2))
        answers = await asyncio.gather(*asking)
    assert {each.choices[0].message.content for each in answers} == {"awake"}
    assert set(running.woken) == {ASLEEP.id}
    assert (running.gateway.sleepers.held(), running.metric("gyre_gateway_wake_seconds_count")) == ({}, 5)


async def test_past_the_bound_of_time_it_says_honestly_when_to_come_back(start):
    running = await start(deployment(ASLEEP), wake_seconds=0.2)
    with pytest.raises(openai.InternalServerError) as caught:
        await ask(running)
    assert (caught.value.status_code, caught.value.code) == (503, "deployment_not_ready")
    assert int(caught.value.response.headers["retry-after"]) >= 1
    assert running.gateway.sleepers.held() == {}


async def test_past_the_bound_of_number_they_are_told_at_once(start):
    running = await start(deployment(ASLEEP), wake_waiting=2)
    waiting = [asyncio.create_task(ask(running)) for _ in range(2)]
    await eventually(lambda: running.gateway.sleepers.held() == {ASLEEP.id: 2})
    with pytest.raises(openai.InternalServerError, match="slept and is starting"):
        await ask(running)
    for task in waiting:
        task.cancel()
    await eventually(lambda: not running.gateway.sleepers.held())  # who leaves makes room


async def test_one_that_cannot_start_is_not_waited_for_any_longer(start):
    running = await start(deployment(ASLEEP))
    asking = asyncio.create_task(ask(running))
    await eventually(lambda: running.woken)
    running.gateway.use(snapshot_of([deployment()], revision=2))
    with pytest.raises(openai.InternalServerError, match="no engine that takes requests"):
        await asking


async def test_a_version_that_sleeps_is_there_for_who_names_it(start):
    running = await start(deployment(ASLEEP), wake_seconds=0.2)
    async with httpx.AsyncClient(base_url=running.url, headers={"authorization": f"Bearer {KEY}"}) as http:
        listed = await http.get("/v1/models/hotline@1")
    assert listed.status_code == 200
    with pytest.raises(openai.InternalServerError):
        await running.client().chat.completions.create(model="hotline@1", messages=HELLO)
    assert running.woken


def replicas(*states: TargetState, of: str = "old", version: str = "1", weight: float = 100) -> list[Target]:
    weight /= len(states)
    return [
        Target(
            f"{of}-{n}", version=version, variant=version, address=f"127.0.0.1:{n}",
            weight=weight, state=state, replica_of=of,
        )
        for n, state in enumerate(states)
    ]  # fmt: skip


READY, DRAINING = TargetState.READY, TargetState.DRAINING


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return Router(lambda: 0.0, SessionLedger(tmp_path, 3600), random.Random(7))


def chosen(router: Router, targets: list[Target], number: int, tried: tuple[str, ...] = ()) -> Target | None:
    wish = Wish(session=session_of("demo", "hotline", f"user-{number}"))
    return router.choose(deployment(*targets), wish, tried)


def test_a_session_keeps_to_its_replica_and_to_its_version_when_replicas_come_and_go(router):
    both = replicas(READY, READY, weight=50) + replicas(READY, READY, of="new", version="2", weight=50)
    first = {number: chosen(router, both, number) for number in range(200)}
    assert {each.id for each in first.values()} == {each.id for each in both}
    assert all(chosen(router, both, number) is each for number, each in first.items())
    fewer = replicas(READY, DRAINING, weight=50) + replicas(READY, of="new", version="2", weight=50)
    later = {number: chosen(router, fewer, number) for number in range(200)}
    assert all(later[number].version == first[number].version for number in range(200))
    assert all(each.state is READY for each in later.values())


def test_a_session_whose_replica_broke_is_answered_by_another_of_its_version_and_by_no_other_version(router):
    both = replicas(READY, READY, weight=50) + replicas(READY, READY, of="new", version="2", weight=50)
    first = chosen(router, both, 1)
    second = chosen(router, both, 1, (first.id,))
    assert (second.target, second.id != first.id) == (first.target, True)
    assert chosen(router, both, 1, (first.id, second.id)) is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_share_of_the_traffic_stays_what_it_is_however_many_replicas_have_it(router, count):
    canary = replicas(*[READY] * count, of="new", version="2", weight=2)
    targets = replicas(READY, weight=98) + canary
    picks = [router.choose(deployment(*targets), Wish(), ()) for _ in range(5000)]
    assert sum(each.version == "2" for each in picks) / 5000 == pytest.approx(0.02, abs=0.01)
