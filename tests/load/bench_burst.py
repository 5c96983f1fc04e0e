"""Ten thousand submissions at once from one user, and what another user notices of it.

    python tests/load/bench_burst.py [--burst 10000]

The scheduler is a process of its own on PostgreSQL with durable commits and a broker; callers are in one other process,
over one gRPC channel. The queue is held, so that what is asked for waits. Another project's user submits and cancels
one workload after the other, for as long before the burst as during it. Numbers go to tests/load/out/burst.json; nothing
is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "libs")]

import grpc
from gyre.gpu_scheduler.v1 import queue_service_pb2, workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.queue_service_pb2_grpc import QueueServiceStub
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.auth import Role, acting_as
from gyre_kit.names import new_id
from gyre_kit.testing import ENGINEER, STRANGER, Platform, eventually, new_platform

OUT = Path(__file__).parent / "out" / "burst.json"
ADMIN = replace(ENGINEER, subject="keys/admin", role=Role.ADMIN)
MODULE = "gyre_trainers.run"
QUIET_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--burst", type=int, default=10_000)
    options = parser.parse_args()
    _write(burst(options.burst))


def burst(count: int) -> dict[str, Any]:
    with new_platform() as platform, _scheduler(platform):
        return asyncio.run(_burst(platform, count))


async def _burst(platform: Platform, count: int) -> dict[str, Any]:
    clients = platform.clients()
    workloads = clients.stub(WorkloadServiceStub)
    try:
        queue = await _held_queue(clients.stub(QueueServiceStub))
        before: list[float] = []
        async with _somebody_else(workloads, before):
            await asyncio.sleep(QUIET_SECONDS)
        meanwhile: list[float] = []
        async with _somebody_else(workloads, meanwhile):
            began = time.perf_counter()
            with acting_as(ENGINEER):
                answers = await asyncio.gather(*(_timed(_ask(workloads, queue)) for _ in range(count)))
            took = time.perf_counter() - began
    finally:
        await clients.close()
    codes = [code for _, code in answers]
    return {
        "burst": count,
        "seconds": round(took, 1),
        "answers": {code: codes.count(code) for code in sorted(set(codes))},
        "a_second": round(count / took),
        "of_the_burst_ms": _percentiles([seconds for seconds, _ in answers]),
        "another_user_before_ms": _percentiles(before),
        "another_user_meanwhile_ms": _percentiles(meanwhile),
    }


async def _ask(workloads: Any, queue: str, project: str = "acme") -> workload_pb2.Workload:
    spec = workload_pb2.WorkloadSpec(kind=workload_pb2.Workload.KIND_JOB, module=MODULE, spec_json="{}", queue=queue)
    spec.requests.cpu_milli = 100
    name = f"projects/{project}/workloads/{new_id()}"
    return await workloads.EnsureWorkload(api.EnsureWorkloadRequest(name=name, spec=spec), timeout=300)


async def _timed(call: Awaitable[Any]) -> tuple[float, str]:
    began = time.perf_counter()
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return time.perf_counter() - began, error.code().name
    return time.perf_counter() - began, "OK"


@asynccontextmanager
async def _somebody_else(workloads: Any, latencies: list[float]) -> AsyncIterator[None]:
    """Submits and cancels; how long each submission took."""

    async def again_and_again() -> None:
        with acting_as(STRANGER):
            while True:
                began = time.perf_counter()
                made = await _ask(workloads, "", "other")
                latencies.append(time.perf_counter() - began)
                await workloads.CancelWorkload(api.CancelWorkloadRequest(name=made.name))
                await asyncio.sleep(0.02)

    task = asyncio.create_task(again_and_again())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _held_queue(queues: Any) -> str:
    create = queue_service_pb2.CreateQueueRequest(parent="projects/acme", queue_id="held", request_id="held")

    async def made() -> Any:
        try:
            return await queues.CreateQueue(create)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:  # the scheduler is not up yet
                raise
            return None

    with acting_as(ADMIN):
        queue = await eventually(made, 60)
        queue.state = queue.STATE_HELD
        update = queue_service_pb2.UpdateQueueRequest(queue=queue)
        update.update_mask.paths.append("state")
        await queues.UpdateQueue(update)
    return str(queue.name)


@contextmanager
def _scheduler(platform: Platform) -> Iterator[None]:
    command = [sys.executable, "-m", "services.gpu_scheduler.main"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "libs")])
    with (platform.home / "logs" / "scheduler.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _percentiles(seconds: list[float]) -> dict[str, float]:
    at = sorted(seconds)
    return {f"p{q}": round(at[min(len(at) - 1, len(at) * q // 100)] * 1000, 1) for q in (50, 99)} | {"count": len(at)}


def _write(results: dict[str, Any]) -> None:
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


@pytest.mark.benchmark
def test_burst() -> None:
    results = burst(10_000)
    _write(results)
    assert sum(results["answers"].values()) == 10_000


if __name__ == "__main__":
    main()
