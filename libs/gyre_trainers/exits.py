"""How a trainer ends. `gpu_scheduler` retries every exit code but 0, 64 and 75; the numbers are those of sysexits.h."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DONE: Final = 0
BAD_INPUT: Final = 64  # EX_USAGE: the spec, the rows or the base are wrong; trying again changes nothing
UNWELL: Final = BAD_INPUT  # a health rule ended it; trying again would end the same way
SUPERSEDED: Final = 75  # EX_TEMPFAIL: a newer attempt owns the run
STOPPED: Final = 143  # 128 + SIGTERM: asked to stop, with a checkpoint behind it


class BadInput(Exception):
    """The spec, the rows or the base cannot be trained on. `field` is its path in the spec, `remedy` what to do."""

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field, self.problem, self.remedy = field, problem, remedy


class Stopped(Exception):
    """The scheduler or a signal asked to stop; the last checkpoint is complete."""


class Finished(Exception):
    """The scheduler asked to end early; what was learnt so far is the result."""


class Unwell(Exception):
    """A health rule ended the run; its checkpoints stay."""


@dataclass(frozen=True)
class Return:
    """Where a run goes back to, and how it goes on from there. `times` counts this way back too."""

    step: int
    learning_rate: float
    times: int


class RolledBack(Exception):
    """A health rule sent the run back to an earlier checkpoint."""

    def __init__(self, to: Return) -> None:
        super().__init__(f"back to step {to.step}")
        self.to = to
