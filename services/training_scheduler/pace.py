"""How fast a run is and what is left of it: pure, of what its trainer reported and its workload used."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.training_scheduler.models import MetricPoint, Run, RunState

FEWEST_POINTS: Final = 10  # before that a spread is a guess
STUDENT_T: Final = 2.31  # two-sided 95 % of eight degrees of freedom, which ten points give; more would need less
STALL_DEVIATIONS: Final = 8  # a step that took so much longer than the others was held up from outside
NORMAL: Final = 1.4826  # median absolute deviation → standard deviation, of a normal distribution


@dataclass(frozen=True)
class Remaining:
    """Expected, and between which it is 95 of 100 times; no bounds before FEWEST_POINTS."""

    expected: timedelta
    low: timedelta | None = None
    high: timedelta | None = None


@dataclass(frozen=True)
class Steps:
    """Seconds of the latest steps: of ordinary ones, and of those that waited for a checkpoint to be written."""

    ordinary: Sequence[float]
    saving: Sequence[float]

    @classmethod
    def of(cls, latest: Sequence[MetricPoint], checkpoint_every: int) -> Steps:
        """`latest` points, newest first. A checkpoint is written after its step's point: the next one has its time."""
        ordinary: list[float] = []
        saving: list[float] = []
        for new, old in itertools.pairwise(latest):
            apart = new.step - old.step
            seconds = (new.time - old.time).total_seconds() / apart
            saves = new.step > 1 and (new.step - 1) % checkpoint_every < apart
            (saving if saves else ordinary).append(seconds)
        return cls(ordinary, saving) if len(ordinary) > len(saving) else cls([*ordinary, *saving], [])

    @property
    def without_stalls(self) -> list[float]:
        middle = statistics.median(self.ordinary)
        deviation = NORMAL * statistics.median(abs(it - middle) for it in self.ordinary)
        return [min(it, middle + max(STALL_DEVIATIONS * deviation, middle)) for it in self.ordinary]


def remaining(run: Run, now: datetime, latest: Sequence[MetricPoint] = ()) -> Remaining | None:
    """None unless RUNNING and measurable. `latest` points of this attempt, newest first; without enough of them, by the
    mean of the attempt so far.

    The expected time is that of ordinary steps, one stall in them not taken for the rule, and of the checkpoints that are
    to come. The bounds count stalls in: if steps vary one by one and their mean is known from n alone, the variance of
    the sum of r more is s² · (r + r² / n).
    """
    if run.state != RunState.RUNNING or run.pace_time is None or run.step <= run.pace_step:
        return None
    left = max(0, run.total_steps - run.step)
    if len(latest) < FEWEST_POINTS:
        each = ((run.heartbeat_time or now) - run.pace_time) / (run.step - run.pace_step)
        return Remaining(each * left)
    every = int(run.spec["hyperparameters"].get("checkpoint_every") or 1)
    steps = Steps.of(latest, every)
    each_step = statistics.fmean(steps.without_stalls)
    expected = left * each_step + _saving_seconds(steps, each_step, run, every)
    n = len(steps.ordinary)
    width = STUDENT_T * statistics.stdev(steps.ordinary) * math.sqrt(left + left**2 / n)
    bounds = max(0.0, expected - width), expected + width
    return Remaining(*(timedelta(seconds=it) for it in (expected, *bounds)))


def _saving_seconds(steps: Steps, each_step: float, run: Run, every: int) -> float:
    """What the checkpoints to come add, by those that were timed."""
    if not steps.saving:
        return 0.0
    to_come = (run.total_steps - 1) // every - run.step // every
    return max(0, to_come) * max(0.0, statistics.median(steps.saving) - each_step)


def expected_cost_microusd(run: Run, left: Remaining | None) -> int | None:
    """Of the whole run: what it cost so far, and what is left at the price of an hour that it has paid; None unless
    RUNNING and measurable."""
    if left is None or run.held_seconds <= 0:
        return None
    return run.cost_microusd + round(run.cost_microusd / run.held_seconds * left.expected.total_seconds())


def model_flops_utilisation(run: Run) -> float | None:
    """Operations that the model itself needs for the tokens of a second, by what its cards could do in one (Chowdhery et
    al. 2022, PaLM, appendix B, without attention): 6 · N a token, and 4 · N with adapters, for frozen weights need no
    gradients. None on a CPU, where the peak of the card is not known, and for methods that count no tokens.
    """
    tokens, peak = run.metrics.get("tokens_per_second"), run.estimate.get("peak_flops")
    if not tokens or not peak or not run.base_parameters or run.flavor != run.estimate["flavor"]:
        return None
    passes = 2 if run.spec["hyperparameters"].get("lora_rank") else 3
    return float(2 * passes * run.base_parameters * tokens / peak)
