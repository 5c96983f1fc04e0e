"""Adapters of a deployment: how a set comes into force, who keeps it, and what the data plane hears."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.testing import PROJECT

from services.inference_gateway import routes, service, store
from services.inference_gateway.adapters import service as adapters
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.models.projects import KnownKey
from services.inference_gateway.targets import Adapter, Sighting, Wanted, adapters_of

MODEL = f"projects/{PROJECT}/models/base"
NAME = f"projects/{PROJECT}/deployments/hotline"
BASE = adapters.Base(f"{MODEL}/versions/1", "LLAMA_CPP")
KEY = f"projects/{PROJECT}/keys/1"


def adapter(name: str, *keys: str, digest: str = "sha256:1") -> Adapter:
    version = f"projects/{PROJECT}/models/{name}/versions/1"
    return Adapter(name, f"{version}/variants/adapter", version, f"gyre://{name}", digest, "gyre://m", keys)


MARIA, OTTO = adapter("maria"), adapter("otto")


def base(version: int = 1, variant: str = "q8-0", engine: str = "LLAMA_CPP") -> Wanted:
    name = f"{MODEL}/versions/{version}"
    return Wanted(100, engine, variant=f"{name}/variants/{variant}", model_version=name)


async def answers(session: Session, deployment: Deployment) -> None:
    """All that is there."""
    for _ in range(2):
        there = await store.targets_of(session, NAME)
        coming = {each.id: Sighting(TargetState.READY) for each in there if each.state == TargetState.PENDING}
        await service.apply(session, deployment, coming, in_force=True)


async def serving(session: Session, engine: str = "LLAMA_CPP") -> Deployment:
    deployment = await service.create(session, PROJECT, "hotline", [base(engine=engine)])
    await answers(session, deployment)
    return deployment


async def live(session: Session) -> Target:
    (target,) = [each for each in await store.targets_of(session, NAME) if each.weight_percent]
    return target


def ids(target: Target) -> list[str]:
    return [each.id for each in adapters_of(target)]


async def test_another_set_comes_up_beside_the_old_one_and_can_be_rolled_back(session: Session) -> None:
    deployment = await serving(session)
    old = await live(session)
    await adapters.set_all(session, NAME, BASE, [MARIA, OTTO])
    assert (await live(session)) is old  # until the new one answers
    await answers(session, deployment)
    new = await live(session)
    assert (ids(new), ids(old), old.state) == (["maria", "otto"], [], TargetState.STANDBY)
    await service.roll_back(session, NAME)
    assert (await live(session)) is old


async def test_who_may_use_one_changes_without_a_rollout(session: Session) -> None:
    deployment = await serving(session)
    await adapters.set_all(session, NAME, BASE, [MARIA])
    await answers(session, deployment)
    target, before = await live(session), await store.next_rollout_number(session, NAME)
    session.add(KnownKey(name=KEY, project=PROJECT, secret_sha256="1", role="VIEWER", active=True))
    await session.flush()
    await adapters.set_all(session, NAME, BASE, [replace(MARIA, keys=(KEY,))])
    assert (await live(session)) is target and adapters_of(target)[0].keys == (KEY,)
    assert await store.next_rollout_number(session, NAME) == before


async def test_an_engine_that_loads_them_while_it_serves_goes_on(session: Session) -> None:
    await serving(session, "VLLM")
    target = await live(session)
    deployment = await adapters.set_all(session, NAME, replace(BASE, engine="VLLM"), [MARIA, OTTO])
    assert (ids(target), deployment.rollout) == (["maria", "otto"], "")


@pytest.mark.parametrize(("wanted", "kept"), [(base(variant="q4-k-m"), ["maria"]), (base(version=2), [])])
async def test_a_split_keeps_them_on_the_same_base_alone(session: Session, wanted: Wanted, kept: list[str]) -> None:
    deployment = await serving(session)
    await adapters.set_all(session, NAME, BASE, [MARIA])
    await answers(session, deployment)
    await service.shift(session, NAME, [wanted])
    await answers(session, deployment)
    assert ids(await live(session)) == kept


@pytest.mark.parametrize(
    "given",
    [
        [MARIA, MARIA],
        [adapter(f"a{number}") for number in range(65)],
        [adapter("maria", "projects/other/keys/1")],
        [adapter("maria", KEY), adapter("otto", KEY)],
    ],
)
async def test_a_set_that_makes_no_sense_is_refused(session: Session, given: list[Adapter]) -> None:
    await serving(session)
    session.add(KnownKey(name=KEY, project=PROJECT, secret_sha256="1", role="VIEWER", active=True))
    await session.flush()
    with pytest.raises(adapters.BadAdapters):
        await adapters.set_all(session, NAME, BASE, given)


async def test_they_need_one_base_that_gyre_launched(session: Session) -> None:
    upstream = Wanted(100, "OPENAI", upstream_url="http://127.0.0.1:1/v1", upstream_model="m")
    deployment = await service.create(session, PROJECT, "hotline", [upstream])
    await answers(session, deployment)
    with pytest.raises(adapters.NoBase):
        await adapters.base_of(session, NAME)


async def test_the_version_of_an_adapter_is_let_go_when_no_target_needs_it(session: Session) -> None:
    deployment = await serving(session)
    for chosen in ([MARIA], [OTTO]):
        await adapters.set_all(session, NAME, BASE, chosen)
        await answers(session, deployment)
    _, maria, otto = await store.targets_of(session, NAME)
    assert await store.versions_only_of(session, maria) == {MARIA.model_version}
    assert await store.versions_only_of(session, otto) == {OTTO.model_version}


async def test_the_data_plane_hears_which_can_be_asked_for_now(session: Session) -> None:
    deployment = await serving(session)
    for chosen in ([MARIA], [OTTO]):
        await adapters.set_all(session, NAME, BASE, chosen)
        await answers(session, deployment)
    shown = [(row, targets) for row, targets in await store.all_routes(session) if row.name == NAME]
    rows = await store.replicas_of(session, [each.id for _, targets in shown for each in targets])
    for of_target in rows.values():
        of_target[0].address, of_target[0].state = "127.0.0.1:9000", "READY"
    made = routes.make(1, [], [], shown, replicas=rows).deployments[PROJECT, "hotline"]
    assert [each.name for each in made.adapters] == ["otto"]
    assert [[each.name for each in target.adapters] for target in made.targets] == [[], ["maria"], ["otto"]]


async def test_another_project_finds_no_deployment_to_add_to(session: Session) -> None:
    await serving(session)
    await session.execute(sa.text("SELECT set_config('gyre.project', 'stranger', true)"))
    with pytest.raises(NotFound):
        await adapters.base_of(session, NAME)
