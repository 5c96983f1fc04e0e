"""This service over real gRPC, its neighbours beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from gyre.training_scheduler.v1.run_report_service_pb2_grpc import RunReportServiceStub
from gyre.training_scheduler.v1.run_service_pb2_grpc import RunServiceStub
from gyre_kit.app import Context
from gyre_kit.rpc import Clients
from gyre_kit.testing import Platform, session_of

from services.training_scheduler.tests.laps import Served
from services.training_scheduler.tests.neighbours import neighbours
from services.training_scheduler.tests.served import renew, serving
from services.training_scheduler.tests.world import World, populated


@pytest.fixture(scope="module")
async def up(platform: Platform) -> AsyncIterator[tuple[World, Context, Clients]]:
    world = populated()
    async with serving(platform, world) as context:
        clients = platform.clients()
        yield world, context, clients
        await clients.close()
    await platform.empty("training_scheduler")


@pytest.fixture
def world(up: Any) -> World:
    held: World = up[0]
    renew(held)
    return held


@pytest.fixture
def runs(up: Any, world: World) -> Any:
    return up[2].stub(RunServiceStub)


@pytest.fixture
def reports(up: Any) -> Any:
    return up[2].stub(RunReportServiceStub)


@pytest.fixture(scope="module")
async def shared(platform: Platform) -> AsyncIterator[Served]:
    world = populated()
    async with neighbours(platform, world):
        served = Served(platform, world)
        await served.start()
        yield served
        await served.stop()
        await served.clients.close()
    await platform.empty("training_scheduler")


@pytest.fixture
def served(shared: Served) -> Served:
    renew(shared.world)
    shared.world.auto = True
    return shared


session = session_of("training_scheduler")
