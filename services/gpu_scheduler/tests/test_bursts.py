"""Hundreds ask at once: everybody gets an answer of their own, and what they asked for exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from gyre.gpu_scheduler.v1 import queue_service_pb2, workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App
from gyre_kit.auth import Role, acting_as
from gyre_kit.names import new_id
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, STRANGER, Platform

from services.gpu_scheduler.tests.calls import KINDS, MODULE

ADMIN = replace(ENGINEER, subject="keys/admin", role=Role.ADMIN)
BURST = 200


@pytest.fixture(scope="module", autouse=True)
async def scheduler(platform: Platform, app: App) -> AsyncIterator[None]:
    async with platform.serving(app):
        yield
    await platform.empty("gpu_scheduler")


@pytest.fixture
async def held(clients: Clients) -> str:
    """A queue that admits nothing, so that what waits in it goes on waiting."""
    queues = clients.stub(QueueServiceStub)
    create = queue_service_pb2.CreateQueueRequest(parent="projects/acme", queue_id="held", request_id="held")
    with acting_as(ADMIN):
        made = await queues.CreateQueue(create)
        made.state = made.STATE_HELD
        update = queue_service_pb2.UpdateQueueRequest(queue=made)
        update.update_mask.paths.append("state")
        await queues.UpdateQueue(update)
    return str(made.name)


def asked(name: str, queue: str, **spec: str) -> api.EnsureWorkloadRequest:
    wanted = workload_pb2.WorkloadSpec(kind=KINDS.KIND_JOB, module=MODULE, spec_json='{"do": "leave", "code": 0}')
    wanted.requests.cpu_milli, wanted.queue = 100, queue
    for field, value in spec.items():
        setattr(wanted, field, value)
    return api.EnsureWorkloadRequest(name=name, spec=wanted)


def fresh(project: str = "acme") -> str:
    return f"projects/{project}/workloads/{new_id()}"


async def test_a_burst_of_one_user_is_taken_whole_and_others_are_served_meanwhile(
    workloads: WorkloadServiceStub, held: str
) -> None:
    names = [fresh() for _ in range(BURST)]
    burst = asyncio.gather(*(workloads.EnsureWorkload(asked(name, held)) for name in names))
    with acting_as(STRANGER):
        theirs = await workloads.EnsureWorkload(asked(fresh("other"), ""))
        await workloads.CancelWorkload(api.CancelWorkloadRequest(name=theirs.name))
    made = await burst
    assert [each.name for each in made] == names
    assert len({each.number for each in made}) == BURST
    again = await asyncio.gather(*(workloads.EnsureWorkload(asked(name, held)) for name in names[:50]))
    assert [each.number for each in again] == [each.number for each in made[:50]]


async def test_in_a_burst_only_who_is_wrong_is_refused(workloads: WorkloadServiceStub, held: str) -> None:
    right = [asked(fresh(), held) for _ in range(20)]
    wrong = [asked(fresh(), held, module="os"), asked(fresh(), held, only_flavor="flavors/none")]
    twice = fresh()
    differing = [asked(twice, held), asked(twice, held, owner="projects/acme/runs/2")]
    calls = [workloads.EnsureWorkload(each) for each in (*right, *wrong, *differing)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [each.code() for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert refused == [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
    ]
    assert not any(isinstance(each, BaseException) for each in answers[: len(right)])
