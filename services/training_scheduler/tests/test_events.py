"""Every reaction to what other services tell: a run is looked at again, or remembers what became of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gyre.gpu_scheduler.v1.events_pb2 import (
    WorkloadAdmitted,
    WorkloadCancelled,
    WorkloadFailed,
    WorkloadFinished,
    WorkloadPreempted,
    WorkloadStarted,
)
from gyre.model_registry.v1.events_pb2 import VersionRegistered
from gyre.model_registry.v1.version_pb2 import Parents
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.training_scheduler import service
from services.training_scheduler.main import app
from services.training_scheduler.models import Run, RunState
from services.training_scheduler.service import Seen

VERSION = f"projects/{PROJECT}/models/hotline/versions/3"
WORKLOAD_EVENTS = [
    WorkloadAdmitted,
    WorkloadStarted,
    WorkloadPreempted,
    WorkloadFinished,
    WorkloadFailed,
    WorkloadCancelled,
]


async def a_run(session: Session, number: int = 1) -> Run:
    """Accepted, and not to be looked at before an hour is over."""
    wanted = service.NewRun(
        name=f"projects/{PROJECT}/runs/01JRUN{number}",
        project=PROJECT,
        display_name="a run",
        created_by="keys/engineer",
        request_id="",
        pipeline="",
        spec={"method": "SFT", "base": "b", "datasets": ["d"], "seed": "7", "max_attempts": 5, "hyperparameters": {}},
        inputs={},
        base_version=f"projects/{PROJECT}/models/m/versions/1",
        base_parameters=1000,
        estimate={"steps": 60},
        requests={"cpu_milli": 1500, "memory_bytes": 1, "gpu": 0},
        pins=[],
    )
    run = await service.accept(session, wanted)
    run.due = session.clock.now() + timedelta(hours=1)
    await session.flush()
    return run


def test_these_are_all_reactions() -> None:
    assert set(app.handlers) == {*WORKLOAD_EVENTS, VersionRegistered}


@pytest.mark.parametrize("kind", WORKLOAD_EVENTS)
async def test_whatever_happens_to_its_workload_wakes_the_run(session: Session, kind: Any) -> None:
    mine, other = await a_run(session), await a_run(session, number=2)
    await app.handlers[kind](session, kind(name=f"projects/{PROJECT}/workloads/01J", owner=mine.name))
    await session.refresh(mine)
    await session.refresh(other)
    assert mine.due is None
    assert other.due is not None


@pytest.mark.parametrize("kind", WORKLOAD_EVENTS)
async def test_a_run_that_has_ended_is_left_alone(session: Session, kind: Any) -> None:
    run = await a_run(session)
    await service.follow(session, run, Seen("FAILED", attempt=1, failure_reason="OUT_OF_MEMORY"), None)
    run.due = later = session.clock.now() + timedelta(hours=1)
    await session.flush()
    await app.handlers[kind](session, kind(name=f"projects/{PROJECT}/workloads/01J", owner=run.name))
    await session.refresh(run)
    assert (run.state, run.due) == (RunState.FAILED, later)


async def test_a_run_remembers_the_version_that_it_led_to(session: Session) -> None:
    run = await a_run(session)
    await app.handlers[VersionRegistered](session, VersionRegistered(name=VERSION, parents=Parents(run=run.name)))
    await session.flush()
    await session.refresh(run)
    assert run.model_version == VERSION


async def test_a_version_of_no_run_changes_nothing(session: Session) -> None:
    run = await a_run(session)
    await app.handlers[VersionRegistered](session, VersionRegistered(name=VERSION))
    await session.flush()
    await session.refresh(run)
    assert run.model_version == ""
