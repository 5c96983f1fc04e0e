"""What is own hardware, and where prompts may go."""

from __future__ import annotations

from pathlib import Path

import pytest
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.inference_gateway import routes, service, store
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.deployments import TargetState
from services.inference_gateway.models.projects import KnownProject
from services.inference_gateway.policies.regions import RegionRefused, is_allowed
from services.inference_gateway.proxy.allowance import Limits
from services.inference_gateway.proxy.hardware import host_if_rented
from services.inference_gateway.proxy.ledger import Ledger
from services.inference_gateway.targets import Sighting, Wanted
from services.inference_gateway.usage import spending

RENTED = "https://api.example.com/v1"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://[::1]:8000/v1",
        "http://10.1.2.3/v1",
        "http://192.168.0.7/v1",
        "http://localhost:1/v1",
        "http://vllm:8000/v1",
        "http://card.internal/v1",
        "http://vllm.team.svc.cluster.local/v1",
        "http://vllm.team.svc/v1",
        "",
    ],
)
def test_this_machine_and_private_networks_are_own_hardware(url: str) -> None:
    assert host_if_rented(url) == ""
    assert is_allowed(url, "", [])


@pytest.mark.parametrize(
    "url",
    [
        RENTED,
        "http://8.8.8.8/v1",
        "http://[2001:4860:4860::8888]/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "http://134744072/v1",
        "http://0x08080808/v1",
    ],
)
def test_what_has_a_public_address_or_name_is_rented(url: str) -> None:
    assert host_if_rented(url)
    assert not is_allowed(url, "eu", [])


@pytest.mark.parametrize(
    ("region", "allowed", "expected"),
    [("eu", ["eu", "us"], True), ("cn", ["eu"], False), ("", ["eu"], False), ("", ["*"], True), ("cn", ["*"], True)],
)
def test_a_rented_engine_is_allowed_where_the_project_says_so(region: str, allowed: list[str], expected: bool) -> None:
    assert is_allowed(RENTED, region, allowed) is expected


def rented(region: str) -> Wanted:
    return Wanted(100, "OPENAI", upstream_url=RENTED, upstream_model="m", region=region)


async def policy(session: Session, *regions: str) -> KnownProject:
    project = KnownProject(project=PROJECT, active=True, consent_to_keep=False, regions=list(regions))
    await store.put_project(session, project)
    return project


async def test_a_deployment_outside_is_refused_when_it_is_made(session: Session) -> None:
    with pytest.raises(RegionRefused, match="gyre projects update"):
        await service.create(session, PROJECT, "far", [rented("cn")])
    await policy(session, "eu")
    with pytest.raises(RegionRefused) as caught:
        await service.create(session, PROJECT, "far", [rented("cn")])
    assert caught.value.metadata["allowed"] == "eu"
    assert (await service.create(session, PROJECT, "near", [rented("eu")])).name


async def test_what_was_allowed_once_is_left_out_of_the_routes_when_it_no_longer_is(session: Session) -> None:
    await policy(session, "eu")
    deployment = await service.create(session, PROJECT, "near", [rented("eu")])
    (target,) = await store.targets_of(session, deployment.name)
    await service.apply(session, deployment, {target.id: Sighting(TargetState.READY)})
    allowed = routes.make(1, [], [await policy(session, "eu")], [(deployment, [target])])
    (shown,) = allowed.deployments[PROJECT, "near"].targets
    assert (shown.sent_to, shown.region) == ("api.example.com", "eu")
    refused = routes.make(2, [], [await policy(session)], [(deployment, [target])])
    described = refused.deployments[PROJECT, "near"]
    assert (described.targets, described.refused_regions) == ((), ("eu",))


async def test_prompts_that_left_add_up_and_are_shown_with_what_was_spent(session: Session, tmp_path: Path) -> None:
    for _ in range(2):
        counted = {(PROJECT, "api.example.com", "eu"): 3, (PROJECT, "far.example.com", ""): 1}
        await traffic_store.add_sent_out(session, counted)
    shown = spending.of_project(
        Ledger(tmp_path / "l"), PROJECT, Limits(), {}, await traffic_store.sent_out(session, PROJECT)
    )
    found = [(each.upstream, each.region, each.prompt_count) for each in shown.sent_out]
    assert found == [("api.example.com", "eu", 6), ("far.example.com", "", 2)]
    assert await traffic_store.sent_out(session, "other") == []
