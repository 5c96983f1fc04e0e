"""What was promised, between books that are thrown away, schedulers that do not know of one another, and faults."""

from __future__ import annotations

from dataclasses import replace

from gyre_kit.db import Session
from gyre_kit.testing import ManualClock

from services.gpu_scheduler import admission, service, submission
from services.gpu_scheduler.books import Books
from services.gpu_scheduler.decisions.amounts import Amount
from services.gpu_scheduler.decisions.reasons import Reason
from services.gpu_scheduler.launchers.base import Ended
from services.gpu_scheduler.models import Attempt, Node, NodeState, Workload
from services.gpu_scheduler.tests.calls import cycle
from services.gpu_scheduler.tests.test_service import GIB, SETTINGS, TRAINER, ensured, launched, node

__all__ = ["node"]  # a fixture
STOPPED = Ended(143, asked_to_stop=True)


async def preempting(session: Session, books: Books | None = None) -> tuple[Workload, Attempt, Workload]:
    """One that leaves, its attempt, and the one for which it leaves."""
    low = await ensured(session)
    await cycle(session, books)
    attempt = await launched(session, low)
    urgent = await ensured(session, replace(TRAINER, priority=10))
    assert (await cycle(session, books)).preempted == 1 and urgent.promised
    return low, attempt, urgent


async def test_a_promise_that_one_scheduler_made_the_other_keeps(session: Session) -> None:
    other = Books("best-effort")
    await cycle(session, other)
    low, attempt, urgent = await preempting(session, Books("best-effort"))
    await service.attempt_ended(session, low, attempt, STOPPED, SETTINGS)
    later = await ensured(session, replace(TRAINER, priority=99))
    await cycle(session, other)
    assert (urgent.attempt, later.attempt) == (1, 0), "low left for urgent, which is then asked to go in its turn"


async def test_what_is_stopping_already_is_not_asked_to_go_for_somebody(session: Session) -> None:
    books = Books("best-effort")
    low = await ensured(session)
    await cycle(session, books)
    attempt = await launched(session, low)
    await service.cancel(session, low.name)
    urgent = await ensured(session, replace(TRAINER, priority=10))
    for known in (books, None):  # None: books that are read anew
        assert await cycle(session, known) == admission.Cycle(0, 0) and not urgent.promised
    await service.attempt_ended(session, low, attempt, STOPPED, SETTINGS)
    assert (await cycle(session, books)).admitted == 1 and urgent.state == "ADMITTED"


async def test_what_was_promised_on_a_node_that_takes_no_work_any_more_is_given_to_nobody_there(
    session: Session, node: Node
) -> None:
    low, attempt, urgent = await preempting(session)
    node.state = NodeState.CORDONED
    await cycle(session)
    assert (urgent.state, urgent.promised) == ("QUEUED", {})
    await service.attempt_ended(session, low, attempt, STOPPED, SETTINGS)
    assert (await cycle(session)).admitted == 0
    node.state = NodeState.READY
    await cycle(session)
    assert (urgent.state, low.state) == ("ADMITTED", "QUEUED")


async def test_who_is_held_gives_up_what_it_was_promised(session: Session) -> None:
    low, attempt, urgent = await preempting(session)
    await service.hold(session, urgent.name)
    await service.attempt_ended(session, low, attempt, STOPPED, SETTINGS)
    await cycle(session)
    assert (low.state, urgent.waiting_reason, urgent.promised) == ("ADMITTED", Reason.WORKLOAD_HELD, {})
    await service.release(session, urgent.name)
    await cycle(session)
    assert urgent.state == "QUEUED", "low holds what urgent was promised once"


async def test_a_promise_outlasts_that_its_owner_had_failed_before(session: Session, clock: ManualClock) -> None:
    books = Books("best-effort")
    urgent = await ensured(session, replace(TRAINER, priority=10))
    await cycle(session, books)
    await service.attempt_ended(session, urgent, await launched(session, urgent), Ended(1), SETTINGS)
    low = await ensured(session)
    await cycle(session, books)
    await launched(session, low)
    clock.advance(seconds=5)
    assert (await cycle(session, books)).preempted == 1
    assert await cycle(session, books) == admission.Cycle(0, 0)
    assert books.cluster is not None and urgent.name in books.cluster.promises


async def test_a_clock_that_is_put_back_by_hours_prolongs_a_back_off_by_its_longest_time_at_most(
    session: Session, clock: ManualClock
) -> None:
    for books in (Books("best-effort", SETTINGS.backoff_max_seconds), None):
        work = await ensured(session)
        await cycle(session, books)
        clock.advance(seconds=30)
        attempt = await launched(session, work)
        clock.advance(hours=-3)
        await service.attempt_ended(session, work, attempt, Ended(1), SETTINGS)
        assert work.ran_seconds == 0.0 and work.state == "QUEUED"
        clock.advance(hours=-3)
        await cycle(session, books)
        assert work.waiting_reason == Reason.BACKING_OFF
        if books is not None:
            clock.advance(seconds=SETTINGS.backoff_max_seconds + 1)
            assert (await cycle(session, books)).admitted == 1
            await service.attempt_ended(session, work, await launched(session, work), Ended(0), SETTINGS)


async def test_absurd_sizes_are_refused_also_where_no_node_was_ever_seen(session: Session) -> None:
    for amount in (Amount(1 << 62, GIB), Amount(100, 1 << 62), Amount(100, GIB, 1 << 62), Amount(-1), Amount(1, -1)):
        try:
            await ensured(session, replace(TRAINER, requests=amount))
        except submission.BadSpec as error:
            assert "spec.requests" in str(error.metadata)
        else:
            raise AssertionError(f"{amount} was accepted")
