"""Sessions stay with the target that they began on, whatever the split, the worker or its death."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.inference_gateway.proxy.routing import Router, Wish
from services.inference_gateway.proxy.sessions import RECORD_BYTES, SessionLedger, session_of
from services.inference_gateway.proxy.snapshot import Deployment, Target, TargetState
from services.inference_gateway.proxy.tests.support import deployment

OLD, NEW = "01M8OLD0000000000000000000", "01M8NEW0000000000000000000"
READY, STANDBY, DRAINING = TargetState.READY, TargetState.STANDBY, TargetState.DRAINING


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Callable[[], SessionLedger]:
    """As each worker opens it."""
    return lambda: SessionLedger(tmp_path, 3600, clock)


def split(old: int, new: int, old_state: TargetState = READY) -> Deployment:
    return deployment(Target(OLD, version="1", weight=old, state=old_state), Target(NEW, version="2", weight=new))


def router(ledger: SessionLedger) -> Router:
    return Router(lambda: 0.0, ledger, random.Random(7))


def wish(number: int) -> Wish:
    return Wish(session=session_of("demo", "hotline", f"user-{number}"))


def answered(by: Router, subject: Deployment, number: int) -> str:
    target = by.choose(subject, wish(number), ())
    assert target is not None
    return target.id


def test_no_session_sees_two_versions_while_the_split_moves_and_workers_come_and_go(
    ledger: Callable[[], SessionLedger],
) -> None:
    first, second = router(ledger()), router(ledger())
    seen: dict[int, set[str]] = {}
    steps = [split(100, 0), split(90, 10), split(50, 50), split(0, 100), split(0, 100, STANDBY)]
    for step, subject in enumerate(steps):
        for number in range(200 + 50 * step):
            seen.setdefault(number, set()).add(answered(first, subject, number))
            seen[number].add(answered(second, subject, number))
        second = router(ledger())  # killed and started anew
    assert {len(targets) for targets in seen.values()} == {1}
    assert {target for targets in seen.values() for target in targets} == {OLD, NEW}


def test_workers_that_go_by_different_routes_agree_on_a_session(ledger: Callable[[], SessionLedger]) -> None:
    first, second = router(ledger()), router(ledger())
    for number in range(100):
        assert answered(first, split(100, 0), number) == answered(second, split(0, 100, STANDBY), number) == OLD


def test_new_sessions_go_by_weight(ledger: Callable[[], SessionLedger]) -> None:
    by = router(ledger())
    news = sum(answered(by, split(90, 10), number) == NEW for number in range(2000))
    assert 140 < news < 260


def test_a_session_whose_engine_is_away_is_told_so_and_not_answered_by_another_version(
    ledger: Callable[[], SessionLedger],
) -> None:
    by, subject = router(ledger()), split(50, 50)
    before = answered(by, subject, 1)
    by.failed(next(each for each in subject.targets if each.id == before))
    assert answered(by, subject, 1) == before
    assert by.choose(subject, wish(1), (before,)) is None


def test_a_session_that_has_seen_no_answer_yet_may_begin_elsewhere(ledger: Callable[[], SessionLedger]) -> None:
    by, subject, mine = router(ledger()), split(50, 50), wish(1)
    first = by.choose(subject, mine, ())
    assert first is not None
    second = by.choose(subject, mine, (first.id,))
    assert second is not None and second.id != first.id
    assert answered(router(ledger()), subject, 1) == second.id


def test_a_session_moves_when_its_target_drains(ledger: Callable[[], SessionLedger]) -> None:
    by = router(ledger())
    assert answered(by, split(100, 0), 1) == OLD
    assert answered(by, split(0, 100, DRAINING), 1) == NEW
    assert answered(router(ledger()), split(50, 50), 1) == NEW


def test_a_session_that_moved_does_not_go_back_at_a_worker_that_goes_by_older_routes(
    ledger: Callable[[], SessionLedger],
) -> None:
    early, late = router(ledger()), router(ledger())
    before, after = split(0, 100, STANDBY), split(0, 100, DRAINING)
    for number in range(20):
        assert answered(early, split(100, 0), number) == answered(late, before, number) == OLD
        assert answered(early, after, number) == answered(late, before, number) == NEW
        assert answered(early, after, number) == answered(late, after, number) == NEW


def test_a_version_that_is_asked_for_comes_before_the_session(ledger: Callable[[], SessionLedger]) -> None:
    by, subject = router(ledger()), split(100, 0)
    assert answered(by, subject, 1) == OLD
    asked = Wish("2", session=session_of("demo", "hotline", "user-1"))
    chosen = by.choose(subject, Wish(asked.version), ())
    assert chosen is not None and chosen.id == NEW


def test_a_quiet_session_is_forgotten_and_one_that_goes_on_is_not(
    ledger: Callable[[], SessionLedger], clock: Clock, tmp_path: Path
) -> None:
    by, other = router(ledger()), ledger()
    quiet, busy = 1, 2
    for number in (quiet, busy):
        answered(by, split(100, 0), number)
    for _ in range(8):
        clock.now += 720
        assert answered(by, split(0, 100, STANDBY), busy) == OLD
    assert other.active(OLD) == 1
    assert answered(by, split(0, 100, STANDBY), quiet) == NEW
    assert len(list(tmp_path.glob("*.sessions"))) <= 6


def test_projects_and_deployments_do_not_share_sessions() -> None:
    assert len({session_of("a", "b", "c"), session_of("a", "x", "c"), session_of("x", "b", "c")}) == 3


KILLED_WHILE_WRITING = """
import sys, pathlib
from services.inference_gateway.proxy.sessions import SessionLedger, session_of
ledger = SessionLedger(pathlib.Path(sys.argv[1]), 3600)
number = 0
while True:
    number += 1
    ledger.claim(session_of("p", "d", f"{sys.argv[2]}-{number}"), lambda before: before or sys.argv[3])
    print(number, flush=True)
"""


def test_what_a_killed_worker_wrote_is_known_and_its_lock_is_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, name, target], stdout=subprocess.PIPE, text=True)
        for name, target in (("a", OLD), ("b", NEW))
    ]
    written = []
    for worker in workers:
        assert worker.stdout is not None
        for _ in range(200):
            last = int(worker.stdout.readline())
        os.kill(worker.pid, signal.SIGKILL)
        rest = worker.stdout.read().split()
        worker.wait()
        written.append(int(rest[-1]) if rest else last)
    ledger = SessionLedger(tmp_path, 3600)
    for name, target, count in (("a", OLD, written[0]), ("b", NEW, written[1])):
        sessions = [session_of("p", "d", f"{name}-{number}") for number in range(1, count + 1)]
        assert {ledger.target_of(each) for each in sessions} == {target}
    assert ledger.claim(session_of("p", "d", "a-1"), lambda before: before) == OLD
    assert all(path.stat().st_size % RECORD_BYTES == 0 for path in tmp_path.glob("*.sessions"))
