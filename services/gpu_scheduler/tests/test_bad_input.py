"""What nobody should ask for, asked over real gRPC: a refusal that says what, where and what to do, or a defined result.

Nodes that come back changed and names that are taken are in `test_nodes`, traces that are not as they have to be in
`simulation/test_traces`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from gyre.gpu_scheduler.v1 import cluster_queue_pb2, node_pb2, priority_class_pb2, queue_pb2, workload_pb2
from gyre.gpu_scheduler.v1 import cluster_queue_service_pb2 as shared
from gyre.gpu_scheduler.v1 import priority_class_service_pb2 as classes
from gyre.gpu_scheduler.v1 import queue_service_pb2 as doors
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.cluster_queue_service_pb2_grpc import ClusterQueueServiceStub
from gyre.gpu_scheduler.v1.priority_class_service_pb2_grpc import PriorityClassServiceStub
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App, Context
from gyre_kit.auth import SYSTEM, Role, acting_as
from gyre_kit.clock import SystemClock
from gyre_kit.errors import RemoteError, from_rpc
from gyre_kit.names import new_id
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, Platform, expect_rpc_error

from services.gpu_scheduler import fleet, reconcile
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import MODULE, OVERRIDES, cancel_all, ensure, get, until, worker_of

GIB = 1024**3
ADMIN = replace(ENGINEER, subject="keys/admin", role=Role.ADMIN)
OTHER = replace(ENGINEER, subject="keys/other", project="beta")
MOST_WAITING = 30
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
UNFIT, DENIED = grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.PERMISSION_DENIED


class MovedClock(SystemClock):
    """The real time, and what a test adds to it."""

    by = timedelta()

    def now(self) -> datetime:
        return super().now() + self.by


@pytest.fixture(scope="module")
def moved() -> MovedClock:
    return MovedClock()


@pytest.fixture
def clock(moved: MovedClock) -> Iterator[MovedClock]:
    yield moved
    moved.by = timedelta()


@pytest.fixture(scope="module")
async def scheduler(platform: Platform, app: App, moved: MovedClock) -> AsyncIterator[Context]:
    settings = platform.settings(Settings, **OVERRIDES, max_waiting_per_project=MOST_WAITING)
    async with platform.serving(replace(app, settings=settings), clock=moved) as (context,):
        yield context
    await platform.empty("gpu_scheduler")


@pytest.fixture(autouse=True)
async def all_is_over(scheduler: Context, workloads: WorkloadServiceStub) -> AsyncIterator[None]:
    yield
    await cancel_all(workloads)


@pytest.fixture
def queues(clients: Clients) -> QueueServiceStub:
    return clients.stub(QueueServiceStub)


@pytest.fixture
def cluster_queues(clients: Clients) -> ClusterQueueServiceStub:
    return clients.stub(ClusterQueueServiceStub)


@pytest.fixture
def priority_classes(clients: Clients) -> PriorityClassServiceStub:
    return clients.stub(PriorityClassServiceStub)


@asynccontextmanager
async def refused(code: grpc.StatusCode, reason: str) -> AsyncIterator[list[RemoteError]]:
    told: list[RemoteError] = []
    async with expect_rpc_error(code) as caught:
        yield told
    told.append(from_rpc(caught[0]))
    assert told[0].reason == reason
    assert told[0].message


def work(**given: object) -> workload_pb2.WorkloadSpec:
    """A small job; what is `given` is another."""
    amounts = {name: given.pop(name) for name in ("cpu_milli", "memory_bytes", "gpu", "gpu_milli") if name in given}
    asked = {"kind": workload_pb2.Workload.KIND_JOB, "module": MODULE, "spec_json": '{"do": "wait"}', **given}
    return workload_pb2.WorkloadSpec(requests=node_pb2.Resources(**{"cpu_milli": 100, **amounts}), **asked)


def asking(spec: workload_pb2.WorkloadSpec, project: str = "acme") -> api.EnsureWorkloadRequest:
    return api.EnsureWorkloadRequest(name=f"projects/{project}/workloads/{new_id()}", spec=spec)


@asynccontextmanager
async def shared_queue(
    queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub, id: str, **fields: object
) -> AsyncIterator[str]:
    """A cluster queue that an operator made, and a queue of the project that points to it."""
    wanted = cluster_queue_pb2.ClusterQueue(**{"weight": 1, **fields})
    with acting_as(SYSTEM):
        await cluster_queues.CreateClusterQueue(
            shared.CreateClusterQueueRequest(cluster_queue_id=id, cluster_queue=wanted)
        )
    with acting_as(ADMIN):
        made = await queues.CreateQueue(
            doors.CreateQueueRequest(parent="projects/acme", queue_id=id, cluster_queue=f"clusterQueues/{id}")
        )
    yield made.name


def cores(count: float, borrowing: float | None = None) -> list[queue_pb2.FlavorQuota]:
    def amount(cores: float) -> node_pb2.Resources:
        return node_pb2.Resources(cpu_milli=round(cores * 1000), memory_bytes=GIB)

    bound = None if borrowing is None else amount(borrowing)
    return [queue_pb2.FlavorQuota(flavor="flavors/cpu", nominal=amount(count), borrowing_limit=bound)]


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "code", "reason", "told"),
    [
        (work(cpu_milli=2001), UNFIT, "FITS_NOWHERE", {"largest_node": "2000m cpu"}),
        (work(gpu=1), UNFIT, "FITS_NOWHERE", {"asked": "1 gpu"}),
        (work(cpu_milli=0), INVALID, "BAD_SPEC", {"field": "spec.requests", "wanted": "at least 1"}),
        (work(cpu_milli=-5), INVALID, "BAD_SPEC", {"field": "spec.requests"}),
        (work(memory_bytes=-1), INVALID, "BAD_SPEC", {"field": "spec.requests", "wanted": "nothing below 0"}),
        (work(gpu=-1), INVALID, "BAD_SPEC", {"field": "spec.requests"}),
        (work(gpu_milli=-1), INVALID, "BAD_SPEC", {"field": "spec.requests"}),
        (work(gpu=1, gpu_milli=500), INVALID, "BAD_SPEC", {"wanted": "not both"}),
        (work(memory_bytes=2**62), INVALID, "BAD_SPEC", {"wanted": "at most"}),
        (work(gpu=2**31 - 1), INVALID, "BAD_SPEC", {"wanted": "at most"}),
        (work(max_run_seconds=-1), INVALID, "BAD_SPEC", {"field": "spec.max_run_seconds"}),
        (work(max_run_seconds=float("nan")), INVALID, "BAD_SPEC", {"field": "spec.max_run_seconds"}),
        (work(max_run_seconds=float("inf")), INVALID, "BAD_SPEC", {"field": "spec.max_run_seconds"}),
        (work(max_attempts=-1), INVALID, "BAD_SPEC", {"field": "spec.max_attempts"}),
        (work(only_flavor="flavors/h1000"), NOT_FOUND, "FLAVOR_NOT_FOUND", {"given": "h1000", "known": "flavors/cpu"}),
        (work(queue="projects/acme/queues/none"), NOT_FOUND, "QUEUE_NOT_FOUND", {"name": "queues/none"}),
        (work(queue="projects/beta/queues/default"), NOT_FOUND, "QUEUE_NOT_FOUND", {"name": "beta"}),
        (work(priority_class="priorityClasses/none"), NOT_FOUND, "PRIORITYCLASS_NOT_FOUND", {"name": "none"}),
        (work(priority_class="priorityClasses/x", priority=1), INVALID, "BAD_SPEC", {"field": "spec.priority"}),
        (work(module="os"), INVALID, "MODULE_NOT_ALLOWED", {"given": "os", "allowed": MODULE}),
        (work(spec_json="{"), INVALID, "BAD_SPEC", {"field": "spec.spec_json"}),
    ],
)
async def test_what_can_never_run_is_refused_and_leaves_nothing(
    workloads: WorkloadServiceStub, spec: workload_pb2.WorkloadSpec, code: grpc.StatusCode, reason: str,
    told: dict[str, str],
) -> None:  # fmt: skip
    request = asking(spec)
    async with refused(code, reason) as errors:
        await workloads.EnsureWorkload(request)
    assert {field for field, part in told.items() if part not in errors[0].metadata[field]} == set()
    async with refused(NOT_FOUND, "NOT_FOUND"):
        await get(workloads, request.name)


async def test_what_a_queue_may_never_use_is_refused_with_what_it_may(
    workloads: WorkloadServiceStub, queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub
) -> None:
    with acting_as(SYSTEM):
        await cluster_queues.CreateCohort(shared.CreateCohortRequest(cohort_id="labs"))
    async with shared_queue(queues, cluster_queues, "alone", quotas=cores(0.5)) as queue:
        async with refused(UNFIT, "OVER_QUOTA") as errors:
            await workloads.EnsureWorkload(asking(work(cpu_milli=600, queue=queue)))
        assert "500m cpu" in errors[0].metadata["quotas"]
        assert (await workloads.EnsureWorkload(asking(work(cpu_milli=500, queue=queue)))).spec.queue == queue
    bounded = {"cohort": "cohorts/labs", "quotas": cores(0.5, borrowing=0.1)}
    async with shared_queue(queues, cluster_queues, "bounded", **bounded) as queue:
        async with refused(UNFIT, "OVER_QUOTA"):
            await workloads.EnsureWorkload(asking(work(cpu_milli=601, queue=queue)))
        await workloads.EnsureWorkload(asking(work(cpu_milli=600, queue=queue)))


# -- what all projects share -------------------------------------------------------------------------------------------


async def test_a_projects_administrator_changes_no_quota_and_makes_no_cluster_queue(
    queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub, workloads: WorkloadServiceStub
) -> None:
    mistyped = doors.CreateQueueRequest(parent="projects/acme", queue_id="oops", cluster_queue="clusterQueues/visoin")
    mask = FieldMask(paths=["quotas"])
    async with shared_queue(queues, cluster_queues, "vision", quotas=cores(1)) as name:
        with acting_as(ADMIN):
            async with refused(NOT_FOUND, "CLUSTERQUEUE_NOT_FOUND") as errors:
                await queues.CreateQueue(mistyped)
            assert "gyre cluster-queues list" in errors[0].message
            async with refused(INVALID, "QUOTAS_ARE_SHARED"):
                await queues.CreateQueue(
                    doors.CreateQueueRequest(parent="projects/acme", queue_id="oops", quotas=cores(2))
                )
            async with refused(INVALID, "QUOTAS_ARE_SHARED"):
                grown = queue_pb2.Queue(name=name, quotas=cores(2))
                await queues.UpdateQueue(doors.UpdateQueueRequest(queue=grown, update_mask=mask))
        kept = await cluster_queues.GetClusterQueue(shared.GetClusterQueueRequest(name="clusterQueues/vision"))
        assert kept.quotas[0].nominal.cpu_milli == 1000
    listed = await cluster_queues.ListClusterQueues(shared.ListClusterQueuesRequest(query="visoin"))
    assert not listed.cluster_queues


async def test_a_cluster_queue_may_be_for_some_projects_alone_and_tells_no_other_which(
    queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub
) -> None:
    named = {"projects": ["projects/acme", "projects/gamma"]}
    async with shared_queue(queues, cluster_queues, "ours", **named):
        with acting_as(replace(ADMIN, project="beta")):
            async with refused(DENIED, "CLUSTER_QUEUE_OF_OTHERS"):
                await queues.CreateQueue(
                    doors.CreateQueueRequest(
                        parent="projects/beta", queue_id="theirs", cluster_queue="clusterQueues/ours"
                    )
                )
        seen = await cluster_queues.GetClusterQueue(shared.GetClusterQueueRequest(name="clusterQueues/ours"))
        assert list(seen.projects) == ["projects/acme"]


async def test_nobody_passes_the_bound_of_its_cluster_queue_by_number_or_by_class(
    queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub, workloads: WorkloadServiceStub,
    priority_classes: PriorityClassServiceStub,
) -> None:  # fmt: skip
    for id, value in (("deadline", 200), ("daily", 90)):
        create = classes.CreatePriorityClassRequest(
            priority_class_id=id, priority_class=priority_class_pb2.PriorityClass(value=value)
        )
        with acting_as(ADMIN):
            async with refused(DENIED, "OPERATORS_ONLY"):
                await priority_classes.CreatePriorityClass(create)
        with acting_as(SYSTEM):
            await priority_classes.CreatePriorityClass(create)
    async with shared_queue(queues, cluster_queues, "bound", max_priority=100) as name:
        for above in (work(queue=name, priority=101), work(queue=name, priority_class="priorityClasses/deadline")):
            async with refused(INVALID, "PRIORITY_ABOVE_BOUND") as errors:
                await workloads.EnsureWorkload(asking(above))
            assert errors[0].metadata["max_priority"] == "100"
        request = asking(work(queue=name, priority_class="priorityClasses/daily"))
        made = await workloads.EnsureWorkload(request)
        assert (made.spec.priority, made.spec.priority_class) == (90, "priorityClasses/daily")
        with acting_as(SYSTEM):
            changed = priority_class_pb2.PriorityClass(name="priorityClasses/daily", value=50)
            mask = FieldMask(paths=["value"])
            await priority_classes.UpdatePriorityClass(
                classes.UpdatePriorityClassRequest(priority_class=changed, update_mask=mask)
            )
        assert (await workloads.EnsureWorkload(request)).spec.priority == 90, "it keeps the value that it had"
        with acting_as(ADMIN):
            async with refused(INVALID, "PRIORITY_ABOVE_BOUND"):
                lifted = queue_pb2.Queue(name=name, priority=11)
                await queues.UpdateQueue(
                    doors.UpdateQueueRequest(queue=lifted, update_mask=FieldMask(paths=["priority"]))
                )


async def test_a_queue_with_work_in_it_is_not_deleted(
    queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub, workloads: WorkloadServiceStub
) -> None:
    async with shared_queue(queues, cluster_queues, "busy") as name:
        await workloads.EnsureWorkload(asking(work(queue=name)))
        with acting_as(ADMIN):
            async with refused(UNFIT, "QUEUE_NOT_EMPTY"):
                await queues.DeleteQueue(doors.DeleteQueueRequest(name=name))
            await cancel_all(workloads)
            await queues.DeleteQueue(doors.DeleteQueueRequest(name=name))


async def test_a_quota_below_what_is_used_stops_nobody_and_admits_nothing_more(
    queues: QueueServiceStub, cluster_queues: ClusterQueueServiceStub, workloads: WorkloadServiceStub
) -> None:
    async with shared_queue(queues, cluster_queues, "shrinks", quotas=cores(1)) as queue:
        running = await workloads.EnsureWorkload(asking(work(cpu_milli=900, queue=queue)))
        await until(workloads, running.name, "RUNNING")
        smaller = cluster_queue_pb2.ClusterQueue(name="clusterQueues/shrinks", quotas=cores(0.5))
        update = shared.UpdateClusterQueueRequest(cluster_queue=smaller, update_mask=FieldMask(paths=["quotas"]))
        with acting_as(SYSTEM):
            await cluster_queues.UpdateClusterQueue(update)
        waits = await workloads.EnsureWorkload(asking(work(cpu_milli=400, queue=queue)))
        beside = await workloads.EnsureWorkload(asking(work(cpu_milli=100)))  # another queue still gets its own
        await until(workloads, beside.name, "RUNNING")
        found = await get(workloads, waits.name)
        assert (found.waiting_reason, found.attempt) == ("QUOTA_EXHAUSTED", 0)
        assert (await until(workloads, running.name, "RUNNING")).attempt == 1


# -- too much at once --------------------------------------------------------------------------------------------------


async def test_a_burst_of_one_project_is_bounded_and_others_are_served_as_before(
    workloads: WorkloadServiceStub, queues: QueueServiceStub
) -> None:
    with acting_as(ADMIN):
        await queues.CreateQueue(doors.CreateQueueRequest(parent="projects/acme", queue_id="held"))
        held = queue_pb2.Queue(name="projects/acme/queues/held", state=queue_pb2.Queue.STATE_HELD)
        await queues.UpdateQueue(doors.UpdateQueueRequest(queue=held, update_mask=FieldMask(paths=["state"])))
    burst = [workloads.EnsureWorkload(asking(work(queue=held.name))) for _ in range(2 * MOST_WAITING)]
    answers = await asyncio.gather(*burst, return_exceptions=True)
    refusals = [from_rpc(each) for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert {error.reason for error in refusals} == {"TOO_MANY_WAITING"}
    assert {error.code for error in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(answers) - len(refusals) == MOST_WAITING
    with acting_as(OTHER):
        other = await workloads.EnsureWorkload(asking(work(), "beta"))
        await until(workloads, other.name, "RUNNING")
        await workloads.CancelWorkload(api.CancelWorkloadRequest(name=other.name))
        await until(workloads, other.name, "CANCELLED")
    one = next(each for each in answers if isinstance(each, workload_pb2.Workload))
    await workloads.CancelWorkload(api.CancelWorkloadRequest(name=one.name))
    await workloads.EnsureWorkload(asking(work(queue=held.name)))  # there is room for one more


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [5, -5])
async def test_a_clock_that_jumps_ends_no_run_loses_no_node_and_puts_nothing_off(
    scheduler: Context, workloads: WorkloadServiceStub, clock: MovedClock, hours: int
) -> None:
    made = await workloads.EnsureWorkload(asking(work(max_run_seconds=3600)))
    await until(workloads, made.name, "RUNNING")
    clock.by = timedelta(hours=hours)
    await fleet.hear_of_node(scheduler)
    await reconcile.end_overdue(scheduler)
    after = await ensure(workloads, cpu=100, do="exit", code=0)
    await until(workloads, after, "FINISHED")  # so its node is ready
    found = await get(workloads, made.name)
    assert (found.state, found.attempt) == (workload_pb2.Workload.STATE_RUNNING, 1)


async def test_a_run_ends_when_its_time_is_over_though_the_clock_is_put_back(
    workloads: WorkloadServiceStub, clock: MovedClock
) -> None:
    made = await workloads.EnsureWorkload(asking(work(max_run_seconds=3)))
    await until(workloads, made.name, "RUNNING")
    clock.by = timedelta(hours=-5)
    assert (await until(workloads, made.name, "FAILED")).failure_reason == "MAX_RUN_EXCEEDED"


async def test_a_stop_is_not_put_off_by_a_clock_that_is_put_back(
    workloads: WorkloadServiceStub, platform: Platform, clock: MovedClock
) -> None:
    name = await ensure(workloads, cpu=100, do="wait", stubborn=True)
    await worker_of(platform, name)
    await workloads.CancelWorkload(api.CancelWorkloadRequest(name=name))
    await until(workloads, name, "STOPPING")
    clock.by = timedelta(hours=-5)
    await until(workloads, name, "CANCELLED")
