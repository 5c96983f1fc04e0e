"""Is a run well? Pure functions over what a trainer logs; callbacks.py acts on what they find.

They run in the trainer, not in the scheduler: what is no number never gets there, and a step that spoils the weights
must be seen before the next checkpoint is written.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from gyre_trainers.methods import REINFORCED, Method
from gyre_trainers.settings import Action, Health


class Kind(StrEnum):
    NOT_FINITE = "NOT_FINITE"
    LOSS_SPIKE = "LOSS_SPIKE"
    DIVERGENCE = "DIVERGENCE"
    KL_OUT_OF_BAND = "KL_OUT_OF_BAND"
    ENTROPY_COLLAPSE = "ENTROPY_COLLAPSE"
    REWARD_HACKING = "REWARD_HACKING"
    CHECKPOINT_DAMAGED = "CHECKPOINT_DAMAGED"
    CHECKPOINT_NOT_WRITTEN = "CHECKPOINT_NOT_WRITTEN"
    ROWS_CUT = "ROWS_CUT"
    EMPTY_ANSWERS = "EMPTY_ANSWERS"


@dataclass(frozen=True)
class Alarm:
    """`values` is what was measured and the limit that it passed; `detail` a library's or the system's words."""

    kind: Kind
    action: Action
    step: int
    values: Mapping[str, float] = field(default_factory=dict)
    detail: str = ""


# What is watched, by the names under which the methods log it; the first that is logged counts.
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "loss": ("loss",),
    "eval_loss": ("eval_loss",),
    "grad_norm": ("grad_norm",),
    "kl": ("objective/kl", "kl"),
    "entropy": ("policy/entropy", "policy/entropy_avg", "objective/entropy", "entropy"),
    "reward": ("objective/scores", "reward"),
    "length": ("completions/mean_length", "answers/length"),
    "repetition": ("completions/repetition", "answers/repetition"),
}

WINDOW: Final = 16  # steps of a mean
SPIKE_WINDOW: Final = 32
HISTORY: Final = 1000  # steps that are remembered
SMALLEST_RISE: Final = 0.5  # nats a token: a loss near zero doubles without any harm
SMALLEST_REPETITION: Final = 0.1  # share of an answer
LOWEST_KL: Final = -1.0  # the estimate is noisy around zero; far below, answers were not drawn from the policy
OF_NORMAL: Final = 1.4826  # standard deviation by median absolute deviation, of a normal distribution
SMALLEST_DEVIATION: Final = 0.02  # by the median: a very even loss makes no spike of every ripple


@dataclass
class Series:
    """The values of one name: the first ones, and the last HISTORY."""

    first: list[float] = field(default_factory=list)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def add(self, value: float) -> None:
        if len(self.first) < WINDOW:
            self.first.append(value)
        self.recent.append(value)

    def last_mean(self) -> float | None:
        """None until there are two whole windows: one to compare with the other."""
        if len(self.recent) < 2 * WINDOW:
            return None
        return statistics.fmean(list(self.recent)[-WINDOW:])

    def first_mean(self) -> float:
        return statistics.fmean(self.first)


Known = Mapping[str, Series]
Found = dict[str, float] | None


def spike(known: Known, health: Health) -> Found:
    """The last loss is so many robust deviations above the median of those before it."""
    *before, last = list(known["loss"].recent)[-SPIKE_WINDOW - 1 :] or [0.0]
    if len(before) < SPIKE_WINDOW:
        return None
    middle = statistics.median(before)
    spread = OF_NORMAL * statistics.median(abs(value - middle) for value in before)
    limit = middle + health.spike_deviations * max(spread, SMALLEST_DEVIATION * abs(middle))
    return {"value": last, "limit": limit} if last > limit else None


def divergence(known: Known, health: Health) -> Found:
    """The mean loss is far above its best, and above where it began."""
    if (now := known["loss"].last_mean()) is None:
        return None
    best = min(means(known["loss"].recent))
    limit = max(health.divergence_ratio * best, best + SMALLEST_RISE, known["loss"].first_mean())
    return {"value": now, "limit": limit} if now > limit else None


def kl_out_of_band(known: Known, health: Health) -> Found:
    if (now := known["kl"].last_mean()) is None:
        return None
    if now > health.largest_kl:
        return {"value": now, "limit": health.largest_kl}
    return {"value": now, "limit": LOWEST_KL} if now < LOWEST_KL else None


def entropy_collapse(known: Known, health: Health) -> Found:
    if (now := known["entropy"].last_mean()) is None:
        return None
    limit = health.smallest_entropy_ratio * known["entropy"].first_mean()
    return {"value": now, "limit": limit} if now < limit else None


def reward_hacking(known: Known, health: Health) -> Found:
    """The reward rose, and with it what no reader wants more of."""
    reward = known["reward"].last_mean()
    if reward is None or reward <= known["reward"].first_mean():
        return None
    for name, least in (("length", 0.0), ("repetition", SMALLEST_REPETITION)):
        if (now := known[name].last_mean()) is not None:
            limit = max(least, health.largest_length_ratio * known[name].first_mean())
            if now > limit:
                return {"value": now, "limit": limit, "reward": reward}
    return None


def means(values: Sequence[float]) -> list[float]:
    """Of each WINDOW neighbours."""
    total, found = 0.0, []
    listed = list(values)
    for at, value in enumerate(listed):
        total += value - (listed[at - WINDOW] if at >= WINDOW else 0.0)
        if at >= WINDOW - 1:
            found.append(total / WINDOW)
    return found


Rule = tuple[Kind, str, Callable[[Known, Health], Found]]
OF_LOSS: Final[tuple[Rule, ...]] = (
    (Kind.LOSS_SPIKE, "loss_spike", spike),
    (Kind.DIVERGENCE, "divergence", divergence),
)
OF_REINFORCEMENT: Final[tuple[Rule, ...]] = (
    (Kind.KL_OUT_OF_BAND, "kl_out_of_band", kl_out_of_band),
    (Kind.ENTROPY_COLLAPSE, "entropy_collapse", entropy_collapse),
    (Kind.REWARD_HACKING, "reward_hacking", reward_hacking),
)


class Watch:
    """Takes what is logged, step by step. An alarm is raised once, and again only after its cause was gone."""

    def __init__(self, method: Method, health: Health) -> None:
        self._health = health
        self._rules = OF_REINFORCEMENT if method in REINFORCED else OF_LOSS  # a policy's loss says nothing by its size
        self._known = {name: Series() for name in NAMES}
        self._standing: set[Kind] = set()

    def see(self, step: int, logged: Mapping[str, object]) -> list[Alarm]:
        values = watched(logged)
        if bad := {name: value for name, value in values.items() if not math.isfinite(value)}:
            detail = ", ".join(f"{name} is {value}" for name, value in bad.items())
            return [Alarm(Kind.NOT_FINITE, self._health.not_finite, step, detail=detail)]
        for name, value in values.items():
            self._known[name].add(value)
        return [alarm for rule in self._rules if (alarm := self._apply(rule, step)) is not None]

    def score(self) -> float | None:
        """How good the weights are now, lower is better: the reward turned round, or the held-out or training loss."""
        rewards = self._known["reward"].recent
        if rewards:
            return -statistics.fmean(list(rewards)[-WINDOW:])
        losses = self._known["eval_loss"].recent or self._known["loss"].recent
        return statistics.fmean(list(losses)[-WINDOW:]) if losses else None

    def _apply(self, rule: Rule, step: int) -> Alarm | None:
        kind, setting, check = rule
        found = check(self._known, self._health)
        if found is None:
            self._standing.discard(kind)
        elif kind not in self._standing:
            self._standing.add(kind)
            return Alarm(kind, getattr(self._health, setting), step, found)
        return None


def watched(logged: Mapping[str, object]) -> dict[str, float]:
    """By our names. Where a method logs none of a thing's names, the thing is not watched."""
    found = {}
    for ours, theirs in NAMES.items():
        for name in theirs:
            if isinstance(value := logged.get(name), int | float):
                found[ours] = float(value)
                break
    return found
