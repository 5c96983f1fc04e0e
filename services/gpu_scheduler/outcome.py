"""What follows from the way in which an attempt ended. Pure."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum

DONE = 0
BAD_SPEC = 64  # EX_USAGE: the spec or its data are wrong; trying again changes nothing
SUPERSEDED = 75  # EX_TEMPFAIL: a newer attempt owns what this one worked on
TERMINATED = frozenset({-signal.SIGTERM, 128 + signal.SIGTERM})
HEALTHY_SECONDS = 60.0  # a replica that served so long is forgiven its earlier faults


class Next(StrEnum):
    FINISH = "FINISH"
    FAIL = "FAIL"
    RETRY = "RETRY"


@dataclass(frozen=True)
class Outcome:
    """`faults` is the new count; `wait_seconds` the back-off before a retry."""

    next: Next
    reason: str = ""
    faults: int = 0
    wait_seconds: float = 0.0


@dataclass(frozen=True)
class Backoff:
    first: float = 1.0
    longest: float = 60.0

    def after(self, faults: int) -> float:
        return float(min(self.longest, self.first * 2 ** min(max(0, faults - 1), 30)))


def judge(
    kind: str,
    code: int | None,
    *,
    asked_to_stop: bool,
    faults: int,
    max_attempts: int,
    lived_seconds: float,
    backoff: Backoff,
) -> Outcome:
    """`code` None: it vanished without a word. `max_attempts` 0: a replica is started again without end.

    Asked to stop, and not by us, the machine or the platform was being stopped: tried again at once, no fault counted.
    Ended by a SIGTERM that it alone got: no fault either, but its sender may do it again.
    """
    serves = kind == "REPLICA"
    if code == DONE and not serves:
        return Outcome(Next.FINISH, faults=faults)
    if code == BAD_SPEC:
        return Outcome(Next.FAIL, "BAD_SPEC", faults)
    if code == SUPERSEDED:
        return Outcome(Next.FAIL, "SUPERSEDED", faults)
    if asked_to_stop:
        return Outcome(Next.RETRY, faults=faults)
    if code in TERMINATED:
        return Outcome(Next.RETRY, faults=faults, wait_seconds=backoff.first)
    if serves and lived_seconds >= HEALTHY_SECONDS:
        faults = 0
    faults += 1
    if max_attempts and faults >= max_attempts:
        return Outcome(Next.FAIL, "ATTEMPTS_EXHAUSTED", faults)
    return Outcome(Next.RETRY, faults=faults, wait_seconds=backoff.after(faults))
