"""Which deployments may stand in for another, and what that may cost."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from gyre.inference_gateway.v1.deployment_pb2 import Deployment as Message
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.inference_gateway import routes, service, store
from services.inference_gateway.models.projects import KnownProject
from services.inference_gateway.targets import Wanted

HOTLINE = f"projects/{PROJECT}/deployments/hotline"


def upstream(number: int, price: int = 0) -> Wanted:
    url = f"http://127.0.0.1:{number}/v1"
    return Wanted(100, "OPENAI", upstream_url=url, upstream_model="m", output_price_microusd=price)


async def three(session: Session) -> None:
    for number, name in enumerate(("hotline", "spare", "dear"), 1):
        await service.create(session, PROJECT, name, [upstream(number, price=number * 100)])


async def test_fallbacks_are_set_and_taken_away_by_an_update(session: Session) -> None:
    await three(session)
    given = Message(name=HOTLINE, fallbacks=["dear", "spare"], fallback_after=Duration(seconds=3))
    deployment = await service.update(session, given, ["fallbacks", "fallback_after"])
    assert (deployment.fallbacks, deployment.fallback_seconds) == (["dear", "spare"], 3.0)
    deployment = await service.update(session, Message(name=HOTLINE), ["fallbacks", "fallback_after"])
    assert (deployment.fallbacks, deployment.fallback_seconds) == ([], 0.0)


@pytest.mark.parametrize(
    "fallbacks", [["hotline"], ["spare", "spare"], ["nowhere"], ["spare", "hotline"], ["a", "b", "c", "d", "e", "f"]]
)
async def test_itself_a_stranger_or_one_twice_is_refused(session: Session, fallbacks: list[str]) -> None:
    await three(session)
    with pytest.raises(service.BadFallbacks):
        await service.update(session, Message(name=HOTLINE, fallbacks=fallbacks), ["fallbacks"])


async def test_patience_is_bounded(session: Session) -> None:
    await three(session)
    with pytest.raises(service.BadFallbacks):
        given = Message(name=HOTLINE, fallback_after=Duration(seconds=601))
        await service.update(session, given, ["fallback_after"])


async def test_the_routes_know_the_chain_and_the_highest_price_in_it(session: Session) -> None:
    await three(session)
    await service.update(session, Message(name=HOTLINE, fallbacks=["spare", "dear"]), ["fallbacks"])
    rows = [(each, list(await store.targets_of(session, each.name))) for each, _ in await store.all_routes(session)]
    for _, targets in rows:
        targets[0].state = "READY"
    project = KnownProject(project=PROJECT, active=True, consent_to_keep=False)
    shown = routes.make(1, [], [project], rows).deployments
    hotline = shown[PROJECT, "hotline"]
    assert (hotline.fallbacks, hotline.fallback_output_price) == (("spare", "dear"), 300)
    assert shown[PROJECT, "spare"].fallback_output_price == 0
