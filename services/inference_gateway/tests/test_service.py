from __future__ import annotations

import pytest
from gyre.inference_gateway.v1 import deployment_pb2
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT, outbox_of

from services.inference_gateway import service, store
from services.inference_gateway.lookups import LicenceRefused
from services.inference_gateway.models.deployments import Deployment, DeploymentState, Target, TargetState
from services.inference_gateway.targets import BadWeights, Sighting, Wanted, short_version


def variant(number: int, percent: int) -> Wanted:
    version = f"projects/{PROJECT}/models/hotline/versions/{number}"
    return Wanted(percent, "LLAMA_CPP", variant=f"{version}/variants/q8-0", model_version=version)


async def targets(session: Session, deployment: Deployment) -> dict[str, Target]:
    return {short_version(each): each for each in await store.targets_of(session, deployment.name)}


async def see(session: Session, deployment: Deployment, **states: TargetState) -> None:
    found = await targets(session, deployment)
    seen = {found[version.removeprefix("v")].id: Sighting(state) for version, state in states.items()}
    await service.apply(session, deployment, seen)
    await service.apply(session, deployment, {}, in_force=True)


async def ready(session: Session) -> Deployment:
    deployment = await service.create(session, PROJECT, "hotline", [variant(1, 100)])
    await see(session, deployment, v1=TargetState.READY)
    return deployment


async def test_a_deployment_is_ready_when_its_target_answers(session: Session) -> None:
    deployment = await ready(session)
    assert deployment.state == DeploymentState.READY
    assert [kind for kind, _ in await outbox_of(session)] == ["TrafficShifted", "DeploymentReady", "RolloutFinished"]


@pytest.mark.parametrize("split", [[(1, 60), (2, 60)], [(1, 50), (1, 50)], [(1, 100), (2, 0)]])
async def test_weights_that_make_no_sense_are_refused(session: Session, split: list[tuple[int, int]]) -> None:
    deployment = await ready(session)
    with pytest.raises(BadWeights):
        await service.shift(session, deployment.name, [variant(*each) for each in split])


async def test_a_deleted_deployment_drains_and_its_name_is_free_again(session: Session) -> None:
    deployment = await ready(session)
    await service.delete(session, deployment.name, "")
    assert (await targets(session, deployment))["1"].state == TargetState.DRAINING
    again = await service.create(session, PROJECT, "hotline", [variant(2, 100)])
    assert again.state == DeploymentState.PENDING


async def test_others_hear_when_a_deployment_follows_another_alias_and_when_it_is_gone(session: Session) -> None:
    deployment = await ready(session)
    before = len(await outbox_of(session))
    alias = f"projects/{PROJECT}/models/hotline/aliases/champion"
    for _ in range(2):
        await service.update(session, deployment_pb2.Deployment(name=deployment.name, alias=alias), ["alias"])
    await service.delete(session, deployment.name, "")
    assert [kind for kind, _ in await outbox_of(session)][before:] == ["TrafficShifted", "DeploymentDeleted"]


async def test_an_alias_that_may_not_be_followed_leaves_a_failed_rollout_and_the_split_as_it_was(
    session: Session,
) -> None:
    deployment = await ready(session)
    deployment.alias_variant = variant(2, 100).variant
    refusal = LicenceRefused("data is under CC-BY-NC-4.0.")
    await service.refuse_alias(session, deployment.name, variant(3, 100).variant, refusal)
    assert await store.first_behind_its_alias(session) is deployment
    await service.refuse_alias(session, deployment.name, deployment.alias_variant, refusal)
    assert await store.first_behind_its_alias(session) is None
    newest = (await store.newest_rollouts(session, [deployment.name]))[deployment.name]
    assert (newest.state, newest.failure_reason, newest.failure_message) == (
        "FAILED",
        "LICENCE_REFUSED",
        "data is under CC-BY-NC-4.0.",
    )
    assert [each.weight_percent for each in await store.targets_of(session, deployment.name)] == [100]


async def test_a_refused_alias_does_not_break_off_the_change_that_began_meanwhile(session: Session) -> None:
    deployment = await ready(session)
    deployment.alias_variant = variant(2, 100).variant
    await service.shift(session, deployment.name, [variant(3, 100)])
    under_way = deployment.rollout
    await service.refuse_alias(session, deployment.name, deployment.alias_variant, LicenceRefused("no"))
    assert deployment.rollout == under_way != ""


async def test_a_target_that_stops_answering_makes_it_pending_and_coming_back_makes_it_ready(session: Session) -> None:
    deployment = await ready(session)
    await see(session, deployment, v1=TargetState.STARTING)
    assert deployment.state == DeploymentState.PENDING
    await see(session, deployment, v1=TargetState.READY)
    assert deployment.state == DeploymentState.READY
