"""Calls that several tests make, and what comes of them."""

from __future__ import annotations

from typing import Any

import grpc
from gyre.gpu_scheduler.v1 import workload_pb2
from gyre.training_scheduler.v1 import run_pb2, run_report_service_pb2, run_service_pb2
from gyre_kit.auth import Identity, Role, acting_as
from gyre_kit.errors import from_rpc
from gyre_kit.testing import ENGINEER, eventually, expect_rpc_error

from services.training_scheduler.tests.served import create_request
from services.training_scheduler.tests.world import World

Workload = workload_pb2.Workload
Run = run_pb2.Run
Command = run_report_service_pb2.HeartbeatResponse.Command


def worker(run: Run, attempt: int = 1) -> Identity:
    return Identity(
        subject=run.name,
        project="acme",
        role=Role.WORKER,
        workload=run.name.replace("runs", "workloads"),
        attempt=attempt,
    )


async def create(runs: Any, **fields: Any) -> Run:
    with acting_as(ENGINEER):
        return await runs.CreateRun(create_request(**fields))


async def reached(runs: Any, run: Run, state: str) -> Run:
    async def check() -> Run | None:
        with acting_as(ENGINEER):
            now = await runs.GetRun(run_service_pb2.GetRunRequest(name=run.name))
        return now if now.state == Run.State.Value(f"STATE_{state}") else None

    found: Run = await eventually(check, seconds=10)
    return found


def workload_of(world: World, run: Run) -> Workload:
    return world.workloads[run.name.replace("/runs/", "/workloads/")]


async def launched(world: World, run: Run) -> Workload:
    async def check() -> bool:
        return run.name.replace("/runs/", "/workloads/") in world.workloads

    await eventually(check, seconds=10)
    return workload_of(world, run)


async def count(runs: Any) -> int:
    with acting_as(ENGINEER):
        return int((await runs.ListRuns(run_service_pb2.ListRunsRequest(parent="projects/acme"))).total_size)


async def refusal(call: Any, code: grpc.StatusCode) -> str:
    with acting_as(ENGINEER):
        async with expect_rpc_error(code) as caught:
            await call
    return from_rpc(caught[0]).reason
