"""Use cases: which of two targets does better on live traffic. The result may be looked at all the time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from gyre.inference_gateway.v1 import events_pb2, experiment_pb2
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import Invalid, Precondition
from gyre_kit.render import enum_number
from gyre_kit.states import transition

from services.inference_gateway import store
from services.inference_gateway.comparing import sequences
from services.inference_gateway.comparing import store as traffic_store
from services.inference_gateway.models.comparing import Experiment, ExperimentState
from services.inference_gateway.models.deployments import Deployment, Target, TargetState
from services.inference_gateway.proxy.outcomes import EDGES, LENGTH_EDGES, quantile
from services.inference_gateway.rollouts.guard import ENOUGH, Count
from services.inference_gateway.rollouts.service import check_none_runs, end_of_way
from services.inference_gateway.rollouts.watching import News, Tally
from services.inference_gateway.targets import LEAVING, Wanted, wanted_again

METRICS = ("FEEDBACK", "ERRORS", "LATENCY", "LENGTH")
EDGES_OF: Mapping[str, Sequence[float]] = {"LATENCY": EDGES, "LENGTH": LENGTH_EDGES}
MIN_EFFECT = 0.05
ERROR_CHANCE = 0.05
POINTS = 100  # of a history; when there are more, every second one goes
NO_WINNER = "NONE"


class BadExperiment(Invalid):
    """It needs a metric, an effect between 0 and 1, an error chance up to 0.5, and a threshold that is not negative."""


class NotTwoArms(Precondition):
    """An experiment compares two targets that have weight: name two, or shift the traffic to exactly two."""


class ExperimentOver(Precondition):
    """The experiment has ended already."""


class NoWinner(Precondition):
    """The experiment found no better one: it runs still, was stopped, or the two differ too little."""


async def create(
    session: Session,
    deployment: Deployment,
    metric: str,
    arms: tuple[str, str] = ("", ""),
    *,
    min_effect: float = 0.0,
    error_chance: float = 0.0,
    threshold: float = 0.0,
    request_id: str = "",
) -> Experiment:
    """Raises: BadExperiment; NotTwoArms; ExperimentRunning; ShiftInProgress."""
    if earlier := await resources.by_request(session, Experiment, deployment.project, request_id):
        return earlier
    effect, chance = min_effect or MIN_EFFECT, error_chance or ERROR_CHANCE
    if metric not in METRICS or not 0 < effect < 1 or not 0 < chance <= 0.5 or threshold < 0:
        raise BadExperiment(metric=metric, min_effect=f"{effect:g}", error_chance=f"{chance:g}")
    check_none_runs(deployment)
    targets = await store.targets_of(session, deployment.name, lock=True)
    if deployment.rollout:
        await end_of_way(session, deployment, targets)
    first, second = _arms(targets, arms)
    number = await traffic_store.next_experiment_number(session, deployment.name)
    experiment = Experiment(
        name=f"{deployment.name}/experiments/{number}",
        project=deployment.project,
        deployment=deployment.name,
        number=number,
        metric=metric,
        a=_arm(first),
        b=_arm(second),
        min_effect=effect,
        error_chance=chance,
        bucket=_nearest(EDGES_OF[metric], threshold) if threshold and metric in EDGES_OF else None,
        low=-1.0,
        high=1.0,
        request_id=request_id or None,
    )
    session.add(experiment)
    deployment.experiment = experiment.name
    await session.flush()
    return experiment


async def locked(session: Session, name: str) -> Experiment:
    """Its deployment is locked first, as everywhere. Raises: NotFound."""
    experiment = await resources.get(session, Experiment, name)
    await resources.get(session, Deployment, experiment.deployment, lock=True)
    return await resources.get(session, Experiment, name, lock=True)


async def look(session: Session, experiment: Experiment, targets: Sequence[Target], news: Mapping[str, News]) -> None:
    """1 are both there, 2 what came since, 3 what that says, 4 is it decided?"""
    arms = (experiment.a, experiment.b)
    there = {target.id for target in targets if target.weight_percent and target.state not in LEAVING}
    failed = {target.id for target in targets if target.state == TargetState.FAILED}
    if gone := [arm["target"] for arm in arms if arm["target"] not in there - failed]:
        await end(session, experiment, ExperimentState.STOPPED, "TARGET_GONE", f"Target {gone[0]} serves no more.")
        return
    both = [news.get(arm["target"], News()) for arm in arms]
    counted = [_counted(experiment, each.since) for each in both]
    _learn_threshold(experiment, both)
    if not any(count.all for count in counted):
        return
    experiment.a, experiment.b = (_grown(arm, count) for arm, count in zip(arms, counted, strict=True))
    a, b = count_of(experiment.a), count_of(experiment.b)
    experiment.difference = b.share - a.share if a.all and b.all else 0.0
    experiment.low, experiment.high = sequences.interval(a, b, experiment.error_chance)
    _remember(session, experiment, a.all + b.all)
    if winner := decide(a, b, experiment.metric, experiment.min_effect, experiment.error_chance):
        experiment.winner = winner
        await end(session, experiment, ExperimentState.DECIDED)


def decide(a: Count, b: Count, metric: str, min_effect: float, error_chance: float) -> str:
    """A, B or NONE (they differ by less than `min_effect`); empty as long as it cannot be told."""
    if not (a.all and b.all):
        return ""
    difference = b.share - a.share
    too_small = all(sequences.excludes(a, b, sign * min_effect, error_chance) for sign in (-1, 1))
    if too_small and abs(difference) < min_effect:
        return NO_WINNER
    return better(a, b, metric) if sequences.excludes(a, b, 0.0, error_chance) else ""


def better(a: Count, b: Count, metric: str) -> str:
    """Who would be taken now; empty where both look the same, or one has nothing to show."""
    if not (a.all and b.all) or a.share == b.share:
        return ""
    return "B" if (b.share > a.share) == (metric == "FEEDBACK") else "A"


async def end(
    session: Session, experiment: Experiment, state: ExperimentState, reason: str = "", message: str = ""
) -> None:
    """The split may be changed again."""
    deployment = await resources.get(session, Deployment, experiment.deployment, lock=True)
    deployment.experiment = ""
    experiment.end_time = session.clock.now()
    experiment.failure_reason, experiment.failure_message = reason, message
    finished = events_pb2.ExperimentFinished(
        name=experiment.name,
        deployment=experiment.deployment,
        state=enum_number(experiment_pb2.Experiment.State.DESCRIPTOR, state),
        winner=enum_number(experiment_pb2.Experiment.Winner.DESCRIPTOR, experiment.winner),
        failure_reason=reason,
    )
    finished.end_time.FromDatetime(experiment.end_time)
    await transition(session, experiment, state, finished)


async def stop(session: Session, name: str, etag: str = "") -> Experiment:
    """Raises: NotFound; EtagMismatch; ExperimentOver."""
    experiment = await locked(session, name)
    resources.check_etag(experiment, etag)
    if experiment.state != ExperimentState.RUNNING:
        raise ExperimentOver(name=name, state=experiment.state)
    await end(session, experiment, ExperimentState.STOPPED, "STOPPED", "Somebody stopped it.")
    return experiment


async def stop_of(session: Session, deployment: Deployment, message: str) -> None:
    """What takes traffic back does not wait for an experiment."""
    if deployment.experiment:
        experiment = await resources.get(session, Experiment, deployment.experiment, lock=True)
        await end(session, experiment, ExperimentState.STOPPED, "TRAFFIC_CHANGED", message)


async def winner_of(session: Session, experiment: Experiment) -> Wanted:
    """The winner with all of the traffic. Raises: NoWinner."""
    arm = {"A": experiment.a, "B": experiment.b}.get(experiment.winner)
    if arm is None:
        raise NoWinner(name=experiment.name, state=experiment.state)
    rows = await store.targets_by_id(session, [arm["target"]])
    return wanted_again(rows[arm["target"]], 100)


def count_of(arm: Mapping[str, Any]) -> Count:
    return Count(arm["hits"], arm["count"])


def threshold_of(experiment: Experiment) -> float:
    """In seconds or tokens; 0 where there is none (yet)."""
    if experiment.bucket is None:
        return 0.0
    edges = EDGES_OF[experiment.metric]
    return round(edges[min(experiment.bucket, len(edges) - 1)], 3)


def _arms(targets: Sequence[Target], named: tuple[str, str]) -> tuple[Target, Target]:
    serving = [target for target in targets if target.weight_percent and target.state not in LEAVING]
    found = [target for name in named for target in serving if target.id == name] if any(named) else serving
    if len({target.id for target in found}) != 2 or len(found) != 2:
        raise NotTwoArms(serving=str(len(serving)))
    return found[0], found[1]


def _arm(target: Target) -> dict[str, Any]:
    shown = {"target": target.id, "variant": target.variant, "upstream_model": target.upstream_model}
    return shown | {"count": 0, "hits": 0}


def _grown(arm: Mapping[str, Any], count: Count) -> dict[str, Any]:
    return {**arm, "count": arm["count"] + count.all, "hits": arm["hits"] + count.bad}


def _counted(experiment: Experiment, tally: Tally) -> Count:
    """Hits are likes, failures, slow or long answers. Nothing is slow or long before the threshold is known."""
    if experiment.metric == "FEEDBACK":
        return Count(tally.liked, tally.liked + tally.disliked)
    if experiment.metric == "ERRORS":
        return Count(tally.outcomes.failed, tally.outcomes.all)
    if experiment.bucket is None:
        return Count()
    counts = _histogram(experiment.metric, tally)
    return Count(sum(counts[experiment.bucket + 1 :]), sum(counts))


def _learn_threshold(experiment: Experiment, both: Sequence[News]) -> None:
    """The median of what both answered, once there is enough of it; only what comes later is counted."""
    if experiment.bucket is not None or experiment.metric not in EDGES_OF:
        return
    counts = _histogram(experiment.metric, both[0].total + both[1].total)
    if sum(counts) >= ENOUGH:
        experiment.bucket = quantile(counts, 0.5)


def _histogram(metric: str, tally: Tally) -> tuple[int, ...]:
    return tally.outcomes.answered if metric == "LATENCY" else tally.outcomes.lengths


def _nearest(edges: Sequence[float], threshold: float) -> int:
    """By ratio: edges grow by a constant factor."""
    above = min(bisect_left(edges, threshold), len(edges) - 1)
    below = max(above - 1, 0)
    return min((below, above), key=lambda at: abs(math.log(edges[at] / threshold)))


def _remember(session: Session, experiment: Experiment, count: int) -> None:
    point = {"time": session.clock.now().isoformat(), "count": count}
    point |= {"difference": experiment.difference, "low": experiment.low, "high": experiment.high}
    history = experiment.history if len(experiment.history) < POINTS else experiment.history[::2]
    experiment.history = [*history, point]
