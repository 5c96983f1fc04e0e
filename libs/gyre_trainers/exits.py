"""How a trainer ends. `gpu_scheduler` retries every exit code but 0, 64 and 75; the numbers are those of sysexits.h."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
BAD_INPUT: Final = 64  # EX_USAGE: the spec, the rows or the base are wrong; trying again changes nothing
SUPERSEDED: Final = 75  # EX_TEMPFAIL: a newer attempt owns the run
STOPPED: Final = 143  # 128 + SIGTERM: asked to stop, with a checkpoint behind it


class BadInput(Exception):
    """The spec, the rows or the base cannot be trained on. `field` is its path in the spec, `remedy` what to do."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field, self.problem, self.remedy = field, problem, remedy


class Stopped(Exception):
    """The scheduler or a signal asked to stop; the last checkpoint is complete."""
