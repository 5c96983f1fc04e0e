"""Ten steps of a run, tried: a job of the GPU scheduler, whose record is all that there is of it.

This service keeps nothing, so there is nothing to lose when it dies.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

import grpc
from google.protobuf import json_format
from gyre.gpu_scheduler.v1 import workload_pb2, workload_service_pb2
from gyre.gpu_scheduler.v1.workload_service_pb2_grpc import WorkloadServiceStub
from gyre.training_scheduler.v1 import run_pb2, try_pb2
from gyre_kit.app import Context
from gyre_kit.auth import caller
from gyre_kit.errors import NotFound
from gyre_kit.names import last, new_id, project_of
from gyre_kit.render import enum_name
from ulid import ULID

from services.training_scheduler import creation, reconcile

TRIAL: Final = "gyre_trainers.trial"
ATTEMPTS: Final = 3
States = try_pb2.Try.State
STATES: Final = {
    "QUEUED": States.STATE_QUEUED,
    "ADMITTED": States.STATE_RUNNING,
    "STARTING": States.STATE_RUNNING,
    "RUNNING": States.STATE_RUNNING,
    "STOPPING": States.STATE_STOPPING,
    "FINISHED": States.STATE_SUCCEEDED,
    "FAILED": States.STATE_FAILED,
    "CANCELLED": States.STATE_CANCELLED,
}


class TryNotFound(NotFound):
    """There is no such try in this project; start one with `gyre runs try`."""


async def create_try(
    context: Context, project: str, asked: run_pb2.RunSpec, *, display_name: str = "", request_id: str = ""
) -> try_pb2.Try:
    """Raises: what `plan_run` raises; RemoteError where the scheduler refuses the workload."""
    identity = id_of(project, request_id)
    name = f"projects/{project}/workloads/{identity}"
    if request_id and (earlier := await _find(context, name)):
        return to_proto(earlier)
    planned = await creation.plan_run(context, asked)
    draft = creation.draft(planned, f"projects/{project}/runs/{identity}", display_name, caller().subject)
    wanted = reconcile.workload_spec(draft)
    wanted.kind, wanted.module, wanted.max_attempts = workload_pb2.Workload.KIND_JOB, TRIAL, ATTEMPTS
    wanted.owner = f"projects/{project}/tries/{identity}"
    wanted.spec_json = json.dumps(reconcile.trainer_spec(draft) | {"estimate": draft.estimate}, sort_keys=True)
    request = workload_service_pb2.EnsureWorkloadRequest(name=name, spec=wanted)
    return to_proto(await context.clients.stub(WorkloadServiceStub).EnsureWorkload(request))


async def get_try(context: Context, name: str) -> try_pb2.Try:
    """Raises: TryNotFound."""
    return to_proto(await _known(context, name))


async def cancel_try(context: Context, name: str) -> try_pb2.Try:
    """Raises: TryNotFound."""
    request = workload_service_pb2.CancelWorkloadRequest(name=(await _known(context, name)).name)
    return to_proto(await context.clients.stub(WorkloadServiceStub).CancelWorkload(request))


def id_of(project: str, request_id: str) -> str:
    """The same for the same request, so that asking twice makes one."""
    if not request_id:
        return new_id()
    return str(ULID.from_bytes(hashlib.sha256(f"{project} try {request_id}".encode()).digest()[:16]))


async def _known(context: Context, name: str) -> workload_pb2.Workload:
    found = await _find(context, f"projects/{project_of(name)}/workloads/{last(name)}")
    if found is None:
        raise TryNotFound(name=name)
    return found


async def _find(context: Context, name: str) -> workload_pb2.Workload | None:
    """None where there is none, or it is another kind of work."""
    request = workload_service_pb2.GetWorkloadRequest(name=name)
    try:
        workload = await context.clients.stub(WorkloadServiceStub).GetWorkload(request)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise
    return workload if workload.spec.module == TRIAL else None


def to_proto(workload: workload_pb2.Workload) -> try_pb2.Try:
    found = try_pb2.Try(
        name=workload.spec.owner,
        display_name=workload.spec.display_name,
        state=STATES[enum_name(workload, "state")],
        created_by=workload.spec.user,
        number=workload.number,
        failure_reason=workload.failure_reason,
        failure_message=workload.failure_message,
        waiting_reason=workload.waiting_reason,
        workload=workload.name,
        cost_microusd=workload.usage.cost_microusd,
    )
    found.create_time.CopyFrom(workload.create_time)
    if workload.HasField("end_time"):
        found.end_time.CopyFrom(workload.end_time)
    estimate = json.loads(workload.spec.spec_json)["estimate"]
    json_format.ParseDict(estimate, found.estimate, ignore_unknown_fields=True)
    if workload.result_json:
        json_format.ParseDict(_report(json.loads(workload.result_json)), found.report)
    return found


def _report(told: dict[str, Any]) -> dict[str, Any]:
    """What gyre_trainers/trial.py tells, as TryReport in JSON."""
    return told | {
        "samples": [
            {"sides": {name: {"pieces": pieces} for name, pieces in sample.items()}} for sample in told["samples"]
        ],
        "losses": ["NaN" if loss is None else loss for loss in told["losses"]],
        "alarms": [
            alarm | {"kind": f"KIND_{alarm['kind']}", "action": f"ACTION_{alarm['action']}"} for alarm in told["alarms"]
        ],
    }
