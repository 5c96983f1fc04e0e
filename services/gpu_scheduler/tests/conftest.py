"""The service over real gRPC; `session` is for what needs no process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.app import App
from gyre_kit.auth import acting_as
from gyre_kit.rpc import Clients
from gyre_kit.testing import ENGINEER, Platform, session_of

from services.gpu_scheduler import main
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import OVERRIDES

session = session_of("gpu_scheduler")


@pytest.fixture(scope="module")
def app(platform: Platform) -> App:
    return replace(main.app, settings=platform.settings(Settings, **OVERRIDES))


@pytest.fixture
async def clients(platform: Platform) -> AsyncIterator[Clients]:
    clients = platform.clients()
    with acting_as(ENGINEER):
        yield clients
    await clients.close()


@pytest.fixture
def workloads(clients: Clients) -> WorkloadServiceStub:
    return clients.stub(WorkloadServiceStub)
