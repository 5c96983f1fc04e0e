"""Work that a platform under test is asked to do: it waits until it is stopped."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from gyre.gpu_scheduler.v1 import workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.auth import Identity, Role, Signer, acting_as
from gyre_kit.names import new_id
from gyre_kit.rpc import Clients
from gyre_kit.settings import KitSettings

from tests.conftest import Running

MODULE = "services.gpu_scheduler.tests.sample_work"  # to be allowed by GYRE_WORKLOAD_MODULES


def trainer(running: Running, queue: str, **requests: int) -> str:
    """Submits a trainer that asks for `requests`, and returns its name."""
    name = f"projects/default/workloads/{new_id()}"
    with ThreadPoolExecutor(1) as aside:  # a browser may have a loop in this thread
        aside.submit(asyncio.run, _ensure(running, name, queue, requests)).result()
    return name


async def _ensure(running: Running, name: str, queue: str, requests: dict[str, int]) -> None:
    settings = KitSettings(home=running.home, port_offset=running.port_offset)
    clients = Clients(settings, Signer("api_gateway", settings.keys_folder))
    wanted = workload_pb2.WorkloadSpec(
        kind=workload_pb2.Workload.KIND_TRAINER,
        module=MODULE,
        spec_json=json.dumps({"do": "wait"}),
        requests=requests,
        queue=f"projects/default/queues/{queue}",
    )
    with acting_as(Identity("keys/test", "default", Role.ENGINEER)):
        await clients.stub(WorkloadServiceStub).EnsureWorkload(api.EnsureWorkloadRequest(name=name, spec=wanted))
    await clients.close()
