"""An experiment: two targets, a split that stays, and an end that frees it."""

from __future__ import annotations

import pytest
from gyre_kit.db import Session
from gyre_kit.testing import outbox_of

from services.inference_gateway import service, store
from services.inference_gateway.comparing import experiments
from services.inference_gateway.comparing.experiment_api import to_proto
from services.inference_gateway.models.comparing import Experiment, ExperimentState
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.proxy.outcomes import BUCKETS, LENGTHS, Outcomes
from services.inference_gateway.rollouts import service as rollouts
from services.inference_gateway.rollouts.watching import News, Tally
from services.inference_gateway.tests.test_rollouts import see, serving, split, targets, variant


async def halves(session: Session) -> Deployment:
    """Version 1 and version 2, half of the traffic each."""
    deployment = await serving(session, 1)
    await service.shift(session, deployment.name, [variant(1, 50), variant(2, 50)])
    await see(session, deployment, v2=TargetState.READY)
    return deployment


async def arms(session: Session, deployment: Deployment) -> tuple[Target, Target]:
    found = await targets(session, deployment)
    return found["1"], found["2"]


async def look(session: Session, experiment: Experiment, deployment: Deployment, *tallies: Tally) -> None:
    both = await arms(session, deployment)
    news = {target.id: News(tally, tally) for target, tally in zip(both, tallies, strict=False)}
    await experiments.look(session, experiment, await store.targets_of(session, deployment.name), news)


def liked(good: int, bad: int) -> Tally:
    return Tally(liked=good, disliked=bad)


def answered(quick: int, slow: int) -> Tally:
    counts = [0] * BUCKETS
    counts[5], counts[20] = quick, slow
    return Tally(Outcomes(0, tuple(counts)))


def long(tokens: int, count: int) -> Tally:
    counts = [0] * LENGTHS
    counts[tokens] = count
    return Tally(Outcomes(0, lengths=tuple(counts)))


async def test_the_better_liked_one_wins_and_takes_all_when_somebody_says_so(session: Session) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "FEEDBACK")
    await look(session, experiment, deployment, liked(10, 10), liked(12, 8))
    assert (experiment.state, to_proto(experiment).leader) == (ExperimentState.RUNNING, 2)
    await look(session, experiment, deployment, liked(100, 100), liked(180, 20))
    assert (experiment.state, experiment.winner) == (ExperimentState.DECIDED, "B")
    assert (experiment.a["count"], experiment.a["hits"]) == (220, 110)
    assert experiment.low > 0 and len(experiment.history) == 2
    assert ("ExperimentFinished", experiment.name) in await outbox_of(session)
    winner = await experiments.winner_of(session, experiment)
    await service.shift(session, deployment.name, [winner])
    await see(session, deployment)
    assert await split(session, deployment) == {"2": 100}


async def test_while_it_runs_the_split_stays_and_afterwards_it_may_change(session: Session) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "ERRORS")
    with pytest.raises(rollouts.ExperimentRunning):
        await service.shift(session, deployment.name, [variant(2, 100)])
    with pytest.raises(rollouts.ExperimentRunning):
        await experiments.create(session, deployment, "FEEDBACK")
    await experiments.stop(session, experiment.name)
    with pytest.raises(experiments.ExperimentOver):
        await experiments.stop(session, experiment.name)
    await service.shift(session, deployment.name, [variant(2, 100)])


async def test_an_alias_that_moves_waits_for_the_end(session: Session) -> None:
    deployment = await halves(session)
    deployment.alias_variant = variant(3, 100).variant
    experiment = await experiments.create(session, deployment, "ERRORS")
    await session.flush()
    assert await store.first_behind_its_alias(session) is None
    await experiments.stop(session, experiment.name)
    assert await store.first_behind_its_alias(session) is deployment


async def test_a_roll_back_does_not_wait(session: Session) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "ERRORS")
    await service.roll_back(session, deployment.name)
    assert (experiment.state, experiment.failure_reason) == (ExperimentState.STOPPED, "TRAFFIC_CHANGED")
    assert await split(session, deployment) == {"1": 100}


async def test_a_target_that_fails_ends_it_without_a_winner(session: Session) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "ERRORS")
    await see(session, deployment, v2=TargetState.FAILED)
    await look(session, experiment, deployment)
    assert (experiment.state, experiment.failure_reason) == (ExperimentState.STOPPED, "TARGET_GONE")
    with pytest.raises(experiments.NoWinner):
        await experiments.winner_of(session, experiment)


async def test_slow_is_what_is_slower_than_the_median_of_before_and_only_what_comes_later_counts(
    session: Session,
) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "LATENCY")
    await look(session, experiment, deployment, answered(30, 0), answered(30, 1))
    assert (experiment.bucket, experiment.a["count"]) == (5, 0)
    await look(session, experiment, deployment, answered(400, 20), answered(200, 220))
    assert (experiment.winner, experiment.b["hits"], experiment.b["count"]) == ("A", 220, 420)


async def test_a_threshold_that_is_given_is_the_nearest_edge(session: Session) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "LENGTH", threshold=100)
    assert experiments.threshold_of(experiment) == pytest.approx(90.51)
    await look(session, experiment, deployment, long(20, 50), long(3, 50))
    assert experiment.winner == "B"


@pytest.mark.parametrize("given", [{"metric": ""}, {"min_effect": 1.0}, {"error_chance": 0.6}, {"threshold": -1.0}])
async def test_what_makes_no_sense_is_refused(session: Session, given: dict[str, float]) -> None:
    deployment = await halves(session)
    with pytest.raises(experiments.BadExperiment):
        await experiments.create(session, deployment, **({"metric": "ERRORS"} | given))  # type: ignore[arg-type]


async def test_it_takes_two_that_have_weight(session: Session) -> None:
    deployment = await serving(session, 1)
    with pytest.raises(experiments.NotTwoArms):
        await experiments.create(session, deployment, "ERRORS")


async def test_the_same_request_makes_one_experiment(session: Session) -> None:
    deployment = await halves(session)
    first = await experiments.create(session, deployment, "ERRORS", request_id="a")
    assert await experiments.create(session, deployment, "ERRORS", request_id="a") is first


async def test_a_history_is_thinned_out(session: Session) -> None:
    deployment = await halves(session)
    experiment = await experiments.create(session, deployment, "FEEDBACK", min_effect=0.001)
    for _ in range(experiments.POINTS + 20):
        await look(session, experiment, deployment, liked(1, 1), liked(1, 1))
    assert experiments.POINTS / 2 < len(experiment.history) <= experiments.POINTS
    assert experiment.history[0]["count"] == 4
