"""Limits and budgets as arithmetic: no file, no clock."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from services.inference_gateway.proxy import allowance
from services.inference_gateway.proxy.allowance import (
    MINUTE_NS,
    SECOND_NS,
    Account,
    Cost,
    Limits,
    Period,
    Reason,
    begin_period,
    refusal,
    reserve,
    settle,
)

NOW = int(datetime(2026, 2, 27, 13, tzinfo=UTC).timestamp()) * SECOND_NS


def account() -> Account:
    return Account(bytes(16))


def passing(subject: Account, limits: Limits, cost: Cost, now: int, tries: int) -> int:
    """How many of `tries` requests at one moment go through."""
    passed = 0
    for _ in range(tries):
        begin_period(subject, limits, now)
        if refusal(subject, limits, cost, now) is None:
            reserve(subject, limits, cost, now)
            passed += 1
    return passed


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 999, 60_000])
def test_exactly_a_minutes_worth_may_come_at_once(limit):
    subject, limits = account(), Limits(requests_per_minute=limit)
    assert passing(subject, limits, Cost(), NOW, limit + 3) == limit
    assert passing(subject, limits, Cost(), NOW + MINUTE_NS // limit + 1, 2) == 1, "then an even flow"
    assert passing(subject, limits, Cost(), NOW + 3 * MINUTE_NS, limit + 3) == limit


def test_the_wait_that_is_told_is_enough_and_not_more():
    subject, limits = account(), Limits(requests_per_minute=7)
    passing(subject, limits, Cost(), NOW, 7)
    told = refusal(subject, limits, Cost(), NOW)
    assert told.reason is Reason.REQUESTS
    wait = round(told.seconds * SECOND_NS)
    assert refusal(subject, limits, Cost(), NOW + wait - 1000) is not None
    assert refusal(subject, limits, Cost(), NOW + wait) is None


def test_tokens_that_were_reserved_and_not_used_can_be_used_in_the_same_minute():
    subject, limits = account(), Limits(tokens_per_minute=100)
    assert passing(subject, limits, Cost(50), NOW, 3) == 2
    settle(subject, limits, Cost(50), Cost(10))
    assert refusal(subject, limits, Cost(41), NOW).reason is Reason.TOKENS
    assert refusal(subject, limits, Cost(40), NOW) is None


def test_what_does_not_fit_into_a_minute_is_not_told_to_wait():
    told = refusal(account(), Limits(tokens_per_minute=100), Cost(101), NOW)
    assert (told.reason, told.seconds) == (Reason.TOO_LARGE, float("inf"))


def test_a_budget_is_spent_to_the_last_picodollar():
    subject, limits = account(), Limits(budget_microusd=1, budget_period=Period.TOTAL)
    cost = Cost(1, 300_000)
    assert passing(subject, limits, cost, NOW, 5) == 3
    told = refusal(subject, limits, cost, NOW)
    assert told.reason is Reason.BUDGET_MONEY and told.held, "running requests may give something back"
    for _ in range(3):
        settle(subject, limits, cost, cost)
    told = refusal(subject, limits, cost, NOW)
    assert (told.held, told.seconds) == (False, float("inf"))
    assert refusal(subject, limits, Cost(1, 100_000), NOW) is None
    assert refusal(subject, limits, Cost(1, 100_001), NOW) is not None


@pytest.mark.parametrize(("period", "seconds"), [(Period.DAY, 11 * 3600), (Period.MONTH, (11 + 24) * 3600)])
def test_a_new_period_has_a_new_budget_and_the_refusal_says_when(period, seconds):
    subject, limits = account(), Limits(budget_tokens=10, budget_period=period)
    passing(subject, limits, Cost(10), NOW, 1)
    settle(subject, limits, Cost(10), Cost(10))
    assert refusal(subject, limits, Cost(10), NOW).seconds == seconds
    later = NOW + seconds * SECOND_NS
    assert passing(subject, limits, Cost(10), later - 1, 1) == 0
    assert passing(subject, limits, Cost(10), later, 1) == 1


def test_what_runs_at_once_is_bounded_and_freed():
    subject, limits = account(), Limits(concurrent_requests=2)
    assert passing(subject, limits, Cost(), NOW, 3) == 2
    settle(subject, limits, Cost(), Cost())
    assert passing(subject, limits, Cost(), NOW, 3) == 1


def test_an_answer_that_never_came_costs_the_request_alone():
    subject, limits = account(), Limits(requests_per_minute=5, tokens_per_minute=100, budget_tokens=100)
    passing(subject, limits, Cost(60, 9), NOW, 1)
    settle(subject, limits, Cost(60, 9), Cost())
    assert (subject.spent_tokens, subject.reserved_tokens, subject.reserved_picousd, subject.running) == (0, 0, 0, 0)
    assert allowance.remaining(subject.tokens_due, 100, NOW) == 100
    assert allowance.remaining(subject.requests_due, 5, NOW) == 4
