"""The service over real gRPC, launching real processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from gyre.gpu_scheduler.v1 import node_service_pb2, queue_pb2, queue_service_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.node_service_pb2_grpc import NodeServiceStub
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App, Context
from gyre_kit.auth import Role, Verifier, acting_as
from gyre_kit.render import enum_name
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, STRANGER, VIEWER, Platform, eventually, expect_rpc_error

from services.gpu_scheduler import reconcile
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import (
    cancel_all,
    ensure,
    folder_of,
    get,
    leader_of,
    log_of,
    runs,
    until,
    worker_of,
)

ADMIN = replace(ENGINEER, subject="keys/admin", role=Role.ADMIN)


@pytest.fixture(scope="module")
async def scheduler(platform: Platform, app: App) -> AsyncIterator[Context]:
    async with platform.serving(app) as (context,):
        yield context
    await platform.empty("gpu_scheduler")


@pytest.fixture(autouse=True)
async def nothing_is_left(scheduler: Context, workloads: WorkloadServiceStub) -> AsyncIterator[None]:
    yield
    await cancel_all(workloads)


async def test_a_job_runs_and_its_result_comes_back(workloads: WorkloadServiceStub) -> None:
    name = await ensure(workloads, "JOB", do="result", text='{"rows": 3}')
    done = await until(workloads, name, "FINISHED")
    assert json.loads(done.result_json) == {"rows": 3}
    assert (done.exit_code, done.attempt, done.node, done.flavor) == (0, 1, "nodes/test-node", "flavors/cpu")
    assert done.usage.cpu_seconds > 0
    assert done.usage.held_seconds > 0


async def test_a_result_that_nobody_can_read_fails_the_job(workloads: WorkloadServiceStub) -> None:
    failed = await until(workloads, await ensure(workloads, "JOB", do="result", text="{"), "FAILED")
    assert failed.failure_reason == "BAD_RESULT"


async def test_the_launcher_adds_what_the_work_needs_to_know(
    workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait")
    await worker_of(platform, name)
    spec = json.loads((folder_of(platform, name) / "spec.json").read_text())
    settings = platform.settings()
    assert spec == {
        "do": "wait",
        "attempt": 1,
        "credential_file": str(folder_of(platform, name) / "credential"),
        "object_store": settings.object_store_url,
        "report_address": settings.grpc_address("training_scheduler"),
    }
    identity = Verifier(settings.keys_folder).identity(Path(spec["credential_file"]).read_text())
    assert (identity.subject, identity.project, identity.role) == ("projects/acme/runs/1", "acme", Role.WORKER)
    assert (identity.workload, identity.attempt, identity.service) == (name, 1, "gpu_scheduler")


async def test_a_workers_token_opens_nothing_here(workloads: WorkloadServiceStub, platform: Platform) -> None:
    name = await ensure(workloads, do="wait")
    await worker_of(platform, name)
    token = (folder_of(platform, name) / "credential").read_text()
    async with stranger_channel(platform) as channel, expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
        await WorkloadServiceStub(channel).GetWorkload(
            api.GetWorkloadRequest(name=name), metadata=[("authorization", f"Bearer {token}")]
        )


async def test_a_credential_is_renewed_while_the_work_runs(workloads: WorkloadServiceStub, platform: Platform) -> None:
    name = await ensure(workloads, do="wait")
    await worker_of(platform, name)
    path = folder_of(platform, name) / "credential"
    path.write_text("expired")
    os.utime(path, (0, 0))

    async def renewed() -> bool:
        return path.read_text() != "expired"

    await eventually(renewed)


async def test_a_killed_trainer_is_tried_again_with_the_next_attempt(
    workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait")
    os.kill(await worker_of(platform, name), signal.SIGKILL)
    second = await until(workloads, name, "RUNNING", attempt=2)
    assert (second.attempt, second.exit_code) == (2, -signal.SIGKILL)
    assert await worker_of(platform, name, attempt=2)


async def test_a_trainer_whose_shim_is_killed_is_tried_again_and_leaves_no_orphan(
    workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait")
    worker = await worker_of(platform, name)
    os.kill(leader_of(platform, name), signal.SIGKILL)
    await until(workloads, name, "RUNNING", attempt=2)
    assert not runs(worker)


async def test_work_that_recovers_finishes_with_the_attempt_that_did(workloads: WorkloadServiceStub) -> None:
    done = await until(workloads, await ensure(workloads, do="recover", until=3), "FINISHED")
    assert (done.attempt, done.exit_code) == (3, 0)


async def test_attempts_end_and_the_last_words_are_kept(workloads: WorkloadServiceStub) -> None:
    failed = await until(workloads, await ensure(workloads, do="exit", code=3, most=2), "FAILED")
    assert (failed.attempt, failed.exit_code, failed.failure_reason) == (2, 3, "ATTEMPTS_EXHAUSTED")
    assert "the last word" in failed.failure_message


@pytest.mark.parametrize(("code", "reason"), [(64, "BAD_SPEC"), (75, "SUPERSEDED")])
async def test_what_trying_again_cannot_mend_fails_at_once(
    workloads: WorkloadServiceStub, code: int, reason: str
) -> None:
    failed = await until(workloads, await ensure(workloads, do="exit", code=code), "FAILED")
    assert (failed.attempt, failed.failure_reason) == (1, reason)


async def test_a_trainer_fits_beside_a_replica_and_a_second_waits_with_its_reason(
    workloads: WorkloadServiceStub, clients: Clients
) -> None:
    replica = await ensure(workloads, "REPLICA", 250, do="serve")
    trainer = await ensure(workloads, do="wait")
    await until(workloads, replica, "RUNNING")
    await until(workloads, trainer, "RUNNING")
    second = await ensure(workloads, do="wait")

    async def told() -> bool:
        return (await get(workloads, second)).waiting_reason == "NO_FREE_CPU"

    await eventually(told)
    (node,) = (await clients.stub(NodeServiceStub).ListNodes(node_service_pb2.ListNodesRequest())).nodes
    assert (node.capacity.cpu_milli, node.allocated.cpu_milli) == (2000, 1750)
    (queue,) = (
        await clients.stub(QueueServiceStub).ListQueues(queue_service_pb2.ListQueuesRequest(parent="projects/acme"))
    ).queues
    assert (queue.pending_count, queue.admitted_count) == (1, 2)
    assert (queue.quotas[0].nominal.cpu_milli, queue.quotas[0].used.cpu_milli) == (2000, 1750)
    await workloads.CancelWorkload(api.CancelWorkloadRequest(name=trainer))
    await until(workloads, trainer, "CANCELLED")
    await until(workloads, second, "RUNNING")


async def test_a_replica_is_ready_when_it_answers_and_is_started_again_when_it_dies(
    workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, "REPLICA", 250, do="serve")
    ready = await until(workloads, name, "RUNNING")
    async with aiohttp.ClientSession() as http, http.get(f"http://{ready.address}/health") as reply:
        assert reply.status == 200
    os.kill(int((folder_of(platform, name) / "runs").read_text()), signal.SIGKILL)
    again = await until(workloads, name, "RUNNING", attempt=2)
    assert again.address


async def test_a_running_workload_is_cancelled_when_its_processes_are_gone(
    workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait", grandchild=True)
    worker = await worker_of(platform, name)
    stopping = await workloads.CancelWorkload(api.CancelWorkloadRequest(name=name))
    assert enum_name(stopping, "state") == "STOPPING"
    cancelled = await until(workloads, name, "CANCELLED")
    assert cancelled.exit_code == -signal.SIGTERM
    assert not runs(worker)
    assert not runs(leader_of(platform, name))


async def test_a_worker_that_ignores_the_request_is_killed_after_its_grace(
    workloads: WorkloadServiceStub, platform: Platform
) -> None:
    name = await ensure(workloads, do="wait", stubborn=True)
    worker = await worker_of(platform, name)
    await workloads.CancelWorkload(api.CancelWorkloadRequest(name=name))
    await until(workloads, name, "CANCELLED")
    assert not runs(worker)


async def test_a_waiting_workload_is_cancelled_at_once(workloads: WorkloadServiceStub) -> None:
    await until(workloads, await ensure(workloads, do="wait"), "RUNNING")
    waiting = await ensure(workloads, do="wait")
    cancelled = await workloads.CancelWorkload(api.CancelWorkloadRequest(name=waiting))
    assert (enum_name(cancelled, "state"), cancelled.attempt) == ("CANCELLED", 0)


async def test_logs_are_kept_for_each_attempt_and_come_in_the_part_that_is_asked_for(
    workloads: WorkloadServiceStub,
) -> None:
    name = await ensure(workloads, do="exit", code=3, most=2)
    await until(workloads, name, "FAILED")
    assert await log_of(workloads, name) == b"attempt 2 begins\nthe last word\n"
    assert await log_of(workloads, name, attempt=1, tail_lines=2) == b"attempt 1 begins\nthe last word\n"
    assert await log_of(workloads, name, tail_lines=1) == b"the last word\n"
    assert await log_of(workloads, name, offset=17) == b"the last word\n"
    stdout = api.GetWorkloadLogsRequest.STREAM_STDOUT
    assert await log_of(workloads, name, stream=stdout) == b"out: it begins\n"
    async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
        await log_of(workloads, name, attempt=3)


async def test_a_log_is_followed_to_the_end_of_its_attempt(workloads: WorkloadServiceStub, platform: Platform) -> None:
    name = await ensure(workloads, do="wait")
    await worker_of(platform, name)
    call = workloads.GetWorkloadLogs(api.GetWorkloadLogsRequest(name=name, follow=True))
    first = await call.read()
    assert first.data.startswith(b"attempt 1 begins")
    await workloads.CancelWorkload(api.CancelWorkloadRequest(name=name))
    assert await call.read() is grpc.aio.EOF


async def test_another_project_sees_neither_workloads_nor_logs_nor_queues(
    workloads: WorkloadServiceStub, clients: Clients
) -> None:
    name = await ensure(workloads, do="wait")
    await until(workloads, name, "RUNNING")
    with acting_as(STRANGER):
        for call in (
            get(workloads, name),
            workloads.CancelWorkload(api.CancelWorkloadRequest(name=name)),
            log_of(workloads, name),
            workloads.ListWorkloads(api.ListWorkloadsRequest(parent="projects/acme")),
            clients.stub(QueueServiceStub).UpdateQueue(
                queue_service_pb2.UpdateQueueRequest(
                    queue=queue_pb2.Queue(name="projects/acme/queues/default", priority=9),
                    update_mask=FieldMask(paths=["priority"]),
                )
            ),
        ):
            async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
                await call
        (node,) = (await clients.stub(NodeServiceStub).ListNodes(node_service_pb2.ListNodesRequest())).nodes
        assert node.allocated.cpu_milli == 1500


async def test_a_call_without_a_token_is_unauthenticated(platform: Platform) -> None:
    async with stranger_channel(platform) as channel, expect_rpc_error(grpc.StatusCode.UNAUTHENTICATED):
        await NodeServiceStub(channel).ListNodes(node_service_pb2.ListNodesRequest())


def stranger_channel(platform: Platform) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(platform.settings().grpc_address("gpu_scheduler"))


async def test_a_viewer_looks_an_engineer_runs_and_an_admin_changes_queues(
    workloads: WorkloadServiceStub, clients: Clients
) -> None:
    queues = clients.stub(QueueServiceStub)
    create = queue_service_pb2.CreateQueueRequest(parent="projects/acme", queue_id="night", priority=-5)
    with acting_as(VIEWER):
        async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
            await ensure(workloads, do="wait")
    async with expect_rpc_error(grpc.StatusCode.PERMISSION_DENIED):
        await queues.CreateQueue(create)
    with acting_as(ADMIN):
        made = await queues.CreateQueue(create)
        mask = FieldMask(paths=["state"])
        held = queue_pb2.Queue(name=made.name, etag=made.etag, state=queue_pb2.Queue.STATE_HELD)
        update = queue_service_pb2.UpdateQueueRequest(queue=held, update_mask=mask)
        assert (await queues.UpdateQueue(update)).state == queue_pb2.Queue.STATE_HELD
        async with expect_rpc_error(grpc.StatusCode.ABORTED):
            await queues.UpdateQueue(update)
    with acting_as(VIEWER):
        found = await queues.GetQueue(queue_service_pb2.GetQueueRequest(name=made.name))
    assert (found.cluster_queue, found.priority) == ("clusterQueues/default", -5)


async def test_a_list_is_filtered_and_comes_in_pages(workloads: WorkloadServiceStub) -> None:
    names = [await ensure(workloads, "JOB", 100, owner="a list", do="result", text="{}") for _ in range(3)]
    await ensure(workloads, "TRAINER", 100, do="wait")
    request = api.ListWorkloadsRequest(parent="projects/acme", filter="kind=JOB AND owner=a list", page_size=2)
    first = await workloads.ListWorkloads(request)
    request.page_token = first.next_page_token
    second = await workloads.ListWorkloads(request)
    assert first.total_size == 3
    assert sorted(row.name for row in [*first.workloads, *second.workloads]) == sorted(names)


async def test_flavors_have_a_price_and_a_node_can_be_read_by_name(clients: Clients) -> None:
    nodes = clients.stub(NodeServiceStub)
    flavors = (await nodes.ListFlavors(node_service_pb2.ListFlavorsRequest())).flavors
    assert [(flavor.name, flavor.cpu_hour_microusd) for flavor in flavors] == [("flavors/cpu", 40_000)]
    node = await nodes.GetNode(node_service_pb2.GetNodeRequest(name="nodes/test-node"))
    assert node.memory_used_bytes > 0
    async with expect_rpc_error(grpc.StatusCode.NOT_FOUND):
        await nodes.GetNode(node_service_pb2.GetNodeRequest(name="nodes/none"))


async def test_the_queue_depth_is_a_metric(workloads: WorkloadServiceStub, platform: Platform) -> None:
    await until(workloads, await ensure(workloads, do="wait"), "RUNNING")
    await ensure(workloads, do="wait")
    address = f"http://127.0.0.1:{platform.settings().metrics_port('gpu_scheduler')}/metrics"

    async def shown() -> bool:
        async with aiohttp.ClientSession() as http, http.get(address) as reply:
            text = await reply.text()
        return 'gyre_workloads{state="QUEUED"} 1.0' in text and 'gyre_workloads{state="RUNNING"} 1.0' in text

    await eventually(shown)


async def test_logs_of_long_ended_work_are_deleted_and_the_others_kept(
    scheduler: Context, workloads: WorkloadServiceStub, platform: Platform
) -> None:
    ended = await ensure(workloads, "JOB", 100, do="result", text="{}")
    await until(workloads, ended, "FINISHED")
    living = await ensure(workloads, do="wait")
    await worker_of(platform, living)
    unknown = platform.home / "work" / "somebody-elses"
    unknown.mkdir()
    kept_for_nothing = replace(
        scheduler, settings=platform.settings(Settings, work_retention_days=1), clock=InTwoDays()
    )
    await reconcile.sweep(kept_for_nothing)
    assert not folder_of(platform, ended).exists()
    assert folder_of(platform, living).exists()
    assert unknown.exists()


class InTwoDays:
    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=2)
