"""Replicas of a target: how many there are, what becomes of those that end, and how a target sleeps and wakes."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from gyre_kit import resources
from gyre_kit.db import Session
from gyre_kit.errors import NotFound
from gyre_kit.testing import PROJECT

from services.inference_gateway import routes, service, store
from services.inference_gateway.models.deployments import (
    Deployment,
    DeploymentState,
    Replica,
    ReplicaState,
    Target,
    TargetState,
)
from services.inference_gateway.proxy import snapshot
from services.inference_gateway.replicas import service as replicas
from services.inference_gateway.replicas.scaling import Bounds
from services.inference_gateway.replicas.service import Look, Seen
from services.inference_gateway.targets import Wanted

READY = Seen(ReplicaState.READY, "127.0.0.1:9000")
FAILED = Seen(
    ReplicaState.FAILED, "", "ATTEMPTS_EXHAUSTED", "Attempt 5 ended with exit code 1. Its last words: no room"
)


def variant(number: int, percent: int = 100) -> Wanted:
    version = f"projects/{PROJECT}/models/many/versions/{number}"
    return Wanted(percent, "LLAMA_CPP", variant=f"{version}/variants/q8-0", model_version=version)


async def target_of(session: Session, deployment: Deployment) -> Target:
    """The newest."""
    return (await store.targets_of(session, deployment.name))[-1]


async def rows_of(session: Session, deployment: Deployment) -> list[Replica]:
    target = await target_of(session, deployment)
    return (await store.replicas_of(session, [target.id]))[target.id]


async def see(session: Session, deployment: Deployment, *seen: Seen, wanted: int | None = None) -> list[Replica]:
    """Replicas of the newest target in their order, and how many there should be."""
    found = {row.id: each for row, each in zip(await rows_of(session, deployment), seen, strict=False)}
    sizes = {} if wanted is None else {(await target_of(session, deployment)).id: wanted}
    await service.apply(session, deployment, {}, look=Look(found, sizes))
    await service.apply(session, deployment, {}, look=Look(found, sizes), in_force=True)
    return await rows_of(session, deployment)


async def serving(session: Session, bounds: Bounds) -> Deployment:
    """With as many replicas as it has to have, all of which answer."""
    deployment = await service.create(session, PROJECT, "many", [variant(1)], scale=bounds)
    rows = await see(session, deployment)
    await see(session, deployment, *[Seen(ReplicaState.READY, f"127.0.0.1:900{n}") for n in range(len(rows))])
    return deployment


async def engines(session: Session, deployment: Deployment) -> list[snapshot.Target]:
    shown = await store.all_routes(session)
    mine = [(row, targets) for row, targets in shown if row.name == deployment.name]
    rows = await store.replicas_of(session, [target.id for _, targets in mine for target in targets])
    made = routes.make(1, [], [], mine, replicas=rows)
    return list(made.deployments[PROJECT, "many"].targets)


async def test_each_replica_has_a_workload_of_its_own_and_an_equal_part_of_the_traffic(session: Session) -> None:
    deployment = await serving(session, Bounds(3, 3))
    rows, target = await rows_of(session, deployment), await target_of(session, deployment)
    assert len({row.workload for row in rows}) == 3
    found = await engines(session, deployment)
    assert [(each.id, each.target) for each in found] == [(row.id, target.id) for row in rows]
    assert [each.weight for each in found] == pytest.approx([100 / 3] * 3)


async def test_one_replica_of_two_that_is_away_is_asked_last_and_the_other_has_all_the_weight(session: Session) -> None:
    deployment = await serving(session, Bounds(2, 2))
    await see(session, deployment, Seen(ReplicaState.STARTING), READY)
    away, other = await engines(session, deployment)
    assert (away.state, other.state) == (snapshot.TargetState.UNHEALTHY, snapshot.TargetState.READY)
    assert other.weight == 100
    assert (await target_of(session, deployment)).state == TargetState.READY


async def test_more_are_made_and_those_too_many_drain_what_does_not_answer_first(session: Session) -> None:
    deployment = await serving(session, Bounds(1, 3))
    rows = await see(session, deployment, READY, wanted=3)
    assert [row.state for row in rows] == ["READY", "PENDING", "PENDING"]
    rows = await see(session, deployment, READY, READY, Seen(ReplicaState.STARTING))
    rows = await see(session, deployment, wanted=2)
    assert [row.state for row in rows] == ["READY", "READY", "DRAINING"]
    rows = await see(session, deployment, wanted=1)
    assert sorted(row.state for row in rows) == ["DRAINING", "DRAINING", "READY"]
    assert all(row.drain_time for row in rows if row.state == ReplicaState.DRAINING)


async def test_a_replica_that_ended_is_started_anew_by_another_workload_after_a_pause_that_doubles(
    session: Session,
) -> None:
    deployment = await serving(session, Bounds(2, 2))
    (row, other) = await rows_of(session, deployment)
    pauses = []
    for _ in range(9):
        before = row.workload
        await see(session, deployment, FAILED, READY)
        assert (row.state, row.failure_message) == (ReplicaState.FAILED, FAILED.failure_message)
        assert row.retry_time is not None
        pauses.append((row.retry_time - session.clock.now()).total_seconds())
        assert len(await rows_of(session, deployment)) == 2  # it is not replaced by a third
        row.retry_time = session.clock.now()
        await see(session, deployment)
        assert (row.state, row.workload != before) == (ReplicaState.PENDING, True)
    assert pauses == pytest.approx([10, 20, 40, 80, 160, 320, 600, 600, 600], abs=1)
    assert other.state == ReplicaState.READY
    row.failures = 9
    await see(session, deployment, READY, READY)
    row.ready_time = session.clock.now() - timedelta(minutes=2)
    await see(session, deployment, FAILED, READY)
    assert row.failures == 1  # it had served for long


async def test_a_version_that_never_answers_fails_for_good_and_says_why(session: Session) -> None:
    deployment = await service.create(session, PROJECT, "many", [variant(1)])
    await see(session, deployment)
    (row,) = await see(session, deployment, FAILED)
    assert row.retry_time is None
    assert (deployment.state, deployment.failure_message) == (DeploymentState.FAILED, FAILED.failure_message)


async def test_a_target_nobody_asks_sleeps_and_a_request_wakes_it_without_a_change_of_its_deployment(
    session: Session,
) -> None:
    deployment = await serving(session, Bounds(0, 2, idle_seconds=60))
    (row,) = await see(session, deployment, wanted=0)
    target = await target_of(session, deployment)
    assert (target.state, row.state) == (TargetState.ASLEEP, ReplicaState.DRAINING)
    draining, asleep = await engines(session, deployment)
    assert (draining.state, asleep.state) == (snapshot.TargetState.DRAINING, snapshot.TargetState.ASLEEP)
    assert (asleep.id, asleep.weight) == (target.id, 100)

    assert await replicas.wake(session, target.id)
    assert not await replicas.wake(session, target.id)  # it is on its way
    assert (await engines(session, deployment))[-1].state is snapshot.TargetState.ASLEEP
    await see(session, deployment, wanted=0)  # decided before it was woken
    assert (target.state, target.replicas, deployment.state) == (TargetState.PENDING, 1, DeploymentState.READY)
    await see(session, deployment, Seen(ReplicaState.STOPPED), READY)
    (awake,) = await engines(session, deployment)
    assert (awake.state, target.state) == (snapshot.TargetState.READY, TargetState.READY)
    assert target.cold_start_seconds >= 0 and target.wake_time is not None


async def test_a_target_that_sleeps_is_ready_for_a_rollout_and_wakes_for_its_sessions_when_it_is_replaced(
    session: Session,
) -> None:
    deployment = await serving(session, Bounds(0, 1, idle_seconds=60))
    await see(session, deployment, wanted=0)
    old = await target_of(session, deployment)
    await service.shift(session, deployment.name, [variant(2)])
    await see(session, deployment)
    await see(session, deployment, READY)
    assert (old.state, old.weight_percent, old.standby_time is not None) == (TargetState.ASLEEP, 0, True)
    assert await replicas.wake(session, old.id)
    await service.roll_back(session, deployment.name)
    assert (old.weight_percent, old.standby_time) == (100, None)


async def test_bounds_hold_at_once_and_for_what_comes_later(session: Session) -> None:
    deployment = await serving(session, Bounds(1, 1))
    await service.scale(session, deployment.name, Bounds(2, 4))
    assert [row.state for row in await see(session, deployment)] == ["READY", "PENDING"]
    await see(session, deployment, READY, READY, wanted=3)
    await service.shift(session, deployment.name, [variant(2)])
    assert len(await see(session, deployment)) == 3  # the new version begins with as many as the old one has
    await service.scale(session, deployment.name, Bounds(1, 1))
    assert sorted(row.state for row in await see(session, deployment)) == ["DRAINING", "DRAINING", "PENDING"]


async def test_a_new_version_gets_traffic_when_none_of_its_replicas_loads_any_more_though_one_may_find_no_room(
    session: Session,
) -> None:
    deployment = await serving(session, Bounds(3, 3))
    await service.shift(session, deployment.name, [variant(2)])
    await see(session, deployment)
    await see(session, deployment, READY, Seen(ReplicaState.STARTING), Seen(ReplicaState.PENDING))
    new = await target_of(session, deployment)
    assert (new.state, new.weight_percent) == (TargetState.STARTING, 0)
    await see(session, deployment, READY, READY, Seen(ReplicaState.PENDING))
    assert (new.state, new.weight_percent) == (TargetState.READY, 100)
    await see(session, deployment, READY, Seen(ReplicaState.STARTING), Seen(ReplicaState.PENDING))
    assert new.state == TargetState.READY  # later, the best of them counts


async def test_another_project_finds_no_replica(session: Session) -> None:
    deployment = await serving(session, Bounds(1, 1))
    (row,) = await rows_of(session, deployment)
    await session.flush()
    await session.execute(sa.text("SELECT set_config('gyre.project', 'stranger', true)"))
    with pytest.raises(NotFound):
        await resources.get(session, Replica, row.name)
    assert await store.replicas_of(session, [row.target]) == {}


async def test_what_sleeps_wakes_when_it_may_do_so_no_more(session: Session) -> None:
    deployment = await serving(session, Bounds(0, 1))
    await see(session, deployment, wanted=0)
    await service.scale(session, deployment.name, Bounds(1, 1))
    assert [row.state for row in await rows_of(session, deployment)] == ["DRAINING", "PENDING"]


async def test_a_deleted_deployment_drains_its_replicas_and_stops_when_they_have(session: Session) -> None:
    deployment = await serving(session, Bounds(2, 2))
    await service.delete(session, deployment.name, "")
    rows = await see(session, deployment)
    assert {row.state for row in rows} == {ReplicaState.DRAINING}
    assert set(await store.leaving(session)) >= {row.id for row in rows}
    assert await see(session, deployment, *[Seen(ReplicaState.STOPPED)] * 2) == []
