from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from gyre_kit.auth import Identity, Role
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT, ManualClock, outbox_of

from services.training_scheduler import pace, reports, service, store
from services.training_scheduler.models import Run, RunState
from services.training_scheduler.service import Output, Seen

NAME = f"projects/{PROJECT}/runs/01JRUN"
WORKER = Identity(subject=NAME, project=PROJECT, role=Role.WORKER, workload=f"projects/{PROJECT}/workloads/01JRUN")
SPEC = {
    "method": "SFT",
    "base": "projects/acme/models/m/versions/1",
    "datasets": ["projects/acme/datasets/d/versions/1"],
}
NEW = service.NewRun(
    name=NAME,
    project=PROJECT,
    display_name="a run",
    created_by="keys/engineer",
    request_id="",
    pipeline="",
    spec=SPEC | {"seed": "7", "max_attempts": 5, "hyperparameters": {}},
    inputs={},
    base_version="projects/acme/models/m/versions/1",
    base_parameters=1000,
    estimate={"steps": 60},
    requests={"cpu_milli": 1500, "memory_bytes": 1, "gpu": 0},
    pins=[],
)
RESULT = Output(uri=f"gyre://runs/01JRUN/{1}", digest="sha256:ab", steps=60, metrics={"loss": 0.2})


@pytest.fixture
async def run(session: Session) -> Run:
    return await service.accept(session, NEW)


async def beat(session: Session, attempt: int = 1, step: int = 0, total: int = 60, resumed: int = 0) -> Run:
    worker = replace(WORKER, attempt=attempt)
    return await reports.heartbeat(
        session, NAME, attempt, step=step, total_steps=total, resumed_from_step=resumed, by=worker
    )


async def test_a_run_is_queued_with_its_event_and_waits_with_a_reason(session: Session, run: Run) -> None:
    await service.follow(session, run, Seen("QUEUED", waiting_reason="NO_FREE_CPU"), None)
    assert (run.state, run.waiting_reason) == (RunState.QUEUED, "NO_FREE_CPU")
    assert await outbox_of(session) == [("RunQueued", NAME)]


async def test_a_trainer_that_still_loads_has_not_started(session: Session, run: Run) -> None:
    await service.follow(session, run, Seen("STARTING", attempt=1), None)
    await beat(session, total=0)
    assert run.state == RunState.STARTING
    await beat(session, step=0, total=60)
    assert run.state == RunState.RUNNING
    assert await outbox_of(session) == [("RunQueued", NAME), ("RunStarted", NAME)]


async def test_each_attempt_starts_once(session: Session, run: Run) -> None:
    for step in (0, 1, 2):
        await beat(session, step=step)
    await beat(session, attempt=2, step=50, resumed=50)
    assert (run.attempt, run.resumed_from_step, run.step) == (2, 50, 50)
    assert [kind for kind, _ in await outbox_of(session)] == ["RunQueued", "RunStarted", "RunStarted"]


async def test_a_lower_attempt_than_the_highest_seen_is_turned_away(session: Session, run: Run) -> None:
    await beat(session, attempt=2)
    with pytest.raises(reports.StaleAttempt):
        await beat(session, attempt=1)
    with pytest.raises(reports.StaleAttempt):
        await reports.report_metrics(session, NAME, 1, [], by=replace(WORKER, attempt=1))


async def test_an_attempt_that_the_scheduler_has_replaced_is_turned_away(session: Session, run: Run) -> None:
    await beat(session, attempt=1)
    await service.follow(session, run, Seen("STARTING", attempt=2), None)
    assert run.state == RunState.STARTING
    with pytest.raises(reports.StaleAttempt):
        await beat(session, attempt=1)


@pytest.mark.parametrize(
    "by",
    [
        replace(WORKER, subject=f"projects/{PROJECT}/runs/ANOTHER", attempt=1),
        replace(WORKER, attempt=2),
        Identity(subject=NAME, project=PROJECT, role=Role.ADMIN, attempt=1),
    ],
)
async def test_a_token_for_another_run_or_attempt_opens_nothing(session: Session, run: Run, by: Identity) -> None:
    with pytest.raises(service.WrongRun):
        await reports.heartbeat(session, NAME, 1, step=1, total_steps=2, resumed_from_step=0, by=by)


async def test_points_are_kept_once_and_a_later_attempt_replaces_them(session: Session, run: Run) -> None:
    first, now = replace(WORKER, attempt=1), session.clock.now()
    await reports.report_metrics(session, NAME, 1, [(1, now, {"loss": 4.0}), (2, now, {"loss": 3.0})], by=first)
    await reports.report_metrics(session, NAME, 1, [(2, now, {"loss": 3.0, "extra": 1.0})], by=first)
    await reports.report_metrics(session, NAME, 2, [(2, now, {"loss": 2.5})], by=replace(WORKER, attempt=2))
    found = await store.points(session, NAME, after_step=-1, limit=10)
    assert [(it.step, it.attempt, it.metrics) for it in found] == [(1, 1, {"loss": 4.0}), (2, 2, {"loss": 2.5})]
    assert (run.loss, run.metrics) == (2.5, {"loss": 2.5, "extra": 1.0})


async def test_two_reports_of_one_step_in_one_call_are_joined(session: Session, run: Run) -> None:
    now = session.clock.now()
    points = [(3, now, {"loss": 1.0}), (3, now, {"grad_norm": 2.0})]
    await reports.report_metrics(session, NAME, 1, points, by=replace(WORKER, attempt=1))
    assert (await store.points(session, NAME, after_step=0, limit=10))[0].metrics == {"loss": 1.0, "grad_norm": 2.0}


async def test_a_checkpoint_is_a_fact_once_for_each_attempt(session: Session, run: Run) -> None:
    async def report(attempt: int) -> str:
        worker = replace(WORKER, attempt=attempt)
        uri = f"gyre://runs/01JRUN/{attempt}/checkpoint-50"
        saved = await reports.report_checkpoint(
            session, NAME, attempt, step=50, uri=uri, digest="sha256:ab", size_bytes=9, by=worker
        )
        return saved.uri

    assert await report(1) == await report(1)
    assert (await report(2)).startswith("gyre://runs/01JRUN/2/")
    assert [kind for kind, _ in await outbox_of(session)] == ["RunQueued", "RunCheckpointed", "RunCheckpointed"]


async def test_what_the_trainer_dropped_is_no_longer_offered(session: Session, run: Run) -> None:
    async def report(step: int, attempt: int, *kept: int) -> None:
        uri, worker = f"gyre://runs/01JRUN/{attempt}/checkpoint-{step}", replace(WORKER, attempt=attempt)
        await reports.report_checkpoint(
            session, NAME, attempt, step=step, uri=uri, digest="sha256:ab", size_bytes=9, by=worker, kept_steps=kept
        )

    await report(10, 1, 10)
    await report(20, 2, 20)
    await report(30, 2, 20, 30)
    await report(40, 2, 30, 40)
    found = await store.checkpoint_page(session, NAME, page_size=10, page_token="")
    assert [checkpoint.step for checkpoint in found.rows] == [10, 30, 40]


async def test_an_attempt_may_not_point_outside_its_own_folder(session: Session, run: Run) -> None:
    with pytest.raises(reports.ManifestOutsidePrefix):
        await reports.report_checkpoint(
            session, NAME, 1, step=1, uri="gyre://runs/OTHER/1/checkpoint-1", digest="", size_bytes=0,
            by=replace(WORKER, attempt=1),
        )  # fmt: skip


async def test_the_remaining_time_follows_the_speed_of_this_attempt(
    session: Session, run: Run, clock: ManualClock
) -> None:
    await beat(session, step=0)
    assert pace.remaining(run, clock.now()) is None
    clock.advance(seconds=30)  # loading does not count
    await beat(session, step=1)
    clock.advance(seconds=20)
    await beat(session, step=11)
    assert pace.remaining(run, clock.now()) == pace.Remaining(timedelta(seconds=98))


async def test_a_run_succeeds_exactly_when_its_workload_finished_and_the_manifest_is_good(
    session: Session, run: Run
) -> None:
    await beat(session)
    await reports.complete(session, NAME, 1, digest="sha256:ab", steps=60, metrics={}, by=replace(WORKER, attempt=1))
    assert run.state == RunState.RUNNING
    await service.follow(session, run, Seen("FINISHED", attempt=1, cost_microusd=7), RESULT)
    assert (run.state, run.output_digest, run.cost_microusd) == (RunState.SUCCEEDED, "sha256:ab", 7)
    assert (await outbox_of(session))[-1] == ("RunSucceeded", NAME)


async def test_a_finished_workload_without_a_good_manifest_is_a_failed_run(session: Session, run: Run) -> None:
    await service.follow(session, run, Seen("FINISHED", attempt=1), Output(fault="DIGEST_MISMATCH", message="changed"))
    assert (run.state, run.failure_reason) == (RunState.FAILED, "DIGEST_MISMATCH")


async def test_a_preempted_run_waits_again_and_its_next_attempt_starts(session: Session, run: Run) -> None:
    await beat(session)
    await service.follow(session, run, Seen("QUEUED", attempt=1, waiting_reason="PREEMPTED"), None)
    assert (run.state, run.waiting_reason) == (RunState.QUEUED, "PREEMPTED")
    await beat(session, attempt=2, step=5, resumed=5)
    assert run.state == RunState.RUNNING


@pytest.mark.parametrize("begun", [False, True])
async def test_a_cancelled_run_ends_when_the_stop_is_confirmed(session: Session, run: Run, begun: bool) -> None:
    if begun:
        await beat(session)
    await service.cancel(session, NAME)
    assert run.state == RunState.CANCELLING
    assert reports.must_stop(run)
    await service.follow(session, run, Seen("STOPPING", attempt=1), None)
    assert run.state == RunState.CANCELLING
    await service.follow(session, run, Seen("CANCELLED", attempt=1), None)
    assert run.state == RunState.CANCELLED
    assert (await outbox_of(session))[-1] == ("RunCancelled", NAME)
    with pytest.raises(service.AlreadyEnded):
        await service.cancel(session, NAME)


async def test_a_run_that_was_done_before_the_stop_reached_it_succeeds(session: Session, run: Run) -> None:
    await beat(session)
    await service.cancel(session, NAME)
    await service.follow(session, run, Seen("FINISHED", attempt=1), RESULT)
    assert run.state == RunState.SUCCEEDED


async def test_a_trainer_of_an_ended_run_is_told_to_stop(session: Session, run: Run) -> None:
    await service.follow(session, run, Seen("FAILED", attempt=1, failure_reason="OUT_OF_MEMORY"), None)
    assert reports.must_stop(await beat(session))
    assert (run.state, run.failure_reason) == (RunState.FAILED, "OUT_OF_MEMORY")
