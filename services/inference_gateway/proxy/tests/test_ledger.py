"""The file that all workers share: real processes that race and die."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import pytest

from services.inference_gateway.proxy import ledger as module
from services.inference_gateway.proxy.allowance import Account, Cost, Limits, Period, Reason
from services.inference_gateway.proxy.ledger import Ledger, Party, Refused

KEY, PROJECT = "projects/demo/keys/1", "projects/demo"
COST = Cost(10, 1_000_000)
TEN_CENTS = Limits(budget_microusd=100, budget_period=Period.TOTAL)  # a hundred times COST
NO_LIMITS = Limits()
SPAWN = multiprocessing.get_context("spawn")


def parties(ledger: Ledger, key: Limits = TEN_CENTS, project: Limits = NO_LIMITS) -> tuple[Party, Party]:
    return Party(ledger.account(KEY), key), Party(ledger.account(PROJECT), project)


def of_key(ledger: Ledger) -> Account:
    return ledger.read(ledger.account(KEY))


def spend(folder: str, tries: int, end: Connection) -> None:
    """A worker that asks as fast as it can: every other answer turns out to cost half. Sends how many passed, and what
    they cost."""
    ledger = Ledger(Path(folder))
    seat, both, passed, cost = ledger.take_seat(), parties(ledger), 0, 0
    for number in range(tries):
        place = seat.place()
        try:
            ledger.reserve(place, both, COST)
        except Refused:
            seat.give_back(place)
            continue
        passed += 1
        used = Cost(10, COST.picousd // (1 + number % 2))
        cost += used.picousd
        ledger.settle(place, used, (TEN_CENTS, Limits()))
        seat.give_back(place)
    end.send((passed, cost))


def hold(folder: str, answered: bool, end: Connection) -> None:
    """A worker that dies while two requests run."""
    ledger = Ledger(Path(folder))
    seat, both = ledger.take_seat(), parties(ledger)
    for _ in range(2):
        place = seat.place()
        ledger.reserve(place, both, COST)
        if answered:
            ledger.mark_answered(place)
    end.send("held")
    signal.pause()


def start(target: object, *arguments: object) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    return process, ours


def test_two_processes_spend_one_budget_and_never_more_than_it(tmp_path):
    workers = [start(spend, str(tmp_path), 2_000) for _ in range(2)]
    passed = cost = 0
    for process, end in workers:
        more, dearer = end.recv()
        passed, cost = passed + more, cost + dearer
        process.join(10)
    account = of_key(Ledger(tmp_path))
    assert account.spent_picousd == cost, "what both say that it was"
    assert 99 * COST.picousd < cost <= 100 * COST.picousd, "to the last request that fits, and not a picodollar more"
    assert account.spent_tokens == passed * 10 and passed > 100
    assert (account.running, account.reserved_picousd, account.reserved_tokens) == (0, 0, 0)


@pytest.mark.parametrize(("answered", "billed"), [(True, 2), (False, 0)])
def test_what_a_killed_worker_held_is_settled_by_another(tmp_path, answered, billed):
    process, end = start(hold, str(tmp_path), answered)
    assert end.recv() == "held"
    ledger = Ledger(tmp_path)
    ledger.settle_left_seats()
    assert of_key(ledger).running == 2, "its worker lives"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    ledger.settle_left_seats()
    ledger.settle_left_seats()
    account = of_key(ledger)
    assert (account.running, account.reserved_picousd) == (0, 0)
    assert account.spent_picousd == billed * COST.picousd, "once"
    assert ledger.take_seat().place() == module.SEATS_AT + module.RESERVATION_BYTES, "the seat is free again"


@pytest.mark.parametrize("dies_after", range(1, 6))
def test_a_change_that_its_maker_did_not_finish_is_finished_or_never_was(tmp_path, monkeypatch, dies_after):
    """Every store of a commit is a place to die at."""
    ledger = Ledger(tmp_path)
    both = parties(ledger)
    place = ledger.take_seat().place()
    monkeypatch.setattr(ledger, "_map", _Dying(ledger._file, module.SIZE, dies_after))
    with suppress(_Died):
        ledger.reserve(place, both, COST)
    after = Ledger(tmp_path)
    with after.locked():
        key, project = after.read(both[0].account), after.read(both[1].account)
    happened = dies_after > 1  # one store into the log, then three into their places
    assert (key.running, key.reserved_picousd) == ((1, COST.picousd) if happened else (0, 0))
    assert (project.running, project.reserved_picousd) == (key.running, key.reserved_picousd)
    after.settle(place, None, (Limits(), Limits()))
    assert after.read(both[0].account).running == 0


def test_a_limit_of_the_project_refuses_what_the_key_would_allow_and_takes_nothing(tmp_path):
    ledger = Ledger(tmp_path)
    both = parties(ledger, project=Limits(budget_tokens=5, budget_period=Period.TOTAL))
    with pytest.raises(Refused) as caught:
        ledger.reserve(ledger.take_seat().place(), both, COST)
    assert (caught.value.party, caught.value.refusal.reason) == (1, Reason.BUDGET_TOKENS)
    assert of_key(ledger).running == 0 and of_key(ledger).reserved_tokens == 0


def test_what_was_spent_outlives_the_process(tmp_path):
    ledger = Ledger(tmp_path)
    seat, both = ledger.take_seat(), parties(ledger)
    place = seat.place()
    ledger.reserve(place, both, COST)
    ledger.settle(place, COST, (TEN_CENTS, Limits()))
    seat.leave()
    ledger.close()
    assert of_key(Ledger(tmp_path)).spent_picousd == COST.picousd


def test_a_file_of_another_kind_is_named_and_left_alone(tmp_path):
    (tmp_path / "accounts").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"accounts is no ledger"):
        Ledger(tmp_path)
    assert (tmp_path / "accounts").read_bytes() == b"something else"


class _Died(BaseException):
    """Stands for SIGKILL between two stores."""


class _Dying(mmap.mmap):
    """The same file, which takes so many stores by slice and no more."""

    def __new__(cls, file: int, size: int, left: int) -> Self:
        return super().__new__(cls, file, size)

    def __init__(self, file: int, size: int, left: int) -> None:
        self._left = left

    def __setitem__(self, at: Any, data: Any) -> None:
        self._left -= 1
        if self._left == 0:
            raise _Died
        super().__setitem__(at, data)
