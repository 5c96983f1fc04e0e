"""What outlives the service: launched work, intents, and stops that were asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psutil
import pytest
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App
from gyre_kit.reconcile import Reconciler, lease
from gyre_kit.rpc import wait_until_serving
from gyre_kit.testing import Platform

from services.gpu_scheduler import reconcile
from services.gpu_scheduler.models import Workload, WorkloadState
from services.gpu_scheduler.tests.calls import (
    MODULE,
    OVERRIDES,
    cancel_all,
    ensure,
    folder_of,
    leader_of,
    runs,
    until,
    worker_of,
)


@pytest.fixture(autouse=True)
async def empty_tables(platform: Platform) -> AsyncIterator[None]:
    yield
    await platform.empty("gpu_scheduler")


@pytest.fixture
def only_admits(app: App) -> App:
    """The service as it is in the moment between an admission and the launch."""
    return replace(app, reconcilers=[Reconciler(reconcile.admit, every=0.1)])


async def test_a_cancel_between_admission_and_launch_keeps_it_from_ever_starting(
    platform: Platform, app: App, only_admits: App, workloads: WorkloadServiceStub
) -> None:
    async with platform.serving(only_admits):
        name = await ensure(workloads, do="wait")
        await until(workloads, name, "ADMITTED")
        await workloads.CancelWorkload(api.CancelWorkloadRequest(name=name))
    async with platform.serving(app):
        await until(workloads, name, "CANCELLED")
    assert not (folder_of(platform, name) / "runs").exists()


async def test_a_launch_whose_commit_was_lost_is_found_again_and_not_repeated(
    platform: Platform, app: App, only_admits: App, workloads: WorkloadServiceStub
) -> None:
    """The service dies after the process started and before the database knew."""
    async with platform.serving(only_admits) as (context,):
        name = await ensure(workloads, do="wait")
        await until(workloads, name, "ADMITTED")
        async with lease(context.db, Workload, Workload.state == WorkloadState.ADMITTED) as claim:
            work = await reconcile._prepared(context, claim, await reconcile._work(context, claim))
            started = work.launcher.start(reconcile._order(context, work))
        worker = await worker_of(platform, name)
    async with platform.serving(app):
        running = await until(workloads, name, "RUNNING")
        assert running.attempt == 1
        assert (leader_of(platform, name), await worker_of(platform, name)) == (started["pid"], worker)
        assert len((folder_of(platform, name) / "runs").read_text().splitlines()) == 1
        await cancel_all(workloads)


async def test_the_end_of_work_that_runs_is_told_and_not_waited_for(
    platform: Platform, app: App, workloads: WorkloadServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next look at it would be in an hour."""
    monkeypatch.setattr(reconcile, "SAMPLE_SECONDS", 3600.0)
    async with platform.serving(app):
        name = await ensure(workloads, do="wait")
        await until(workloads, name, "RUNNING")
        for attempt in (1, 2):
            os.kill(await worker_of(platform, name, attempt), signal.SIGKILL)
            await until(workloads, name, "RUNNING", attempt=attempt + 1)
        await cancel_all(workloads)


async def test_launched_work_survives_a_kill_of_the_service_and_is_adopted_after_its_restart(
    platform: Platform, app: App, workloads: WorkloadServiceStub
) -> None:
    async with service_process(platform) as service:
        name = await ensure(workloads, do="wait")
        serving = await ensure(workloads, "REPLICA", 250, do="serve")
        await until(workloads, name, "RUNNING")
        address = (await until(workloads, serving, "RUNNING")).address
        worker = await worker_of(platform, name)
        service.kill()
        service.wait()
    assert runs(worker)
    async with platform.serving(app):
        adopted = await until(workloads, name, "RUNNING")
        assert (adopted.attempt, leader_of(platform, name)) == (1, psutil.Process(worker).ppid())
        assert (await until(workloads, serving, "RUNNING")).address == address
        os.kill(worker, signal.SIGKILL)
        await until(workloads, name, "RUNNING", attempt=2)
        await cancel_all(workloads)


@asynccontextmanager
async def service_process(platform: Platform) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The service as `gyre up` runs it: a process of its own."""
    environment = os.environ | platform.environment
    environment |= {f"GYRE_{name.upper()}": str(value) for name, value in OVERRIDES.items()}
    environment["GYRE_WORKLOAD_MODULES"] = json.dumps([MODULE])
    with (platform.home / "logs" / "gpu_scheduler.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - it starts in milliseconds, and is killed like any other
            [sys.executable, "-m", "services.gpu_scheduler.main"], env=environment, stdout=log, stderr=log
        )
    try:
        assert await wait_until_serving(platform.settings().grpc_address("gpu_scheduler"), 60)
        yield process
    finally:
        process.kill()
        process.wait()
