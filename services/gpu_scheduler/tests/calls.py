"""What the tests of this service do over and over: ask for work, wait for it, look at its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
from gyre.gpu_scheduler.v1 import workload_pb2
from gyre.gpu_scheduler.v1 import workload_service_pb2 as api
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre_kit.auth import acting_as
from gyre_kit.db import Session
from gyre_kit.names import last, new_id
from gyre_kit.render import enum_name
from gyre_kit.testing import ENGINEER, Platform, eventually

from services.gpu_scheduler import admission, store, submission
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.models import Workload
from services.gpu_scheduler.settings import Settings

MODULE = "services.gpu_scheduler.tests.sample_work"
OVERRIDES: dict[str, Any] = {
    "workload_modules": (MODULE,),
    "node_id": "test-node",
    "node_cpu_milli": 2000,
    "backoff_seconds": 0.05,
    "stop_grace_seconds": 1.0,
    "replica_start_seconds": 20.0,
}
ENDED = ("FINISHED", "FAILED", "CANCELLED")
KINDS = workload_pb2.Workload.Kind


async def cancel_all(stub: WorkloadServiceStub) -> None:
    with acting_as(ENGINEER):
        reply = await stub.ListWorkloads(api.ListWorkloadsRequest(parent="projects/acme", page_size=500))
        living = [row.name for row in reply.workloads if enum_name(row, "state") not in ENDED]
        for name in living:
            await stub.CancelWorkload(api.CancelWorkloadRequest(name=name))
        for name in living:
            await until(stub, name, *ENDED)


async def ensure(stub: WorkloadServiceStub, kind: str = "TRAINER", cpu: int = 1500, **given: Any) -> str:
    spec = workload_pb2.WorkloadSpec(
        kind=KINDS.Value(f"KIND_{kind}"),
        module=MODULE,
        owner=given.pop("owner", "projects/acme/runs/1"),
        max_attempts=given.pop("most", 0),
    )
    spec.requests.cpu_milli, spec.requests.gpu = cpu, given.pop("gpu", 0)
    spec.spec_json = json.dumps(given)
    name = f"projects/acme/workloads/{new_id()}"
    return str((await stub.EnsureWorkload(api.EnsureWorkloadRequest(name=name, spec=spec))).name)


async def get(stub: WorkloadServiceStub, name: str) -> workload_pb2.Workload:
    return await stub.GetWorkload(api.GetWorkloadRequest(name=name))


async def until(
    stub: WorkloadServiceStub, name: str, *states: str, attempt: int = 0, seconds: float = 30.0
) -> workload_pb2.Workload:
    async def there() -> workload_pb2.Workload | None:
        workload = await get(stub, name)
        return workload if enum_name(workload, "state") in states and workload.attempt >= attempt else None

    workload: workload_pb2.Workload = await eventually(there, seconds)
    return workload


async def log_of(stub: WorkloadServiceStub, name: str, **options: Any) -> bytes:
    call = stub.GetWorkloadLogs(api.GetWorkloadLogsRequest(name=name, **options))
    return b"".join([chunk.data async for chunk in call])


def folder_of(platform: Platform, name: str, attempt: int = 1) -> Path:
    return platform.home / "work" / last(name) / str(attempt)


async def worker_of(platform: Platform, name: str, attempt: int = 1) -> int:
    """The pid of the work itself, once it waits."""
    folder = folder_of(platform, name, attempt)

    async def waiting() -> bool:
        return (folder / "waiting").exists()

    await eventually(waiting)
    return int((folder / "runs").read_text().splitlines()[0])


def leader_of(platform: Platform, name: str, attempt: int = 1) -> int:
    return int(json.loads((folder_of(platform, name, attempt) / "pid").read_text())["pid"])


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def cycle(session: Session, books: Books | None = None) -> admission.Cycle:
    """One cycle; the rows that this session knows are as it left them."""
    await session.flush()
    done = await admission.run_cycle(session, books)
    for row in list(session.identity_map.values()):
        await session.refresh(row)
    return done


async def asked_for(session: Session, name: str, wanted: submission.Wanted, settings: Settings) -> Workload:
    """The workload of that name, which there is now."""
    await submission.ensure_all(session, {name: wanted}, settings)
    (row,) = await store.workloads_named(session, [name])
    return row


async def find_workload(session: Session, name: str) -> Workload | None:
    return next(iter(await store.workloads_named(session, [name])), None)
