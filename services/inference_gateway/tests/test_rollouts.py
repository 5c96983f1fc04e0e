"""How a split changes: all of it or nothing, step by step, and back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT, outbox_of

from services.inference_gateway import service, store
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.models.rollouts import Rollout, RolloutState
from services.inference_gateway.proxy.outcomes import BUCKETS, Outcomes
from services.inference_gateway.rollouts import service as rollouts
from services.inference_gateway.rollouts.plan import BadSteps, Plan
from services.inference_gateway.rollouts.splits import between
from services.inference_gateway.rollouts.watching import News, Tally, Watch
from services.inference_gateway.targets import Sighting, Wanted, short_version

Split = dict[str, int]


def variant(number: int, percent: int) -> Wanted:
    version = f"projects/{PROJECT}/models/hotline/versions/{number}"
    return Wanted(percent, "LLAMA_CPP", variant=f"{version}/variants/q8-0", model_version=version)


async def targets(session: Session, deployment: Deployment) -> dict[str, Target]:
    return {short_version(each): each for each in await store.targets_of(session, deployment.name)}


async def split(session: Session, deployment: Deployment) -> Split:
    return {v: each.weight_percent for v, each in (await targets(session, deployment)).items() if each.weight_percent}


async def see(session: Session, deployment: Deployment, **states: TargetState) -> None:
    """The workers hear of what follows from it at once."""
    found = await targets(session, deployment)
    seen = {found[version.removeprefix("v")].id: Sighting(state) for version, state in states.items()}
    await service.apply(session, deployment, seen)
    await service.apply(session, deployment, {}, in_force=True)


async def serving(session: Session, *numbers: int) -> Deployment:
    """A deployment that went from one version to the next, and serves the last of them."""
    first, *others = numbers
    deployment = await service.create(session, PROJECT, "hotline", [variant(first, 100)])
    await see(session, deployment, **{f"v{first}": TargetState.READY})
    for number in others:
        await service.shift(session, deployment.name, [variant(number, 100)])
        await see(session, deployment, **{f"v{number}": TargetState.READY})
    return deployment


async def newest(session: Session, deployment: Deployment) -> Rollout:
    return (await store.newest_rollouts(session, [deployment.name]))[deployment.name]


async def test_a_new_split_waits_until_the_new_target_answers(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 30), variant(1, 70)])
    await see(session, deployment, v2=TargetState.STARTING)
    assert await split(session, deployment) == {"1": 100}
    await see(session, deployment, v2=TargetState.READY)
    assert await split(session, deployment) == {"1": 70, "2": 30}


async def test_what_is_left_out_stands_by_when_the_new_split_is_in_force(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)])
    assert (await targets(session, deployment))["1"].state == TargetState.READY
    await see(session, deployment, v2=TargetState.READY)
    old = (await targets(session, deployment))["1"]
    assert (old.state, old.standby_time is not None) == (TargetState.STANDBY, True)


async def test_steps_come_into_force_one_after_another_each_held_for_its_time(session: Session) -> None:
    deployment = await serving(session, 1)
    plan = Plan((10, 50, 100), timedelta(seconds=30))
    await service.shift(session, deployment.name, [variant(2, 100)], plan)
    seen: list[Split] = []
    for _ in range(3):
        await see(session, deployment, v2=TargetState.READY)
        await see(session, deployment, v2=TargetState.READY)  # nothing happens before the time is over
        seen.append(await split(session, deployment))
        rollout = await newest(session, deployment)
        held = [(session.clock.now() - timedelta(seconds=31)).isoformat()] * len(rollout.step_times)
        rollout.step_times = held
    assert seen == [{"1": 90, "2": 10}, {"1": 50, "2": 50}, {"2": 100}]
    assert (rollout.state, deployment.rollout) == (RolloutState.SUCCEEDED, "")


async def test_a_new_target_that_fails_in_the_middle_gives_all_traffic_back(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)], Plan((50, 100), timedelta(hours=1)))
    await see(session, deployment, v2=TargetState.READY)
    assert await split(session, deployment) == {"1": 50, "2": 50}
    await see(session, deployment, v2=TargetState.FAILED)
    assert await split(session, deployment) == {"1": 100}
    rollout = await newest(session, deployment)
    assert (rollout.state, rollout.failure_reason) == (RolloutState.FAILED, "TARGET_FAILED")
    assert (await targets(session, deployment))["2"].state == TargetState.FAILED  # it stays to be seen


async def test_one_shift_at_a_time_but_the_same_one_may_be_asked_for_again(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)], request_id="a")
    await service.shift(session, deployment.name, [variant(2, 100)], request_id="a")
    with pytest.raises(rollouts.ShiftInProgress):
        await service.shift(session, deployment.name, [variant(3, 100)], request_id="b")


@pytest.mark.parametrize("steps", [(), (0, 100), (50, 50, 100), (50, 20, 100), (10, 50), (101,)])
async def test_steps_that_make_no_sense_are_refused(session: Session, steps: tuple[int, ...]) -> None:
    deployment = await serving(session, 1)
    with pytest.raises(BadSteps):
        await service.shift(session, deployment.name, [variant(2, 100)], Plan(steps))


async def test_a_roll_back_is_in_force_at_once_and_what_it_leaves_drains(session: Session) -> None:
    deployment = await serving(session, 1, 2)
    await service.roll_back(session, deployment.name, message="answers in French")
    assert await split(session, deployment) == {"1": 100}
    found = await targets(session, deployment)
    assert (found["1"].state, found["2"].state) == (TargetState.READY, TargetState.DRAINING)
    first, second = [await store.rollout(session, f"{deployment.name}/rollouts/{number}") for number in (2, 3)]
    assert (first.state, first.failure_message) == (RolloutState.ROLLED_BACK, "answers in French")
    assert (second.state, second.reverts) == (RolloutState.SUCCEEDED, first.name)
    kinds = [kind for kind, _ in await outbox_of(session)]
    assert kinds[-3:] == ["TrafficShifted", "RolloutFinished", "RolloutFinished"]


async def test_a_second_roll_back_goes_one_further_and_a_third_finds_nothing(session: Session) -> None:
    deployment = await serving(session, 1, 2, 3)
    await service.roll_back(session, deployment.name)
    await service.roll_back(session, deployment.name)
    assert await split(session, deployment) == {"1": 100}
    with pytest.raises(rollouts.NothingToRollBack):
        await service.roll_back(session, deployment.name)


async def test_a_roll_back_in_the_middle_of_a_rollout_goes_to_where_it_began(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)], Plan((25, 50, 100), timedelta(hours=1)))
    await see(session, deployment, v2=TargetState.READY)
    await service.roll_back(session, deployment.name)
    assert await split(session, deployment) == {"1": 100}
    assert (await newest(session, deployment)).state == RolloutState.ROLLED_BACK
    assert deployment.rollout == ""


async def test_a_target_that_is_gone_is_started_again_by_a_roll_back(session: Session) -> None:
    deployment = await serving(session, 1, 2)
    await see(session, deployment, v1=TargetState.DRAINING)
    await see(session, deployment, v1=TargetState.STOPPED)
    await service.roll_back(session, deployment.name)
    assert await split(session, deployment) == {"2": 100}  # until version 1 answers again
    await see(session, deployment, v1=TargetState.READY)
    assert await split(session, deployment) == {"1": 100}


async def test_asking_twice_for_the_same_roll_back_rolls_back_once(session: Session) -> None:
    deployment = await serving(session, 1, 2, 3)
    for _ in range(2):
        await service.roll_back(session, deployment.name, request_id="oops")
    assert await split(session, deployment) == {"2": 100}


async def test_a_message_that_is_too_long_is_refused_and_nothing_moves(session: Session) -> None:
    deployment = await serving(session, 1, 2)
    with pytest.raises(rollouts.MessageTooLong):
        await service.roll_back(session, deployment.name, message="x" * 501)
    assert await split(session, deployment) == {"2": 100}


async def test_an_alias_that_points_to_what_was_rolled_back_is_not_followed(session: Session) -> None:
    deployment = await serving(session, 1, 2)
    deployment.alias_variant = variant(2, 100).variant
    await service.roll_back(session, deployment.name)
    assert deployment.alias_refused == deployment.alias_variant


async def test_a_replica_that_does_not_answer_has_nothing_to_stand_by_for(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)])
    await see(session, deployment, v1=TargetState.STARTING, v2=TargetState.READY)
    assert (await targets(session, deployment))["1"].state == TargetState.DRAINING


def came(found: dict[str, Target], old: Tally, new: Tally) -> dict[str, News]:
    """Since the last look, and in all: enough of the old version to tell what is slow."""
    usual = Tally(Outcomes(0, (100, *[0] * (BUCKETS - 1))))
    return {found["1"].id: News(old, usual), found["2"].id: News(new, new)}


def answered(quick: int, slow: int = 0, failed: int = 0) -> Tally:
    return Tally(Outcomes(failed, (quick, *[0] * (BUCKETS - 2), slow)))


GOOD = answered(9)
WORSE = [
    ("errors", answered(1, failed=2)),
    ("latency", answered(1, slow=2)),
    ("feedback", Tally(GOOD.outcomes, liked=1, disliked=8)),
]


@pytest.mark.parametrize(("measure", "new"), WORSE, ids=[measure for measure, _ in WORSE])
async def test_a_version_that_is_worse_is_rolled_back_by_itself_and_says_why(
    session: Session, measure: str, new: Tally
) -> None:
    deployment = await serving(session, 1)
    deployment.alias_variant = variant(2, 100).variant
    await service.shift(session, deployment.name, [variant(2, 100)], Plan((10, 100), timedelta(hours=1)))
    await see(session, deployment, v2=TargetState.READY)
    found = await targets(session, deployment)
    old = Tally(answered(90).outcomes, liked=20)
    for _ in range(20):
        if deployment.rollout:
            await service.apply(session, deployment, {}, came(found, old, new))
    rollout = await newest(session, deployment)
    assert (rollout.state, rollout.failure_reason) == (RolloutState.ROLLED_BACK, f"WORSE_{measure.upper()}")
    assert "of the new version" in rollout.failure_message
    assert await split(session, deployment) == {"1": 100}
    assert deployment.alias_refused == deployment.alias_variant


@pytest.mark.parametrize("watched", [("errors", "latency", "feedback"), ()])
async def test_a_version_that_is_as_good_goes_on_and_so_does_any_that_is_not_watched(
    session: Session, watched: tuple[str, ...]
) -> None:
    deployment = await serving(session, 1)
    plan = Plan((10, 100), timedelta(hours=1), watched)
    await service.shift(session, deployment.name, [variant(2, 100)], plan)
    await see(session, deployment, v2=TargetState.READY)
    found = await targets(session, deployment)
    new = GOOD if watched else answered(0, failed=9)
    for _ in range(50):
        await service.apply(session, deployment, {}, came(found, answered(90), new))
    assert await split(session, deployment) == {"1": 90, "2": 10}


async def test_a_rollout_is_over_when_the_workers_go_by_it(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)])
    second = (await targets(session, deployment))["2"]
    for _ in range(3):
        await service.apply(session, deployment, {second.id: Sighting(TargetState.READY)}, in_force=False)
        assert await split(session, deployment) == {"2": 100}
        assert (await newest(session, deployment)).state == RolloutState.RUNNING
    await service.apply(session, deployment, {}, in_force=True)
    assert (await newest(session, deployment)).state == RolloutState.SUCCEEDED
    assert (await targets(session, deployment))["1"].state == TargetState.STANDBY


async def test_another_rollout_may_follow_one_whose_last_step_is_made(session: Session) -> None:
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(2, 100)])
    with pytest.raises(rollouts.ShiftInProgress):
        await service.shift(session, deployment.name, [variant(3, 100)])
    second = (await targets(session, deployment))["2"]
    await service.apply(session, deployment, {second.id: Sighting(TargetState.READY)})
    await service.shift(session, deployment.name, [variant(3, 100)])
    assert (await store.rollout(session, f"{deployment.name}/rollouts/2")).state == RolloutState.SUCCEEDED
    assert (await newest(session, deployment)).state == RolloutState.RUNNING


async def test_a_watch_tells_what_came_since_it_looked_last(session: Session) -> None:
    found = list((await targets(session, await serving(session, 1, 2))).values())
    counts = {each.id: Outcomes(5) for each in found}
    first, second = Watch(), Watch()
    assert all(news.since == Tally() for news in first.news("r", found, counts).values())
    more = {each.id: Outcomes(7) for each in found}
    assert all(news.since == Tally(Outcomes(2)) for news in first.news("r", found, more).values())
    assert all(news.since == Tally() for news in second.news("r", found, more).values())


@pytest.mark.parametrize(
    ("before", "after", "percent", "expected"),
    [
        ({"a": 100}, {"b": 100}, 25, {"a": 75, "b": 25}),
        ({"a": 70, "b": 30}, {"c": 100}, 33, {"a": 47, "b": 20, "c": 33}),
        ({"a": 60, "b": 40}, {"b": 60, "a": 40}, 50, {"a": 50, "b": 50}),
        ({"a": 34, "b": 33, "c": 33}, {"d": 100}, 1, {"a": 33, "b": 33, "c": 33, "d": 1}),
        ({}, {"a": 100}, 10, {"a": 100}),
    ],
)
def test_weights_on_the_way_are_whole_and_sum_to_a_hundred(
    before: Split, after: Split, percent: int, expected: Split
) -> None:
    weights = between(before, after, percent)
    assert weights == expected
    assert sum(weights.values()) == 100
