"""Ten steps of a run, tried: planned as the run would be, made by a job, and nothing kept here."""

from __future__ import annotations

import json
import math
from typing import Any

import grpc
import pytest
from gyre.training_scheduler.v1 import run_pb2, try_pb2, try_service_pb2
from gyre.training_scheduler.v1.try_service_pb2_grpc import TryServiceStub
from gyre_kit.auth import acting_as
from gyre_kit.testing import ENGINEER, VIEWER
from gyre_trainers.trial import TrialSpec

from services.training_scheduler.tests.calls import Workload, count, create, launched, refusal
from services.training_scheduler.tests.served import create_request
from services.training_scheduler.tests.world import PAIRS, World

Try = try_pb2.Try
REPORT = {
    "steps": 2,
    "total_steps": 10,
    "samples": [{"text": [{"text": "Q", "loss": False}, {"text": "A", "loss": True}]}],
    "tokens": {"sequences": 40, "p50": 20.5, "p95": 31.0, "max": 40, "cut_share": 0.25},
    "losses": [1.5, None],
    "first_step_seconds": 3.0,
    "step_seconds": 1.0,
    "tokens_per_second": None,
    "peak_memory_bytes": 7_000_000_000,
    "training_seconds": {"low": 12.0, "expected": 12.0, "high": 12.0},
    "alarms": [{"kind": "NOT_FINITE", "action": "STOP", "step": 2, "detail": "loss"}],
}


@pytest.fixture
def tries(up: Any, world: World) -> Any:
    return up[2].stub(TryServiceStub)


async def tried(tries: Any, request_id: str = "", **fields: Any) -> Try:
    with acting_as(ENGINEER):
        return await tries.CreateTry(asked(request_id, **fields))


def asked(request_id: str = "", **fields: Any) -> try_service_pb2.CreateTryRequest:
    spec = create_request(**fields).spec
    return try_service_pb2.CreateTryRequest(parent="projects/acme", spec=spec, request_id=request_id)


async def now(tries: Any, name: str) -> Try:
    with acting_as(VIEWER):
        return await tries.GetTry(try_service_pb2.GetTryRequest(name=name))


def workload_of(world: World, found: Try) -> Workload:
    return world.workloads[found.workload]


async def test_a_try_is_a_job_with_what_the_run_would_be_given(runs: Any, tries: Any, world: World) -> None:
    settings = run_pb2.Hyperparameters(epochs=1)
    run = await create(runs, hyperparameters=settings)
    before = await count(runs)

    found = await tried(tries, hyperparameters=settings)

    assert (found.state, found.waiting_reason) == (Try.STATE_QUEUED, "NO_FREE_CPU")
    assert found.name.startswith("projects/acme/tries/") and found.estimate.memory_bytes == run.estimate.memory_bytes
    job, trainer = workload_of(world, found).spec, (await launched(world, run)).spec
    assert (job.kind, job.module, job.owner) == (Workload.KIND_JOB, "gyre_trainers.trial", found.name)
    assert (job.requests, job.queue, job.display_name) == (trainer.requests, trainer.queue, trainer.display_name)
    its_own = ("run", "output_prefix", "estimate")
    given = [
        {name: value for name, value in json.loads(spec.spec_json).items() if name not in its_own}
        for spec in (job, trainer)
    ]
    assert given[0] == given[1]
    launcher = {"attempt": 1, "object_store": "file:///o", "report_address": "h:1", "credential_file": "/c"}
    TrialSpec.model_validate(json.loads(job.spec_json) | launcher)
    assert await count(runs) == before and set(world.pins) == {run.name}


async def test_its_report_is_what_the_job_left(tries: Any, world: World) -> None:
    found = await tried(tries)
    workload = workload_of(world, found)
    workload.state = Workload.STATE_RUNNING
    assert (await now(tries, found.name)).state == Try.STATE_RUNNING
    workload.state, workload.result_json = Workload.STATE_FINISHED, json.dumps(REPORT)

    done = await now(tries, found.name)

    report = done.report
    assert (done.state, report.steps, report.total_steps) == (Try.STATE_SUCCEEDED, 2, 10)
    assert [(piece.text, piece.loss) for piece in report.samples[0].sides["text"].pieces] == [("Q", False), ("A", True)]
    assert (report.tokens.p95, report.tokens.cut_share, report.training_seconds.expected) == (31.0, 0.25, 12.0)
    assert report.losses[0] == 1.5 and math.isnan(report.losses[1])
    assert not report.HasField("tokens_per_second") and report.peak_memory_bytes == 7_000_000_000
    assert (report.alarms[0].kind, report.alarms[0].action) == (
        run_pb2.Alarm.KIND_NOT_FINITE,
        run_pb2.Alarm.ACTION_STOP,
    )


async def test_why_it_failed_is_told(tries: Any, world: World) -> None:
    found = await tried(tries)
    workload = workload_of(world, found)
    workload.state, workload.failure_reason = Workload.STATE_FAILED, "BAD_SPEC"
    workload.failure_message = "error: data.0.uri: no column messages"

    failed = await now(tries, found.name)

    assert (failed.state, failed.failure_reason) == (Try.STATE_FAILED, "BAD_SPEC")
    assert "no column messages" in failed.failure_message and not failed.HasField("report")


async def test_what_a_run_is_refused_for_a_try_is_too(tries: Any, world: World) -> None:
    assert await refusal(tries.CreateTry(asked(datasets=[PAIRS])), grpc.StatusCode.INVALID_ARGUMENT) == "TYPE_MISMATCH"
    assert world.workloads == {}


async def test_a_lost_reply_and_a_second_call_make_one_try(tries: Any, world: World) -> None:
    world.lose.add("EnsureWorkload")
    await refusal(tries.CreateTry(asked("once")), grpc.StatusCode.UNAVAILABLE)
    first, second = await tried(tries, "once"), await tried(tries, "once")
    assert first.name == second.name and len(world.workloads) == 1
    assert (await tried(tries, "twice")).name != first.name


async def test_a_try_can_be_stopped(tries: Any, world: World) -> None:
    found = await tried(tries)
    with acting_as(ENGINEER):
        stopped = await tries.CancelTry(try_service_pb2.CancelTryRequest(name=found.name))
    assert stopped.state == Try.STATE_CANCELLED


async def test_a_name_of_other_work_or_of_nothing_is_no_try(runs: Any, tries: Any, world: World) -> None:
    run = await create(runs)
    await launched(world, run)
    for name in (run.name.replace("/runs/", "/tries/"), "projects/acme/tries/none"):
        call = tries.GetTry(try_service_pb2.GetTryRequest(name=name))
        assert await refusal(call, grpc.StatusCode.NOT_FOUND) == "TRY_NOT_FOUND"
