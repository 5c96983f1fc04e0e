"""What an account (a key, or a project) may still do: pure arithmetic on its record. The records are in `ledger.py`.

Rates are kept as a theoretical arrival time (GCRA, ITU-T I.371): one integer says all that a bucket's level and its
last refill would. A minute's worth may come at once, then an even flow. Time is in Unix nanoseconds and money in
picodollars, a millionth of a microdollar: a token at 1 microdollar a million is 1 picodollar, and nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
PICO_IN_MICRO = 1_000_000
MOST = 2**62  # what a sum can hold: 4.6 million dollars in one period
SOON_SECONDS = 1.0


class Period(StrEnum):
    """What a budget is for; days and months are UTC's."""

    DAY = "DAY"
    MONTH = "MONTH"
    TOTAL = "TOTAL"


_POSITIONS = {period: position for position, period in enumerate(Period)}  # a record has no room for text
FOR_EVER = 2**62


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a key or a project. 0: no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent_requests: int = 0
    budget_tokens: int = 0
    budget_microusd: int = 0
    budget_period: Period = Period.MONTH

    @property
    def any(self) -> bool:
        return bool(
            self.requests_per_minute
            or self.tokens_per_minute
            or self.concurrent_requests
            or self.budget_tokens
            or self.budget_microusd
        )


class Cost:
    """Of one request, as estimated or as used."""

    __slots__ = ("picousd", "tokens")

    def __init__(self, tokens: int = 0, picousd: int = 0) -> None:
        self.tokens = tokens
        self.picousd = picousd


class Account:
    """One record. `due`s are theoretical arrival times; `position`: where the ledger has it."""

    __slots__ = (
        "id", "period", "period_end", "position", "requests", "requests_due", "reserved_picousd", "reserved_tokens",
        "running", "spent_picousd", "spent_tokens", "tokens_due",
    )  # fmt: skip

    def __init__(self, id: bytes, position: int = 0) -> None:
        self.id = id
        self.position = position
        self.period = self.period_end = 0
        self.requests_due = self.tokens_due = 0
        self.running = self.requests = 0
        self.spent_tokens = self.spent_picousd = 0
        self.reserved_tokens = self.reserved_picousd = 0


class Reason(StrEnum):
    BUDGET_TOKENS = "BUDGET_TOKENS"
    BUDGET_MONEY = "BUDGET_MONEY"
    CONCURRENCY = "CONCURRENCY"
    REQUESTS = "REQUESTS"
    TOKENS = "TOKENS"
    TOO_LARGE = "TOO_LARGE"  # it would not fit into an untouched minute either


@dataclass(frozen=True, slots=True)
class Refusal:
    """`seconds` until it is worth to ask again; infinite for a total that is used up. `held`: other requests that run
    hold what is missing, and may give some of it back."""

    reason: Reason
    seconds: float
    held: bool = False


def begin_period(account: Account, limits: Limits, now: int) -> None:
    """A new day or month counts from nothing, and so does an account whose kind of period was changed."""
    kind = _POSITIONS[limits.budget_period]
    if account.period_end and kind == account.period and now < account.period_end:
        return
    account.period, account.period_end = kind, _end_of(limits.budget_period, now)
    account.requests = account.spent_tokens = account.spent_picousd = 0


def refusal(account: Account, limits: Limits, cost: Cost, now: int) -> Refusal | None:
    """Why `cost` is too much now, or None. What lasts longest is told first. Call `begin_period` before."""
    if limits.budget_tokens:
        left = limits.budget_tokens - account.spent_tokens
        if cost.tokens > left - account.reserved_tokens or left <= 0:
            return _no_budget(Reason.BUDGET_TOKENS, account, held=0 < left >= cost.tokens, now=now)
    if limits.budget_microusd:
        left = limits.budget_microusd * PICO_IN_MICRO - account.spent_picousd
        if cost.picousd > left - account.reserved_picousd or left <= 0:
            return _no_budget(Reason.BUDGET_MONEY, account, held=0 < left >= cost.picousd, now=now)
    if limits.tokens_per_minute:
        if cost.tokens > limits.tokens_per_minute:
            return Refusal(Reason.TOO_LARGE, float("inf"))
        if wait := wait_ns(account.tokens_due, cost.tokens, limits.tokens_per_minute, now):
            return Refusal(Reason.TOKENS, wait / SECOND_NS)
    if limits.requests_per_minute and (wait := wait_ns(account.requests_due, 1, limits.requests_per_minute, now)):
        return Refusal(Reason.REQUESTS, wait / SECOND_NS)
    if limits.concurrent_requests and account.running >= limits.concurrent_requests:
        return Refusal(Reason.CONCURRENCY, SOON_SECONDS)
    return None


def reserve(account: Account, limits: Limits, cost: Cost, now: int) -> None:
    """Takes `cost` for a request that begins; `refusal` said None."""
    account.requests_due = taken(account.requests_due, 1, limits.requests_per_minute, now)
    account.tokens_due = taken(account.tokens_due, cost.tokens, limits.tokens_per_minute, now)
    account.running += 1
    account.reserved_tokens += cost.tokens
    account.reserved_picousd += cost.picousd


def settle(account: Account, limits: Limits, reserved: Cost, used: Cost) -> None:
    """Puts what was `used` in the place of what was `reserved`; using nothing gives all back but the one request."""
    account.running -= 1
    account.reserved_tokens -= reserved.tokens
    account.reserved_picousd -= reserved.picousd
    if used.tokens:
        account.requests += 1
    account.spent_tokens = min(account.spent_tokens + used.tokens, MOST)
    account.spent_picousd = min(account.spent_picousd + used.picousd, MOST)
    if limits.tokens_per_minute:
        account.tokens_due += (used.tokens - reserved.tokens) * MINUTE_NS // limits.tokens_per_minute


def taken(due: int, amount: int, per_minute: int, now: int) -> int:
    """The arrival time after `amount` more; unchanged where there is no limit."""
    return max(due, now) + amount * MINUTE_NS // per_minute if per_minute else due


def wait_ns(due: int, amount: int, per_minute: int, now: int) -> int:
    """Until `amount` fits; 0: it fits now."""
    return max(0, taken(due, amount, per_minute, now) - now - MINUTE_NS)


def remaining(due: int, per_minute: int, now: int) -> int:
    """How much could come at once now."""
    return max(0, (MINUTE_NS - max(0, due - now)) * per_minute // MINUTE_NS)


def _no_budget(reason: Reason, account: Account, *, held: bool, now: int) -> Refusal:
    if held:
        return Refusal(reason, SOON_SECONDS, held=True)
    ever = account.period_end < FOR_EVER
    return Refusal(reason, (account.period_end - now) / SECOND_NS if ever else float("inf"))


def _end_of(period: Period, now: int) -> int:
    if period is Period.TOTAL:
        return FOR_EVER
    day = datetime.fromtimestamp(now // SECOND_NS, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    next_month = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    end = day + timedelta(days=1) if period is Period.DAY else next_month
    return int(end.timestamp()) * SECOND_NS
