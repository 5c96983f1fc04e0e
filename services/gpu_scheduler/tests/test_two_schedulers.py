"""Two schedulers on one database: nothing is given twice, also where one is stopped and goes on later with old books."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App
from gyre_kit.auth import Signer
from gyre_kit.rpc import Clients, wait_until_serving
from gyre_kit.testing import Platform, eventually, free_port_offset
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import MODULE, OVERRIDES, cancel_all, ensure, folder_of, get, until

IDLE_SECONDS = 2.0
BLOCKED = """
    SELECT count(*) FROM pg_stat_activity AS a JOIN pg_locks AS l ON l.pid = a.pid
    WHERE l.locktype = 'advisory' AND l.granted AND a.wait_event_type = 'Lock' AND a.query LIKE 'INSERT INTO%attempt%'
"""
HELD = "SELECT coalesce(sum(cpu_milli), 0) FROM gpu_scheduler.workload WHERE state NOT IN ('QUEUED', 'FINISHED', 'FAILED', 'CANCELLED')"


@pytest.fixture(autouse=True)
async def emptied(platform: Platform) -> AsyncIterator[None]:
    yield
    await platform.empty("gpu_scheduler")


@pytest.fixture
async def other_app(platform: Platform, app: App) -> App:
    overrides = OVERRIDES | {"port_offset": free_port_offset(), "cycle_idle_seconds": IDLE_SECONDS}
    overrides["kafka_bootstrap"] = platform.settings().kafka_address
    return replace(app, settings=platform.settings(Settings, **overrides))


async def test_a_scheduler_that_is_stopped_in_a_cycle_loses_its_lock_and_nothing_is_given_twice(
    platform: Platform, app: App, other_app: App, workloads: WorkloadServiceStub
) -> None:
    engine = create_async_engine(platform.settings().database_url_of("gpu_scheduler"))
    others = Clients(other_app.settings, Signer("api_gateway", other_app.settings.keys_folder))
    other = others.stub(WorkloadServiceStub)
    async with engine.connect() as database, scheduler(platform) as first:
        name = await stopped_in_a_cycle(database, first, workloads)
        async with platform.serving(other_app):
            await until(other, name, "RUNNING")  # the other goes on, though the first never said that it was done
            first.send_signal(signal.SIGCONT)
            second = await ensure(workloads, cpu=900, do="wait")  # asked of the one that was stopped
            await until(workloads, second, "RUNNING")

            first.send_signal(signal.SIGSTOP)  # at rest, with books that grow old
            third = await ensure(other, cpu=150, do="wait")
            await until(other, third, "RUNNING")
            first.send_signal(signal.SIGCONT)
            fourth = await ensure(workloads, cpu=100, do="wait")

            async def is_refused() -> bool:
                return (await get(workloads, fourth)).waiting_reason == "NO_FREE_CPU"

            await eventually(is_refused)
            assert await held(database) == 900 + 900 + 150
            for each in (name, second, third):
                assert (await get(other, each)).attempt == 1
                assert len((folder_of(platform, each) / "runs").read_text().splitlines()) == 1, "it began twice"
            await cancel_all(other)
    await others.close()
    await engine.dispose()


async def stopped_in_a_cycle(
    database: AsyncConnection, process: subprocess.Popen[bytes], workloads: WorkloadServiceStub
) -> str:
    """Has `process` stopped when it has the lock, has written some of what it decided, and has to write the rest."""
    await database.execute(sa.text("LOCK TABLE gpu_scheduler.attempt IN SHARE MODE"))
    name = await ensure(workloads, cpu=900, do="wait")

    async def is_blocked() -> bool:
        await database.execute(sa.text("SELECT pg_stat_clear_snapshot()"))  # else one transaction sees but one moment
        return bool(await database.scalar(sa.text(BLOCKED)))

    await eventually(is_blocked)
    process.send_signal(signal.SIGSTOP)
    await database.rollback()  # its INSERT goes through now, and PostgreSQL waits for its next word
    return name


async def held(database: AsyncConnection) -> int:
    await database.execute(sa.text("SELECT set_config('gyre.project', '*', true)"))
    found = await database.scalar(sa.text(HELD))
    await database.rollback()
    return int(found)


@asynccontextmanager
async def scheduler(platform: Platform) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The service as a process of its own."""
    environment = os.environ | platform.environment
    values = OVERRIDES | {"cycle_idle_seconds": IDLE_SECONDS}
    environment |= {f"GYRE_{name.upper()}": str(value) for name, value in values.items()}
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
