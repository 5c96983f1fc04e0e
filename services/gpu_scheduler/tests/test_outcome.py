from __future__ import annotations

import pytest

from services.gpu_scheduler.outcome import Backoff, Next, Outcome, judge


def after(
    code: int, kind: str = "TRAINER", *, asked: bool = False, faults: int = 0, most: int = 5, lived: float = 1.0
) -> Outcome:
    return judge(
        kind, code, asked_to_stop=asked, faults=faults, max_attempts=most, lived_seconds=lived, backoff=Backoff()
    )


def test_exit_code_0_finishes_a_trainer_and_a_job() -> None:
    assert after(0).next is after(0, "JOB").next is Next.FINISH


def test_a_replica_that_leaves_by_itself_is_started_again() -> None:
    assert after(0, "REPLICA", most=0).next is Next.RETRY


@pytest.mark.parametrize(("code", "reason"), [(64, "BAD_SPEC"), (75, "SUPERSEDED")])
def test_a_bad_spec_and_a_superseded_attempt_are_never_tried_again(code: int, reason: str) -> None:
    for kind in ("TRAINER", "JOB", "REPLICA"):
        assert (after(code, kind, most=0).next, after(code, kind).reason) == (Next.FAIL, reason)


@pytest.mark.parametrize("code", [1, 2, 71, 137, -9, -11])
def test_an_infrastructure_fault_is_tried_again_until_the_attempts_are_used_up(code: int) -> None:
    assert after(code) == Outcome(Next.RETRY, faults=1, wait_seconds=1.0)
    assert after(code, faults=3) == Outcome(Next.RETRY, faults=4, wait_seconds=8.0)
    assert after(code, faults=4) == Outcome(Next.FAIL, "ATTEMPTS_EXHAUSTED", faults=5)


@pytest.mark.parametrize("code", [-15, 143])
def test_a_shut_down_of_the_machine_costs_no_attempt(code: int) -> None:
    assert after(code, faults=4) == Outcome(Next.RETRY, faults=4, wait_seconds=1.0)


@pytest.mark.parametrize(("kind", "code"), [("REPLICA", 0), ("REPLICA", 1), ("TRAINER", 143), ("JOB", -15)])
def test_what_was_asked_to_stop_with_the_platform_goes_on_at_once_and_without_a_fault(kind: str, code: int) -> None:
    assert after(code, kind, asked=True, faults=3) == Outcome(Next.RETRY, faults=3, wait_seconds=0.0)


def test_what_ends_well_although_it_was_asked_to_stop_has_finished() -> None:
    assert after(0, asked=True).next is Next.FINISH


def test_a_replica_is_tried_without_end_and_a_healthy_minute_is_a_new_beginning() -> None:
    assert after(-9, "REPLICA", faults=50, most=0) == Outcome(Next.RETRY, faults=51, wait_seconds=60.0)
    assert after(-9, "REPLICA", faults=50, most=0, lived=60) == Outcome(Next.RETRY, faults=1, wait_seconds=1.0)
