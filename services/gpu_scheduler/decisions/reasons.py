"""Every "no" and every "you have to go", as people see it and programs match it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    NOT_CONSIDERED_YET = "NOT_CONSIDERED_YET"
    QUEUE_HELD = "QUEUE_HELD"
    WORKLOAD_HELD = "WORKLOAD_HELD"
    BACKING_OFF = "BACKING_OFF"
    NO_READY_NODE = "NO_READY_NODE"
    WOULD_NEVER_FIT = "WOULD_NEVER_FIT"
    QUOTA_EXHAUSTED = "QUOTA_EXHAUSTED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    NO_FREE_CPU = "NO_FREE_CPU"
    NO_FREE_MEMORY = "NO_FREE_MEMORY"
    NO_FREE_GPU = "NO_FREE_GPU"
    RESERVED_FOR_HIGHER_PRIORITY = "RESERVED_FOR_HIGHER_PRIORITY"
    WAITING_FOR_PREEMPTION = "WAITING_FOR_PREEMPTION"
    PREEMPTED = "PREEMPTED"


class Rule(StrEnum):
    """By which one workload has to make room for another."""

    HIGHER_PRIORITY = "HIGHER_PRIORITY"  # within one cluster queue
    RECLAIM = "RECLAIM"  # a queue takes back what it had lent
    FAIR_SHARE = "FAIR_SHARE"  # the other queue has the larger share
    BORROWED_BY_LOWER = "BORROWED_BY_LOWER"  # a borrower of higher priority
    LEAST_SERVED = "LEAST_SERVED"  # the other had more time already
    SHORTEST_LEFT = "SHORTEST_LEFT"  # an oracle's
    STARVING = "STARVING"  # it waited too long
    SHORTER = "SHORTER"  # it is expected to need far fewer card-seconds than the other still does
    BETTER_CARD = "BETTER_CARD"  # it goes on, on cards that suit it better


@dataclass(frozen=True, slots=True)
class Why:
    """Why something waits. `flavor`: the one that came closest."""

    reason: Reason
    flavor: str = ""
