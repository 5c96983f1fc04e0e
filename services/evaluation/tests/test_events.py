from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from gyre.gpu_scheduler.v1.events_pb2 import WorkloadCancelled, WorkloadFailed, WorkloadFinished
from gyre_kit.db import Session
from gyre_kit.testing import PROJECT

from services.evaluation import service
from services.evaluation.main import app


@pytest.mark.parametrize("kind", [WorkloadFinished, WorkloadFailed, WorkloadCancelled])
async def test_an_ended_job_makes_its_evaluation_due_at_once(session: Session, kind: Any) -> None:
    given = {"variant": "projects/acme/models/m/versions/1/variants/q8-0", "suite": "projects/acme/suites/s"}
    evaluation = await service.create_evaluation(session, PROJECT, "e1", given, "")
    evaluation.due = session.clock.now() + timedelta(seconds=60)
    await session.flush()
    await app.handlers[kind](session, kind(name=evaluation.workload))
    await session.refresh(evaluation)
    assert evaluation.due is None
