from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from gyre.gpu_scheduler.v1 import priority_class_pb2, workload_pb2
from gyre.gpu_scheduler.v1 import priority_class_service_pb2 as rpc
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.priority_class_service_pb2_grpc import PriorityClassServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.names import new_id
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, Platform, eventually

from services.gpu_scheduler.tests.calls import MODULE, cancel_all

NAME = "priorityClasses/daily"


@pytest.fixture(autouse=True)
async def scheduler(platform: Platform, app: App) -> AsyncIterator[None]:
    async with platform.serving(app):
        yield
    await platform.empty("gpu_scheduler")


async def test_a_class_tells_how_much_of_all_projects_waits_and_runs_with_it(
    clients: Clients, workloads: WorkloadServiceStub
) -> None:
    stub = clients.stub(PriorityClassServiceStub)
    wish = priority_class_pb2.PriorityClass(value=90, description="The nightly runs")
    with acting_as(SYSTEM):
        made = await stub.CreatePriorityClass(
            rpc.CreatePriorityClassRequest(priority_class_id="daily", priority_class=wish)
        )
    assert (made.pending_count, made.admitted_count) == (0, 0)
    for project, priority_class in (("acme", NAME), ("acme", NAME), ("acme", ""), ("beta", NAME)):
        await ask(workloads, project, priority_class)

    async def counted() -> bool:
        """Two cores are there, and each asks for one and a half."""
        (found,) = (await stub.ListPriorityClasses(rpc.ListPriorityClassesRequest())).priority_classes
        one = await stub.GetPriorityClass(rpc.GetPriorityClassRequest(name=NAME))
        assert found == one
        return (found.pending_count, found.admitted_count) == (2, 1)

    await eventually(counted)
    await cancel_all(workloads)
    with acting_as(replace(ENGINEER, project="beta")):
        for row in (await workloads.ListWorkloads(api.ListWorkloadsRequest(parent="projects/beta"))).workloads:
            await workloads.CancelWorkload(api.CancelWorkloadRequest(name=row.name))

    async def over() -> bool:
        found = await stub.GetPriorityClass(rpc.GetPriorityClassRequest(name=NAME))
        return (found.pending_count, found.admitted_count) == (0, 0)

    await eventually(over)


async def ask(workloads: WorkloadServiceStub, project: str, priority_class: str) -> None:
    spec = workload_pb2.WorkloadSpec(
        kind="KIND_JOB", module=MODULE, spec_json=json.dumps({"do": "wait"}), requests={"cpu_milli": 1500},
        priority_class=priority_class,
    )  # fmt: skip
    with acting_as(replace(ENGINEER, project=project)):
        name = f"projects/{project}/workloads/{new_id()}"
        await workloads.EnsureWorkload(api.EnsureWorkloadRequest(name=name, spec=spec))
