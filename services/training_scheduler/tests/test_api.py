"""A run's life, by its API."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from gyre.model_registry.v1 import version_pb2
from gyre.model_registry.v1.events_pb2 import VersionRegistered
from gyre.training_scheduler.v1 import run_pb2, run_report_service_pb2, run_service_pb2
from gyre.training_scheduler.v1.run_report_service_pb2_grpc import RunReportServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit import events
from gyre_kit.app import Context
from gyre_kit.auth import acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.testing import ENGINEER, STRANGER, VIEWER, eventually, expect_rpc_error

from services.training_scheduler.tests.calls import Command, Run, Workload, create, launched, reached, refusal, worker
from services.training_scheduler.tests.world import World, put_result


async def test_a_run_goes_from_queue_to_result_and_lets_its_inputs_go(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    assert (await reached(runs, run, "QUEUED")).waiting_reason in ("", "NO_FREE_CPU")
    workload.state, workload.attempt = Workload.STATE_RUNNING, 1
    await reached(runs, run, "STARTING")
    with acting_as(worker(run)):
        beat = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1, step=3, total_steps=60)
        reply = await reports.Heartbeat(beat)
        assert reply.command == Command.COMMAND_CONTINUE and reply.token
        point = run_pb2.MetricPoint(step=3, metrics={"loss": 1.5})
        await reports.ReportMetrics(
            run_report_service_pb2.ReportMetricsRequest(name=run.name, attempt=1, points=[point])
        )
    assert (await reached(runs, run, "RUNNING")).loss == 1.5
    await world.finish_workload(workload.name)
    done = await reached(runs, run, "SUCCEEDED")
    assert done.output_uri == f"gyre://runs/{run.name.rsplit('/', 1)[-1]}/1"
    assert done.output_digest.startswith("sha256:") and done.step == 60 and done.cost_microusd == 700

    async def let_go() -> bool:
        return not world.pins[run.name]

    await eventually(let_go, seconds=10)


async def test_a_renewed_token_works_and_is_not_sent_again(up: Any, runs: Any, world: World) -> None:
    run = await create(runs)
    beat = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1)
    with acting_as(worker(run)):
        renewed = (await up[2].stub(RunReportServiceStub).Heartbeat(beat)).token
    async with grpc.aio.insecure_channel(up[1].settings.grpc_address("training_scheduler")) as channel:
        stub = RunReportServiceStub(channel)
        again = await stub.Heartbeat(beat, metadata=[("authorization", f"Bearer {renewed}")])
    assert renewed and again.token == ""


async def test_a_worker_may_do_nothing_but_report_on_itself(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(worker(run)):
        async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
            await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
    other = await create(runs)
    with acting_as(worker(other)):
        async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED) as caught:
            await reports.Heartbeat(run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1))
    assert from_rpc(caught[0]).reason == "WRONG_RUN"


async def test_a_stale_attempt_is_aborted_on_the_wire(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    for attempt in (2, 1):
        with acting_as(worker(run, attempt)):
            request = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=attempt, total_steps=9)
            if attempt == 2:
                await reports.Heartbeat(request)
                continue
            async with expect_rpc_error(grpc.StatusCode.ABORTED) as caught:
                await reports.Heartbeat(request)
    assert from_rpc(caught[0]).reason == "STALE_ATTEMPT"


async def test_a_completion_must_name_the_manifest_that_is_there(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    folder = f"gyre://runs/{run.name.rsplit('/', 1)[-1]}"

    async def complete(uri: str, digest: str) -> str:
        request = run_report_service_pb2.CompleteRunRequest(
            name=run.name, attempt=1, manifest_uri=uri, manifest_digest=digest, steps=60
        )
        with acting_as(worker(run)):
            try:
                await reports.CompleteRun(request)
            except grpc.aio.AioRpcError as error:
                return from_rpc(error).reason
        return ""

    assert await complete(f"{folder}/2/manifest.json", "sha256:00") == "MANIFEST_OUTSIDE_PREFIX"
    assert await complete(f"{folder}/1/manifest.json", "sha256:00") == "MANIFEST_MISSING"
    digest = await put_result(world.store, run.name, 1)
    assert await complete(f"{folder}/1/manifest.json", "sha256:00") == "DIGEST_MISMATCH"
    assert await complete(f"{folder}/1/manifest.json", digest) == ""


@pytest.mark.parametrize("damage", ["no manifest", "another attempt's", "a changed file"])
async def test_a_finished_workload_without_a_whole_result_fails_the_run(runs: Any, world: World, damage: str) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    key = f"runs/{run.name.rsplit('/', 1)[-1]}"
    assert world.store is not None
    if damage == "another attempt's":
        await put_result(world.store, run.name, 1)
    if damage == "a changed file":
        await put_result(world.store, run.name, 2)
        await world.store.put(f"{key}/2/model/model.safetensors", b"other weights")
    workload.state, workload.attempt = Workload.STATE_FINISHED, 2
    failed = await reached(runs, run, "FAILED")
    assert failed.failure_reason == ("DIGEST_MISMATCH" if damage == "a changed file" else "MANIFEST_MISSING")
    assert failed.failure_message


async def test_a_failed_workload_fails_the_run_with_its_reason(runs: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    workload.state, workload.failure_reason = Workload.STATE_FAILED, "OUT_OF_MEMORY"
    assert (await reached(runs, run, "FAILED")).failure_reason == "OUT_OF_MEMORY"


async def test_a_run_in_any_state_can_be_cancelled_and_the_stop_is_waited_for(
    runs: Any, reports: Any, world: World
) -> None:
    world.holding.add("stop")
    run = await create(runs)
    workload = await launched(world, run)
    with acting_as(ENGINEER):
        await runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name))

    async def asked() -> bool:
        return workload.state == Workload.STATE_STOPPING

    await eventually(asked, seconds=10)
    with acting_as(worker(run)):
        beat = run_report_service_pb2.HeartbeatRequest(name=run.name, attempt=1, step=1, total_steps=9)
        assert (await reports.Heartbeat(beat)).command == Command.COMMAND_STOP
    await reached(runs, run, "CANCELLING")
    workload.state = Workload.STATE_CANCELLED
    await reached(runs, run, "CANCELLED")
    assert await refusal(
        runs.CancelRun(run_service_pb2.CancelRunRequest(name=run.name)), grpc.StatusCode.FAILED_PRECONDITION
    ) == "ALREADY_ENDED"  # fmt: skip


async def test_a_lost_reply_of_the_scheduler_makes_no_second_workload(runs: Any, world: World) -> None:
    world.lose = {"EnsureWorkload", "GetWorkload"}
    world.auto = True
    run = await create(runs)
    await reached(runs, run, "SUCCEEDED")
    assert world.made["workload"] == 1


async def published(context: Context, subject: str, event: Any) -> None:
    """`event` on its topic, as another service's relay would send it."""
    sent = events.envelope(subject, event, context.clock.now())
    component = events.component_of(event.DESCRIPTOR)
    await context.broker.ensure_topics(component)
    producer = context.broker.producer()
    await producer.start()
    try:
        headers = [(name, value.encode()) for name, value in sent.headers.items()]
        await producer.send_and_wait(f"gyre.{component}", key=subject.encode(), value=sent.payload, headers=headers)
    finally:
        await producer.stop()


async def test_a_run_remembers_what_it_was_registered_as(up: Any, runs: Any, world: World) -> None:
    run = await create(runs)
    version = "projects/acme/models/hotline/versions/3"
    event = VersionRegistered(name=version, parents=version_pb2.Parents(run=run.name))
    event.register_time.GetCurrentTime()
    await published(up[1], version, event)

    async def remembered() -> bool:
        with acting_as(ENGINEER):
            now = await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        return bool(now.model_version == version)

    await eventually(remembered, seconds=10)


async def test_a_watcher_sees_every_point_and_the_end(runs: Any, reports: Any, world: World) -> None:
    run = await create(runs)
    workload = await launched(world, run)
    with acting_as(worker(run)):
        points = [run_pb2.MetricPoint(step=step, metrics={"loss": 1 / step}) for step in range(1, 6)]
        await reports.ReportMetrics(
            run_report_service_pb2.ReportMetricsRequest(name=run.name, attempt=1, points=points)
        )
    seen: list[int] = []
    with acting_as(ENGINEER):
        async for update in runs.WatchRun(run_service_pb2.WatchRunRequest(name=run.name)):
            seen += [point.step for point in update.points]
            if seen and workload.state == Workload.STATE_QUEUED:
                await world.finish_workload(workload.name)
        page = await runs.ListMetrics(run_service_pb2.ListMetricsRequest(parent=run.name, page_size=2, after_step=1))
    assert seen == [1, 2, 3, 4, 5]
    assert update.run.state == Run.STATE_SUCCEEDED
    assert ([it.step for it in page.points], page.next_page_token, page.total_size) == ([2, 3], "3", 4)


async def test_runs_of_another_project_are_not_found(runs: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(STRANGER):
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
            await runs.ListMetrics(run_service_pb2.ListMetricsRequest(parent=run.name))


async def test_a_call_without_a_token_is_unauthenticated(up: Any) -> None:
    address = up[1].settings.grpc_address("training_scheduler")
    async with grpc.aio.insecure_channel(address) as channel, expect_rpc_error(grpc.StatusCode.UNAUTHENTICATED):
        await RunServiceStub(channel).ListRuns(run_service_pb2.ListRunsRequest())


async def test_runs_are_listed_by_state_and_text(runs: Any, world: World) -> None:
    run = await create(runs)
    with acting_as(VIEWER):
        request = run_service_pb2.ListRunsRequest(
            parent="projects/acme", filter="method=SFT AND state=QUEUED", query=str(run.number), page_size=1
        )
        assert (await runs.ListRuns(request)).runs[0].name == run.name
