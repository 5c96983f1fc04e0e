"""How fast a split changes, and what is watched meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from gyre_kit.errors import Invalid

from services.inference_gateway.rollouts import guard, watching

LONGEST_STEP = timedelta(days=7)


class BadSteps(Invalid):
    """Steps are per cents of the way to the new split: 1 to 100, rising, the last one 100; held for at most a week."""


class BadGuard(Invalid):
    """The chance of a false alarm is over 0 and at most 0.5."""


@dataclass(frozen=True)
class Plan:
    """How fast: per cents of the way, and how long each but the last is held; and what is watched meanwhile."""

    steps: Sequence[int] = field(default=(100,))
    step_time: timedelta = timedelta()
    watched: Sequence[str] = watching.MEASURES
    false_alarm: float = guard.FALSE_ALARM

    def check(self) -> None:
        """Raises: BadSteps; BadGuard."""
        steps = list(self.steps)
        rising = all(first < second for first, second in pairwise(steps))
        if not steps or not rising or steps[0] < 1 or steps[-1] != 100:
            raise BadSteps(field="steps", given=",".join(map(str, steps))[:80])
        if not timedelta() <= self.step_time <= LONGEST_STEP:
            raise BadSteps(field="step_time", given=f"{self.step_time.total_seconds():g} s")
        if not 0 < self.false_alarm <= 0.5:
            raise BadGuard(field="guard.false_alarm", given=f"{self.false_alarm:g}")

    @property
    def guard(self) -> dict[str, Any]:
        """As a rollout keeps it."""
        return {measure: measure in self.watched for measure in watching.MEASURES} | {"false_alarm": self.false_alarm}


AT_ONCE = Plan()
