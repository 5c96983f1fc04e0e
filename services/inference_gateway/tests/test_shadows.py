"""A shadow comes up beside what serves, changes nothing of it, and is reported on."""

from __future__ import annotations

import math

import pytest
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.testing import PROJECT

from services.inference_gateway import routes, service, store
from services.inference_gateway.comparing import shadows
from services.inference_gateway.models.deployments import DeploymentState, Replica, ReplicaState, Target, TargetState
from services.inference_gateway.models.projects import KnownProject
from services.inference_gateway.proxy.records import CompletionRecord
from services.inference_gateway.tests.test_rollouts import see, serving, split, targets, variant

COMPARISON = {"agrees": True, "similarity": 1.0, "length": 10, "shadow_length": 10}
COMPARISON |= {"duration_ms": 100.0, "shadow_duration_ms": 100.0, "failure_reason": ""}


def record(deployment: str, target: str, number: int, **comparison: object) -> CompletionRecord:
    return CompletionRecord(
        id=f"chatcmpl-s{number}",
        project=PROJECT,
        deployment=deployment,
        target=target,
        model_version="",
        variant="",
        api_key=f"projects/{PROJECT}/keys/1",
        messages=[],
        parameters={},
        answer="",
        finish_reason="stop",
        prompt_tokens=1,
        completion_tokens=1,
        total_tokens=2,
        ttft_ms=0.0,
        duration_ms=1.0,
        time=1_767_000_000.0 + number,
        shadow_of=f"chatcmpl-{number}",
        comparison=COMPARISON | comparison,
    )


def replica_of(target: Target) -> Replica:
    return Replica(
        name=f"{target.deployment}/replicas/{target.id}", project=PROJECT, id=target.id, deployment=target.deployment,
        target=target.id, address="127.0.0.1:1", state=ReplicaState.READY,
    )  # fmt: skip


async def test_a_shadow_has_no_share_and_a_failing_one_leaves_the_deployment_ready(session: Session) -> None:
    deployment = await serving(session, 1)
    await shadows.begin(session, deployment, variant(2, 0), 20)
    await see(session, deployment, v2=TargetState.READY)
    assert await split(session, deployment) == {"1": 100}
    targets = await store.targets_of(session, deployment.name)
    replicas = {each.id: [replica_of(each)] for each in targets}
    project = KnownProject(project=PROJECT, active=True, consent_to_keep=True)
    shown = routes.make(1, [], [project], [(deployment, targets)], replicas=replicas)
    described = {each.version: each.shadow_percent for each in shown.deployments[PROJECT, "hotline"].targets}
    assert described == {"1": 0, "2": 20}
    await see(session, deployment, v2=TargetState.FAILED)
    assert (deployment.state, deployment.failure_reason) == (DeploymentState.READY, "")


async def test_its_share_can_be_changed_and_stopping_drains_it(session: Session) -> None:
    deployment = await serving(session, 1)
    first = await shadows.begin(session, deployment, variant(2, 0), 20)
    assert await shadows.begin(session, deployment, variant(2, 0), 50) is first
    assert first.shadow_percent == 50
    await shadows.stop(session, deployment)
    assert (first.state, first.shadow_percent) == (TargetState.DRAINING, 0)


async def test_what_serves_is_no_shadow_of_itself_and_percents_are_bounded(session: Session) -> None:
    deployment = await serving(session, 1)
    with pytest.raises(shadows.ServesAlready):
        await shadows.begin(session, deployment, variant(1, 0), 20)
    for percent in (0, 101):
        with pytest.raises(shadows.BadPercent):
            await shadows.begin(session, deployment, variant(2, 0), percent)


async def test_a_shadow_that_convinced_answers_without_coming_up_again(session: Session) -> None:
    deployment = await serving(session, 1)
    shadow = await shadows.begin(session, deployment, variant(2, 0), 100)
    await see(session, deployment, v2=TargetState.READY)
    await service.shift(session, deployment.name, [variant(2, 100)])
    await see(session, deployment)
    assert await split(session, deployment) == {"2": 100}
    assert (await targets(session, deployment))["2"] is shadow
    assert shadow.shadow_percent == 0


async def test_an_alias_that_moves_to_what_is_in_the_shadow_is_followed_still(session: Session) -> None:
    deployment = await serving(session, 1)
    await shadows.begin(session, deployment, variant(2, 0), 100)
    deployment.alias_variant = variant(2, 0).variant
    await session.flush()
    assert await store.first_behind_its_alias(session) is deployment


async def test_the_report_says_how_alike_how_long_and_how_fast(session: Session) -> None:
    deployment = await serving(session, 1)
    target = await shadows.begin(session, deployment, variant(2, 0), 100)
    pairs = [
        record(deployment.name, target.id, 1),
        record(deployment.name, target.id, 2, agrees=False, similarity=0.5, shadow_length=43, shadow_duration_ms=403),
        record(deployment.name, target.id, 3, agrees=False, similarity=0.0, failure_reason="ConnectFailed"),
    ]
    await shadows.keep(session, pairs)
    await shadows.keep(session, pairs[:1])  # shipped twice, counted once
    (report,) = await shadows.reports(session, deployment.name)
    assert (report.count, report.percent) == (3, 100)
    assert report.error_rate.value == pytest.approx(1 / 3)
    assert (report.agreement.value, report.agreement.count) == (0.5, 2)
    assert report.similarity.value == pytest.approx(0.75)
    assert report.length_ratio.value == pytest.approx(math.sqrt(44 / 11))
    assert report.latency_ratio.value == pytest.approx(math.sqrt(404 / 101))
    assert report.agreement.low < 0.5 < report.agreement.high
    assert await shadows.report(session, report.name) == report


async def test_a_shadow_that_was_stopped_can_still_be_read_if_anything_was_compared(session: Session) -> None:
    deployment = await serving(session, 1)
    used = await shadows.begin(session, deployment, variant(2, 0), 100)
    await shadows.begin(session, deployment, variant(3, 0), 100)
    await shadows.keep(session, [record(deployment.name, used.id, 1)])
    await shadows.stop(session, deployment)
    (report,) = await shadows.reports(session, deployment.name)
    assert (report.name.endswith(used.id), report.percent) == (True, 0)
    with pytest.raises(NotFound):
        await shadows.report(session, f"{deployment.name}/shadows/none")


async def test_the_interval_of_a_rate_stays_between_0_and_1_where_nothing_or_all_was_seen() -> None:
    none, all_ = shadows.share(0, 5), shadows.share(5, 5)
    assert (none.low, all_.high) == (pytest.approx(0.0), pytest.approx(1.0))
    assert 0.3 < none.high < 0.5 and 0.5 < all_.low < 0.7
    assert shadows.share(0, 0).count == 0
