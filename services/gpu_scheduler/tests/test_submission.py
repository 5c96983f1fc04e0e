"""How work is asked for: once for each name, and what is refused leaves no row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gyre_kit.db import Session, enter_project
from gyre_kit.testing import ENGINEER, PROJECT

from services.gpu_scheduler import queues, submission
from services.gpu_scheduler.decisions.amounts import CARD as WHOLE
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.tests.calls import asked_for, find_workload
from services.gpu_scheduler.tests.test_service import SETTINGS, TRAINER, ensured, events_of, fresh_name, node

__all__ = ["node"]  # a fixture


async def test_who_caused_it_is_whoever_the_caller_names_else_the_caller(session: Session) -> None:
    assert (await ensured(session)).user == ENGINEER.subject
    assert (await ensured(session, replace(TRAINER, user="keys/ada"))).user == "keys/ada"


async def test_the_name_makes_ensure_idempotent(session: Session) -> None:
    first = await ensured(session)
    again = await asked_for(session, first.name, replace(TRAINER, display_name="Another"), SETTINGS)
    assert again is first
    assert await events_of(session, first) == ["WorkloadQueued"]


@pytest.mark.parametrize(
    "other",
    [
        replace(TRAINER, spec_json='{"seed": 8}'),
        replace(TRAINER, requests=Amount(1000)),
        replace(TRAINER, owner="projects/acme/runs/2"),
        replace(TRAINER, queue="projects/acme/queues/other"),
    ],
)
async def test_a_used_name_with_another_spec_is_refused(session: Session, other: submission.Wanted) -> None:
    first = await ensured(session)
    with pytest.raises(submission.SpecDiffers):
        await asked_for(session, first.name, other, SETTINGS)


async def test_a_ulid_that_another_project_uses_is_refused(session: Session) -> None:
    theirs = await ensured(session)
    await enter_project(session, "other")
    with pytest.raises(submission.NameTaken):
        await asked_for(session, theirs.name.replace(PROJECT, "other"), TRAINER, SETTINGS)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (replace(TRAINER, module="os"), submission.ModuleNotAllowed),
        (replace(TRAINER, kind=""), submission.BadSpec),
        (replace(TRAINER, spec_json="[]"), submission.BadSpec),
        (replace(TRAINER, spec_json="{"), submission.BadSpec),
        (replace(TRAINER, requests=Amount(0, 1)), submission.BadSpec),
        (replace(TRAINER, requests=Amount(1, -1)), submission.BadSpec),
        (replace(TRAINER, max_attempts=-1), submission.BadSpec),
        (replace(TRAINER, queue="projects/acme/queues/none"), queues.QueueNotFound),
        (replace(TRAINER, requests=Amount(2001)), submission.FitsNowhere),
        (replace(TRAINER, requests=Amount(100, 0, WHOLE)), submission.FitsNowhere),
    ],
)
async def test_what_cannot_run_is_refused_and_leaves_no_row(
    session: Session, wrong: submission.Wanted, error: type[Exception]
) -> None:
    name = fresh_name()
    with pytest.raises(error):
        await asked_for(session, name, wrong, SETTINGS)
    assert await find_workload(session, name) is None


@pytest.mark.parametrize("name", ["projects/acme/workloads/../x", "projects/acme/workloads/", "acme/1", ""])
async def test_a_name_that_could_leave_the_work_folder_is_refused(session: Session, name: str) -> None:
    with pytest.raises(submission.BadWorkloadName):
        await asked_for(session, name, TRAINER, SETTINGS)
