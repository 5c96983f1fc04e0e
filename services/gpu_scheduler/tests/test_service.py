from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.db import Session, enter_project
from gyre_kit.errors import NotFound
from gyre_kit.names import new_id
from gyre_kit.resources import EtagMismatch
from gyre_kit.testing import PROJECT, ManualClock, outbox_of

from services.gpu_scheduler import (
    admission,
    nodes,
    service,
    store,
    submission,
)
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions.amounts import CARD as WHOLE
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.hardware import CardReading, Machine
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import Attempt, Card, Node, Workload, WorkloadState
from services.gpu_scheduler.settings import Settings
from services.gpu_scheduler.tests.calls import asked_for, cycle, find_workload
from services.gpu_scheduler.usage import usage_of

GIB = 1024**3
SETTINGS = Settings(home=Path("/nonexistent"), workload_modules=("sample",))
MACHINE = Machine("a", "a", "cpu", 2000, 24 * GIB, 0.0, 0)
CARD = CardReading(0, "GPU-1", "NVIDIA H100 80GB HBM3", 80 * GIB)
TRAINER = submission.Wanted("TRAINER", "sample", "{}", Amount(1500, 2 * GIB), owner=f"projects/{PROJECT}/runs/1")
REPLICA = replace(TRAINER, kind="REPLICA", requests=Amount(250, GIB))


@pytest.fixture(autouse=True)
async def node(session: Session) -> Node:
    return await nodes.heard_of(session, MACHINE, SETTINGS)


def fresh_name() -> str:
    return f"projects/{PROJECT}/workloads/{new_id()}"


async def ensured(session: Session, wanted: submission.Wanted = TRAINER) -> Workload:
    return await asked_for(session, fresh_name(), wanted, SETTINGS)


async def launched(session: Session, workload: Workload) -> Attempt:
    """Brings an admitted workload to RUNNING."""
    attempt = await store.attempt(session, workload.name, workload.attempt)
    assert attempt is not None
    await service.launched(session, workload, attempt, {"pid": 4711, "started": 1.0})
    await service.running(session, workload, "")
    return attempt


async def events_of(session: Session, workload: Workload) -> list[str]:
    return [event for event, subject in await outbox_of(session) if subject == workload.name]


async def test_a_workload_waits_and_says_so(session: Session) -> None:
    workload = await ensured(session)
    assert (workload.state, workload.waiting_reason, workload.number) == ("QUEUED", "NOT_CONSIDERED_YET", 1)
    assert workload.queue == f"projects/{PROJECT}/queues/default"
    assert await events_of(session, workload) == ["WorkloadQueued"]


async def test_a_trainer_fits_beside_a_replica_and_a_second_trainer_waits_with_its_reason(session: Session) -> None:
    replica, first, second = [await ensured(session, wanted) for wanted in (REPLICA, TRAINER, TRAINER)]
    assert await cycle(session) == admission.Cycle(admitted=2, preempted=0, has_more=False)
    await session.refresh(second)
    assert [row.state for row in (replica, first, second)] == ["ADMITTED", "ADMITTED", "QUEUED"]
    assert second.waiting_reason == Reason.NO_FREE_CPU
    attempt = await launched(session, first)
    await service.attempt_ended(session, first, attempt, Ended(0), SETTINGS)
    assert await cycle(session) == admission.Cycle(admitted=1, preempted=0, has_more=False)
    assert second.state == "ADMITTED"


async def test_an_attempt_is_written_down_before_anything_is_launched_and_its_number_rises(session: Session) -> None:
    workload = await ensured(session)
    for number in (1, 2):
        workload.not_before = None
        await cycle(session)
        attempt = await store.attempt(session, workload.name, number)
        assert attempt is not None
        assert workload.attempt == number
        await launched(session, workload)
        await service.attempt_ended(session, workload, attempt, Ended(1), SETTINGS)
    assert workload.state == "QUEUED"


async def test_the_events_of_a_life_come_in_its_order(session: Session) -> None:
    workload = await ensured(session)
    await cycle(session)
    attempt = await launched(session, workload)
    await service.attempt_ended(session, workload, attempt, Ended(0, result='{"rows": 1}'), SETTINGS)
    assert (workload.state, workload.result_json) == ("FINISHED", '{"rows": 1}')
    assert await events_of(session, workload) == [
        "WorkloadQueued",
        "WorkloadAdmitted",
        "WorkloadStarted",
        "WorkloadFinished",
    ]


async def test_work_that_ended_before_we_looked_was_started_all_the_same(session: Session) -> None:
    workload = await ensured(session)
    await cycle(session)
    attempt = await store.attempt(session, workload.name, 1)
    assert attempt is not None
    await service.launched(session, workload, attempt, {"pid": 1, "started": 1.0})
    await service.attempt_ended(session, workload, attempt, Ended(0), SETTINGS)
    assert (await events_of(session, workload))[-2:] == ["WorkloadStarted", "WorkloadFinished"]


async def test_a_fault_backs_off_and_the_last_one_fails_for_good(session: Session, clock: ManualClock) -> None:
    workload = await ensured(session, replace(TRAINER, max_attempts=2))
    await cycle(session)
    attempt = await launched(session, workload)
    await service.attempt_ended(session, workload, attempt, Ended(last_words="killed by somebody"), SETTINGS)
    assert (workload.state, workload.waiting_reason, workload.exit_code) == ("QUEUED", Reason.BACKING_OFF, -9)
    assert (await cycle(session)).admitted == 0
    clock.advance(seconds=1)
    assert (await cycle(session)).admitted == 1
    attempt = await launched(session, workload)
    await service.attempt_ended(session, workload, attempt, Ended(-9, last_words="killed by somebody"), SETTINGS)
    assert (workload.state, workload.failure_reason) == ("FAILED", "ATTEMPTS_EXHAUSTED")
    assert "killed by somebody" in workload.failure_message
    assert (await events_of(session, workload))[-1] == "WorkloadFailed"


async def test_work_that_was_lost_with_its_node_is_queued_again_and_no_fault_is_counted(session: Session) -> None:
    workload = await ensured(session, replace(TRAINER, max_attempts=1))
    await cycle(session)
    attempt = await launched(session, workload)
    await service.attempt_ended(session, workload, attempt, Ended(lost_node="nodes/far"), SETTINGS)
    assert (workload.state, workload.waiting_reason, workload.faults) == ("QUEUED", "NODE_LOST", 0)
    assert attempt.end_reason == "NODE_LOST"
    assert "was lost with its node nodes/far" in workload.failure_message
    assert (await cycle(session)).admitted == 1


async def test_what_waits_is_cancelled_at_once(session: Session) -> None:
    workload = await service.cancel(session, (await ensured(session)).name)
    assert workload.state == "CANCELLED"
    assert await events_of(session, workload) == ["WorkloadQueued", "WorkloadCancelled"]


@pytest.mark.parametrize("state", [WorkloadState.ADMITTED, WorkloadState.STARTING, WorkloadState.RUNNING])
async def test_what_holds_resources_holds_them_until_its_stop_is_confirmed(
    session: Session, state: WorkloadState
) -> None:
    workload, waiting = await ensured(session), await ensured(session)
    await cycle(session)
    attempt = await store.attempt(session, workload.name, 1)
    assert attempt is not None
    if state != WorkloadState.ADMITTED:
        await service.launched(session, workload, attempt, {"pid": 1, "started": 1.0})
    if state == WorkloadState.RUNNING:
        await service.running(session, workload, "")
    assert workload.state == state
    workload.lease_token = "held by somebody"
    await service.cancel(session, workload.name)
    assert (workload.state, workload.lease_token) == ("STOPPING", None)
    assert (await cycle(session)).admitted == 0
    await service.attempt_ended(session, workload, attempt, Ended(143), SETTINGS)
    assert workload.state == "CANCELLED"
    assert (await events_of(session, workload))[-1] == "WorkloadCancelled"
    await cycle(session)
    assert waiting.state == "ADMITTED"


async def test_cancelling_twice_and_cancelling_what_ended_changes_nothing(session: Session) -> None:
    workload = await ensured(session)
    await cycle(session)
    attempt = await launched(session, workload)
    await service.cancel(session, workload.name)
    await service.cancel(session, workload.name)
    await service.attempt_ended(session, workload, attempt, Ended(0), SETTINGS)
    assert (await service.cancel(session, workload.name)).state == "CANCELLED"
    assert (await events_of(session, workload)).count("WorkloadCancelled") == 1


async def test_a_stale_etag_keeps_a_workload_from_being_cancelled(session: Session) -> None:
    workload = await ensured(session)
    with pytest.raises(EtagMismatch):
        await service.cancel(session, workload.name, etag="0")


async def test_higher_priority_takes_the_place_of_lower_which_waits_again(session: Session) -> None:
    low = await ensured(session)
    await cycle(session)
    attempt = await launched(session, low)
    urgent = await ensured(session, replace(TRAINER, priority=10))
    assert await cycle(session) == admission.Cycle(admitted=0, preempted=1, has_more=False)
    await session.refresh(urgent)
    assert (low.state, urgent.waiting_reason) == ("STOPPING", Reason.WAITING_FOR_PREEMPTION)
    await service.attempt_ended(session, low, attempt, Ended(143), SETTINGS)
    assert (low.state, low.waiting_reason, low.faults) == ("QUEUED", Reason.PREEMPTED, 0)
    assert attempt.preempted
    await cycle(session)
    await session.refresh(low)
    assert (urgent.state, low.waiting_reason) == ("ADMITTED", Reason.NO_FREE_CPU)
    assert (await events_of(session, low))[-1] == "WorkloadPreempted"


async def test_what_was_preempted_but_was_done_is_finished(session: Session) -> None:
    low = await ensured(session)
    await cycle(session)
    attempt = await launched(session, low)
    await ensured(session, replace(TRAINER, priority=10))
    await cycle(session)
    await service.attempt_ended(session, low, attempt, Ended(0), SETTINGS)
    assert low.state == "FINISHED"
    assert not attempt.preempted


async def test_a_cancel_overrules_a_preemption(session: Session) -> None:
    low = await ensured(session)
    await cycle(session)
    attempt = await launched(session, low)
    await ensured(session, replace(TRAINER, priority=10))
    await cycle(session)
    await service.cancel(session, low.name)
    await service.attempt_ended(session, low, attempt, Ended(143), SETTINGS)
    assert low.state == "CANCELLED"


async def test_usage_counts_what_was_held_at_the_price_of_its_flavor(session: Session, clock: ManualClock) -> None:
    workload = await ensured(session)
    await cycle(session)
    attempt = await launched(session, workload)
    clock.advance(hours=2)
    service.sampled(session, attempt, 100.0, 3 * GIB)
    service.sampled(session, attempt, 90.0, GIB)
    usage = usage_of([attempt], clock.now())
    assert (usage.held_seconds, usage.cpu_seconds, usage.peak_memory_bytes) == (7200, 100, 3 * GIB)
    assert usage.cost_microusd == round(2 * 1.5 * SETTINGS.cpu_hour_microusd)


async def test_a_card_belongs_to_one_workload_until_its_end(session: Session, node: Node) -> None:
    await nodes.heard_of(session, replace(MACHINE, flavor="h100", cards=[CARD]), SETTINGS)
    wanted = replace(TRAINER, requests=Amount(500, GIB, WHOLE))
    first, second = await ensured(session, wanted), await ensured(session, wanted)
    await cycle(session)
    await session.refresh(second)
    card = await session.get_one(Card, "nodes/a/cards/0")
    assert (card.workload, second.waiting_reason) == (first.name, Reason.NO_FREE_GPU)
    attempt = await launched(session, first)
    assert attempt.card_uuids == ["GPU-1"]
    await service.attempt_ended(session, first, attempt, Ended(0), SETTINGS)
    await session.refresh(card)
    assert card.workload == ""
    await cycle(session)
    assert second.state == "ADMITTED"


async def test_an_event_carries_all_its_fields_and_nothing_that_people_wrote(session: Session) -> None:
    from sqlalchemy import text

    secret = json.dumps({"note": "a private remark"})
    workload = await ensured(session, replace(TRAINER, spec_json=secret, display_name="a private remark"))
    await cycle(session)
    attempt = await launched(session, workload)
    await service.attempt_ended(session, workload, attempt, Ended(64, last_words="a private remark"), SETTINGS)
    rows = (await session.execute(text("SELECT type, payload FROM outbox ORDER BY id"))).all()
    failed = json.loads(rows[-1].payload)
    assert (failed["exit_code"], failed["failure_reason"], failed["attempt"]) == (64, "BAD_SPEC", 1)
    assert failed["usage"]["cost_microusd"] == "0"
    assert failed["end_time"]
    assert all("a private remark" not in row.payload for row in rows)


async def test_a_workload_of_another_project_does_not_exist(session: Session) -> None:
    workload = await ensured(session)
    await enter_project(session, "other")
    session.expunge_all()
    with pytest.raises(NotFound):
        await service.cancel(session, workload.name)
    with acting_as(SYSTEM):
        await enter_project(session, "*")
        assert (await cycle(session)).admitted == 1
        assert await find_workload(session, workload.name)


async def test_what_is_held_is_not_considered_until_it_is_released(session: Session) -> None:
    workload = await ensured(session)
    await service.hold(session, workload.name)
    assert (await cycle(session)).admitted == 0 and workload.waiting_reason == Reason.WORKLOAD_HELD
    await service.release(session, workload.name)
    assert (await cycle(session)).admitted == 1


async def test_what_runs_and_is_held_stops_with_no_fault_and_waits(session: Session) -> None:
    workload = await ensured(session)
    await cycle(session)
    attempt = await launched(session, workload)
    await service.hold(session, workload.name)
    assert workload.state == "STOPPING"
    await service.attempt_ended(session, workload, attempt, Ended(143), SETTINGS)
    assert (workload.state, workload.faults) == ("QUEUED", 0)
    assert (await cycle(session)).admitted == 0
    await service.cancel(session, workload.name)
    with pytest.raises(service.AlreadyEnded):
        await service.release(session, workload.name)


async def test_what_ran_for_as_long_as_it_may_is_ended(session: Session, clock: ManualClock) -> None:
    workload = await ensured(session, replace(TRAINER, max_run_seconds=60))
    await cycle(session)
    attempt = await launched(session, workload)
    for _ in range(6):
        assert await service.end_overdue(session) == []
        clock.advance(seconds=10)
    assert await service.end_overdue(session) == [workload.name]
    await service.attempt_ended(session, workload, attempt, Ended(143), SETTINGS)
    assert (workload.state, workload.failure_reason) == ("FAILED", "MAX_RUN_EXCEEDED")


async def test_books_follow_what_changed_and_cost_nothing_where_nothing_did(
    session: Session, clock: ManualClock
) -> None:
    books = Books("best-effort")
    first = await ensured(session)
    assert (await cycle(session, books)).admitted == 1
    known = books.cluster
    second = await ensured(session)
    assert (await cycle(session, books)).admitted == 0 and second.name in known.waiting
    attempt = await launched(session, first)
    await service.attempt_ended(session, first, attempt, Ended(1), SETTINGS)
    assert (await cycle(session, books)).admitted == 1 and second.state == "ADMITTED"
    assert books.aside == {first.name: Reason.BACKING_OFF}
    await service.cancel(session, first.name)
    clock.advance(seconds=5)
    assert (await cycle(session, books)).admitted == 0 and first.name not in known.waiting
    assert books.cluster is known, "they were never read anew"
    await nodes.heard_of(session, replace(MACHINE, cpu_milli=4000), SETTINGS)
    await cycle(session, books)
    assert books.cluster is not known, "a node has changed"


async def test_a_promise_survives_that_the_books_are_thrown_away(session: Session) -> None:
    low = await ensured(session)
    await cycle(session)
    attempt = await launched(session, low)
    urgent = await ensured(session, replace(TRAINER, priority=10))
    await cycle(session)
    small = await ensured(session, replace(TRAINER, requests=Amount(600)))
    assert (await cycle(session)).admitted == 0, "what low holds is promised"
    assert small.waiting_reason == Reason.RESERVED_FOR_HIGHER_PRIORITY
    await service.attempt_ended(session, low, attempt, Ended(143), SETTINGS)
    assert await cycle(session) == admission.Cycle(admitted=1, preempted=0, has_more=False)
    assert (urgent.state, urgent.promised) == ("ADMITTED", {})
    assert (low.preempted_for, low.preemption_rule, low.preemptions) == (urgent.name, "HIGHER_PRIORITY", 1)
    assert (attempt.preempted_for, attempt.end_reason) == (urgent.name, "HIGHER_PRIORITY"), "and so does the attempt"
    events = [event for event, subject in await outbox_of(session) if subject == low.name]
    assert events[-1] == "WorkloadPreempted"
