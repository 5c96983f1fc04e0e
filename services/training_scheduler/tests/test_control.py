"""Runs that somebody steers, and alarms: over real gRPC, with neighbours that hold and release."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import grpc
from gyre.training_scheduler.v1 import run_pb2, run_report_service_pb2, run_service_pb2
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, STRANGER, VIEWER, eventually, expect_rpc_error
from gyre_trainers.settings import Action
from gyre_trainers.spec import Spec
from sqlalchemy import text

from services.training_scheduler.tests.calls import Command, Run, Workload, create, launched, reached, refusal, worker
from services.training_scheduler.tests.served import create_request
from services.training_scheduler.tests.world import World, put_result

Alarm = run_pb2.Alarm
INJECTED = {
    "attempt": 1,
    "object_store": "file:///objects",
    "report_address": "127.0.0.1:8102",
    "credential_file": "/work/credential",
}


async def training(runs: Any, reports: Any, world: World, **fields: Any) -> tuple[Run, Workload]:
    """A run whose trainer has done three steps of sixty."""
    run = await create(runs, **fields)
    workload = await launched(world, run)
    workload.state, workload.attempt = Workload.STATE_RUNNING, 1
    await beat(reports, run)
    await reached(runs, run, "RUNNING")
    return run, workload


async def beat(reports: Any, run: Run, attempt: int = 1, step: int = 3, resumed: int = 0) -> int:
    request = run_report_service_pb2.HeartbeatRequest(
        name=run.name, attempt=attempt, step=step, total_steps=60, resumed_from_step=resumed
    )
    with acting_as(worker(run, attempt)):
        return int((await reports.Heartbeat(request)).command)


async def save(reports: Any, world: World, run: Run, step: int = 50) -> str:
    """A checkpoint in the store and on record; returns its URI."""
    key = f"runs/{run.name.rsplit('/', 1)[-1]}/1/checkpoint-{step}"
    assert world.store is not None
    await world.store.put(f"{key}/adapter_model.safetensors", b"weights")
    await world.store.put(f"{key}/manifest.json", b"{}")
    request = run_report_service_pb2.ReportCheckpointRequest(
        name=run.name, attempt=1, step=step, uri=f"gyre://{key}", digest="sha256:" + "c" * 64, size_bytes=9
    )
    with acting_as(worker(run)):
        await reports.ReportCheckpoint(request)
    return f"gyre://{key}"


async def events_of(context: Context, run: Run) -> list[str]:
    async with context.db.transaction() as session:
        query = text("SELECT type FROM training_scheduler.outbox WHERE subject = :run ORDER BY id")
        rows = await session.execute(query, {"run": run.name})
        return [str(row[0]).rsplit(".", 1)[-1] for row in rows]


async def test_a_paused_run_gives_its_cards_back_and_goes_on_when_it_is_resumed(
    up: Any, runs: Any, reports: Any, world: World
) -> None:
    world.holding.add("stop")
    run, workload = await training(runs, reports, world)
    with acting_as(ENGINEER):
        await runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name))
        await runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name))

    async def asked() -> bool:
        return workload.state == Workload.STATE_STOPPING

    await eventually(asked, seconds=10)
    assert await beat(reports, run) == Command.COMMAND_CONTINUE  # the launcher's signal asks it to leave
    assert (await reached(runs, run, "PAUSING")).step == 3
    workload.state, workload.waiting_reason = Workload.STATE_QUEUED, "HELD"  # the stop is confirmed
    paused = await reached(runs, run, "PAUSED")
    assert (workload.held, paused.waiting_reason) == (True, "")
    with acting_as(ENGINEER):
        await runs.ResumeRun(run_service_pb2.ResumeRunRequest(name=run.name))

    async def released() -> bool:
        return not workload.held

    await eventually(released, seconds=10)
    workload.state, workload.attempt = Workload.STATE_RUNNING, 2
    await beat(reports, run, attempt=2, step=3, resumed=3)
    assert (await reached(runs, run, "RUNNING")).resumed_from_step == 3
    assert await events_of(up[1], run) == ["RunQueued", "RunStarted", "RunPaused", "RunResumed", "RunStarted"]


async def test_a_run_can_be_paused_before_it_has_a_workload_and_none_is_made(runs: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(ENGINEER):
        await runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name))
    await reached(runs, run, "PAUSED")
    assert all(workload.held for workload in world.workloads.values())
    with acting_as(ENGINEER):
        await runs.ResumeRun(run_service_pb2.ResumeRunRequest(name=run.name))
    world.auto = True
    assert (await reached(runs, run, "SUCCEEDED")).stopped_early is False


async def test_what_an_operator_holds_stays_held(runs: Any, reports: Any, world: World) -> None:
    run, workload = await training(runs, reports, world)
    workload.state, workload.held, workload.waiting_reason = Workload.STATE_QUEUED, True, "HELD"
    await reached(runs, run, "QUEUED")
    before = world.calls["GetWorkload"]

    async def looked_again() -> bool:
        return world.calls["GetWorkload"] > before + 3

    await eventually(looked_again, seconds=10)
    assert workload.held
    assert world.calls["ReleaseWorkload"] == 0


async def test_a_run_that_ends_before_the_pause_reaches_it_has_ended(runs: Any, reports: Any, world: World) -> None:
    run, workload = await training(runs, reports, world)
    await world.finish_workload(workload.name)
    with acting_as(ENGINEER):
        await runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name))
    await reached(runs, run, "SUCCEEDED")


async def test_a_stopped_run_keeps_what_it_learnt(up: Any, runs: Any, reports: Any, world: World) -> None:
    run, workload = await training(runs, reports, world)
    with acting_as(ENGINEER):
        await runs.StopRun(run_service_pb2.StopRunRequest(name=run.name))
    assert await beat(reports, run) == Command.COMMAND_FINISH
    digest = await put_result(world.store, run.name, 1, steps=4)
    uri = f"gyre://runs/{run.name.rsplit('/', 1)[-1]}/1/manifest.json"
    done = run_report_service_pb2.CompleteRunRequest(
        name=run.name, attempt=1, manifest_uri=uri, manifest_digest=digest, steps=4
    )
    with acting_as(worker(run)):
        await reports.CompleteRun(done)
    workload.state = Workload.STATE_FINISHED
    ended = await reached(runs, run, "SUCCEEDED")
    assert (ended.stopped_early, ended.step, ended.total_steps) == (True, 4, 4)
    assert ended.output_uri.endswith("/1")


async def test_a_paused_run_is_stopped_by_way_of_its_last_checkpoint(runs: Any, reports: Any, world: World) -> None:
    run, workload = await training(runs, reports, world)
    with acting_as(ENGINEER):
        await runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name))
    await reached(runs, run, "PAUSED")
    stop = run_service_pb2.StopRunRequest(name=run.name)
    assert await refusal(runs.StopRun(stop), grpc.StatusCode.FAILED_PRECONDITION) == "NOTHING_LEARNT"
    await save(reports, world, run)
    with acting_as(ENGINEER):
        await runs.StopRun(stop)

    async def released() -> bool:
        return not workload.held

    await eventually(released, seconds=10)
    workload.state, workload.attempt = Workload.STATE_RUNNING, 2
    assert await beat(reports, run, attempt=2, step=50, resumed=50) == Command.COMMAND_FINISH


async def test_a_run_that_is_cancelled_neither_pauses_nor_stops(runs: Any, reports: Any, world: World) -> None:
    world.holding.add("stop")
    run, workload = await training(runs, reports, world)
    with acting_as(ENGINEER):
        await runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name))
    for call, reason in (
        (runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name)), "CANNOT_PAUSE"),
        (runs.ResumeRun(run_service_pb2.ResumeRunRequest(name=run.name)), "CANNOT_RESUME"),
        (runs.StopRun(run_service_pb2.StopRunRequest(name=run.name)), "CANNOT_STOP"),
    ):
        assert await refusal(call, grpc.StatusCode.FAILED_PRECONDITION) == reason
    workload.state = Workload.STATE_CANCELLED
    await reached(runs, run, "CANCELLED")
    pause = runs.PauseRun(run_service_pb2.PauseRunRequest(name=run.name))
    assert await refusal(pause, grpc.StatusCode.FAILED_PRECONDITION) == "ALREADY_ENDED"


async def test_a_fork_begins_with_a_copy_of_the_checkpoint_and_its_own_settings(
    runs: Any, reports: Any, world: World
) -> None:
    run, _ = await training(runs, reports, world)
    await save(reports, world, run, step=40)
    await save(reports, world, run, step=50)
    wanted = run_pb2.Hyperparameters(learning_rate=1e-5)
    request = run_service_pb2.ForkRunRequest(name=run.name, step=40, hyperparameters=wanted, request_id="once")
    with acting_as(ENGINEER):
        fork, again = await runs.ForkRun(request), await runs.ForkRun(request)
    assert fork.name == again.name != run.name
    assert fork.forked_from == f"{run.name}/checkpoints/40"
    assert (fork.spec.hyperparameters.learning_rate, fork.spec.hyperparameters.lora_rank) == (1e-5, 8)
    name = fork.name.replace("/runs/", "/workloads/")

    async def launched() -> bool:
        return name in world.workloads

    await eventually(launched, seconds=10)
    spec = Spec.model_validate(json.loads(world.workloads[name].spec.spec_json) | INJECTED)
    assert spec.begin_from is not None
    own = f"runs/{fork.name.rsplit('/', 1)[-1]}/begin"
    assert (spec.begin_from.uri, spec.begin_from.digest) == (f"gyre://{own}", "sha256:" + "c" * 64)
    assert world.store is not None
    assert await world.store.list(own) == [f"{own}/adapter_model.safetensors", f"{own}/manifest.json"]


async def test_what_cannot_be_forked_is_refused(runs: Any, reports: Any, world: World) -> None:
    run, _ = await training(runs, reports, world)
    none = runs.ForkRun(run_service_pb2.ForkRunRequest(name=run.name))
    assert await refusal(none, grpc.StatusCode.NOT_FOUND) == "CHECKPOINT_NOT_FOUND"
    uri = await save(reports, world, run)
    other_rank = run_pb2.Hyperparameters(lora_rank=16)
    other = runs.ForkRun(run_service_pb2.ForkRunRequest(name=run.name, hyperparameters=other_rank))
    assert await refusal(other, grpc.StatusCode.INVALID_ARGUMENT) == "BAD_HYPERPARAMETER"
    assert world.store is not None
    await world.store.delete([f"{uri.removeprefix('gyre://')}/manifest.json"])
    gone = runs.ForkRun(run_service_pb2.ForkRunRequest(name=run.name))
    assert await refusal(gone, grpc.StatusCode.FAILED_PRECONDITION) == "CHECKPOINT_GONE"
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await runs.ForkRun(run_service_pb2.ForkRunRequest(name=run.name))


def alarm_of(run: Run, **fields: Any) -> run_report_service_pb2.ReportAlarmRequest:
    values = {"kind": Alarm.KIND_DIVERGENCE, "action": Alarm.ACTION_STOP, "step": 30} | fields
    return run_report_service_pb2.ReportAlarmRequest(name=run.name, attempt=1, values={"value": 9.0}, **values)


async def test_an_alarm_is_kept_once_counted_and_told(up: Any, runs: Any, reports: Any, world: World) -> None:
    run, _ = await training(runs, reports, world)
    quiet = {"kind": Alarm.KIND_CHECKPOINT_NOT_WRITTEN, "action": Alarm.ACTION_WARN, "detail": "x" * 900}
    with acting_as(worker(run)):
        for _ in range(2):
            await reports.ReportAlarm(alarm_of(run, **quiet))
    with acting_as(VIEWER):
        found = await runs.ListAlarms(run_service_pb2.ListAlarmsRequest(parent=run.name))
    (alarm,) = found.alarms
    assert alarm.name == f"{run.name}/alarms/1-30-checkpoint-not-written"
    assert (alarm.kind, alarm.values["value"], len(alarm.detail)) == (quiet["kind"], 9.0, 500)
    assert (await events_of(up[1], run)).count("RunAlarmed") == 1
    labels = {"kind": "CHECKPOINT_NOT_WRITTEN", "action": "WARN"}
    assert up[1].metrics.registry.get_sample_value("gyre_training_alarms_total", labels) == 1


async def test_a_run_that_its_health_ended_says_so(runs: Any, reports: Any, world: World) -> None:
    run, workload = await training(runs, reports, world)
    with acting_as(worker(run)):
        await reports.ReportAlarm(alarm_of(run))
    workload.state, workload.failure_reason = Workload.STATE_FAILED, "BAD_SPEC"
    assert (await reached(runs, run, "FAILED")).failure_reason == "DIVERGENCE"


async def test_the_rules_that_were_chosen_reach_the_trainer_and_the_others_take_its_defaults(
    runs: Any, reports: Any, world: World
) -> None:
    rules = run_pb2.Health(divergence=Alarm.ACTION_ROLL_BACK, divergence_ratio=3.5)
    _, workload = await training(runs, reports, world, health=rules)
    spec = Spec.model_validate(json.loads(workload.spec.spec_json) | INJECTED)
    assert (spec.health.divergence, spec.health.divergence_ratio) == (Action.ROLL_BACK, 3.5)
    assert spec.health.loss_spike is Action.WARN
    bad = runs.CreateRun(create_request(health=run_pb2.Health(divergence_ratio=0.5)))
    assert await refusal(bad, grpc.StatusCode.INVALID_ARGUMENT) == "BAD_HYPERPARAMETER"


async def test_the_remaining_time_has_bounds_that_widen_with_uneven_steps(
    runs: Any, reports: Any, world: World
) -> None:
    run, _ = await training(runs, reports, world)

    async def bounds(seconds: list[int]) -> timedelta:
        points, at = [], 1_700_000_000
        for step, each in enumerate(seconds, start=1):
            at += each
            point = run_pb2.MetricPoint(step=step, metrics={"loss": 1.0})
            point.time.FromSeconds(at)
            points.append(point)
        request = run_report_service_pb2.ReportMetricsRequest(name=run.name, attempt=1, points=points)
        with acting_as(worker(run)):
            await reports.ReportMetrics(request)
        await beat(reports, run, step=4)
        with acting_as(VIEWER):
            now = await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        assert now.HasField("eta") and now.eta_low.ToTimedelta() <= now.eta.ToTimedelta() <= now.eta_high.ToTimedelta()
        width: timedelta = now.eta_high.ToTimedelta() - now.eta.ToTimedelta()
        return width

    assert await bounds([2] * 10) == timedelta()
    assert await bounds([1, 3] * 5) > timedelta(seconds=10)


async def test_what_a_model_answers_while_it_learns_is_kept_with_its_run(
    runs: Any, reports: Any, world: World, up: Any
) -> None:
    run, _ = await training(runs, reports, world)

    async def say(step: int, answer: str, attempt: int = 1) -> None:
        request = run_report_service_pb2.ReportSampleRequest(
            name=run.name, attempt=attempt, step=step, number=1, prompt="Where?", expected="Here.", answer=answer
        )
        with acting_as(worker(run, attempt)):
            await reports.ReportSample(request)

    await say(0, "Wh\0at?")
    await say(50, "There.")
    await say(50, "Here!" + "!" * 5000)  # an attempt that goes on from before says it again
    request = run_service_pb2.ListSamplesRequest(parent=run.name)
    with acting_as(ENGINEER):
        found = await runs.ListSamples(request)
    assert [(it.step, it.number, it.answer[:5]) for it in found.samples] == [(0, 1, "Wh\ufffdat"), (50, 1, "Here!")]
    assert len(found.samples[1].answer) == 4000
    assert {(it.prompt, it.expected) for it in found.samples} == {("Where?", "Here.")}
    assert "RunSampled" not in await events_of(up[1], run)
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await runs.ListSamples(request)
    with acting_as(worker(run, 2)):
        await reports.Heartbeat(
            run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=2, step=1, total_steps=60)
        )
    async with expect_rpc_error(grpc.StatusCode.ABORTED):
        await say(60, "Late.")
