"""What came of each target's requests since a rollout was last looked at, and what that says of the new version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.inference_gateway.models.deployments import Target
from services.inference_gateway.models.rollouts import Rollout
from services.inference_gateway.proxy.outcomes import Outcomes
from services.inference_gateway.rollouts import guard
from services.inference_gateway.rollouts.guard import Count, Evidence

MEASURES = ("errors", "latency", "feedback")


@dataclass(frozen=True)
class Tally:
    """Of one target."""

    outcomes: Outcomes = field(default_factory=Outcomes)
    liked: int = 0
    disliked: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.outcomes + other.outcomes, self.liked + other.liked, self.disliked + other.disliked)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.outcomes - other.outcomes, self.liked - other.liked, self.disliked - other.disliked)


@dataclass(frozen=True)
class News:
    """Of one side of a rollout: since the last look, and in all."""

    since: Tally = field(default_factory=Tally)
    total: Tally = field(default_factory=Tally)


class Watch:
    """Remembers how far each rollout was read. After a restart counting begins anew; what was seen is in the rollout."""

    def __init__(self) -> None:
        self._read: dict[str, dict[str, Tally]] = {}

    def news(self, rollout: str, targets: Iterable[Target], outcomes: Mapping[str, Outcomes]) -> dict[str, News]:
        """By target. At the first look at a rollout everything is old."""
        now = {each.id: Tally(outcomes.get(each.id, Outcomes()), each.liked, each.disliked) for each in targets}
        before = self._read.get(rollout, now)
        self._read = {name: read for name, read in self._read.items() if name != rollout} | {rollout: now}
        return {target: News(tally - before.get(target, tally), tally) for target, tally in now.items()}

    def forget_others(self, rollouts: Iterable[str]) -> None:
        kept = set(rollouts)
        self._read = {name: read for name, read in self._read.items() if name in kept}


def weigh(rollout: Rollout, news: Mapping[str, News]) -> list[Evidence]:
    """The rollout's evidence with what came since; its guard learns what is slow, once enough is known of before."""
    old_ids = {each["target"] for each in rollout.before}
    new = _side(news, [each["target"] for each in rollout.after if each["target"] not in old_ids])
    old = _side(news, old_ids)
    if rollout.guard.get("slow_bucket") is None and sum(old.total.outcomes.answered) >= guard.ENOUGH:
        bucket = old.total.outcomes.quantile(1 - guard.SLOW_SHARE)
        rollout.guard = rollout.guard | {"slow_bucket": bucket}
    known = {each["measure"]: guard.from_json(each) for each in rollout.evidence}
    counts = {measure: _counts(measure, rollout.guard, new.since, old.since) for measure in watched(rollout.guard)}
    return [guard.add(known.get(measure, Evidence(measure)), *both) for measure, both in counts.items()]


def watched(settings: Mapping[str, Any]) -> list[str]:
    return [measure for measure in MEASURES if settings.get(measure)]


def _counts(measure: str, settings: Mapping[str, Any], new: Tally, old: Tally) -> tuple[Count, Count]:
    return _count(measure, settings, new), _count(measure, settings, old)


def _count(measure: str, settings: Mapping[str, Any], tally: Tally) -> Count:
    if measure == "errors":
        return Count(tally.outcomes.failed, tally.outcomes.all)
    if measure == "feedback":
        return Count(tally.disliked, tally.liked + tally.disliked)
    bucket = settings.get("slow_bucket")
    if bucket is None:
        return Count()
    return Count(tally.outcomes.slower_than(bucket), sum(tally.outcomes.answered))


def _side(news: Mapping[str, News], targets: Iterable[str]) -> News:
    found = [news[target] for target in targets if target in news]
    since, total = Tally(), Tally()
    for each in found:
        since, total = since + each.since, total + each.total
    return News(since, total)
