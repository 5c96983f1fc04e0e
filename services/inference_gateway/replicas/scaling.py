"""How many replicas a target should have: from the requests that it has and how long they waited, between bounds.

More at once would be too soon and fewer at once would flap, so both wait for a whole stretch of time that agrees: up to
the least that was needed in the last seconds, down to the most that was needed in the last minutes (Kubernetes'
HorizontalPodAutoscaler stabilises so). `decide` is pure; `Scaler` remembers what was needed and when.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import ceil

from gyre_kit.errors import Invalid

from services.inference_gateway.proxy.outcomes import EDGES, Outcomes

MOST = 64
LONGEST_IDLE_SECONDS = 7 * 86_400.0
UP_SECONDS, DOWN_SECONDS = 6.0, 120.0
FULL = 0.8  # of the places: the rest is for what comes while another replica starts
SLOW_BUCKET = bisect_left(EDGES, 1.0)  # who waits longer than this for a place, about a second, waits too long
SLOW_SHARE = 0.05  # as many may


class BadScale(Invalid):
    """A deployment has 0 to 64 replicas a target, at least as many at most as at least; it sleeps after a second to a
    week.
    """


@dataclass(frozen=True)
class Bounds:
    """`idle_seconds`: how long nobody asks before there are none at all, where `least` is 0."""

    least: int = 1
    most: int = 1
    idle_seconds: float = 300.0

    def clip(self, replicas: int) -> int:
        """For one that is awake."""
        return min(max(replicas, self.least, 1), self.most)


ONE = Bounds()


def check_scale(bounds: Bounds) -> None:
    """Raises: BadScale."""
    if not 0 <= bounds.least <= bounds.most or not 1 <= bounds.most <= MOST:
        raise BadScale(field="scale", given=f"{bounds.least} to {bounds.most}")
    if not 1 <= bounds.idle_seconds <= LONGEST_IDLE_SECONDS:
        raise BadScale(field="scale.idle_time", given=f"{bounds.idle_seconds:g} s")


@dataclass(frozen=True)
class Load:
    """Of one target now: requests that run or wait, replicas that answer and the places of each; and what came of its
    requests since the gateway began, and how long those waited that did.
    """

    requests: int
    ready: int
    places: int
    outcomes: Outcomes = field(default_factory=Outcomes)
    waits: Outcomes = field(default_factory=Outcomes)


@dataclass(frozen=True)
class Need:
    """Replicas that would have been right at a time, in seconds."""

    at: float
    replicas: int


def needed(load: Load, done: int, slow: int) -> int:
    """`done` requests ended since the last look, `slow` of them had waited too long."""
    by_queue = ceil(load.requests / (FULL * load.places))
    by_wait = load.ready + 1 if slow > SLOW_SHARE * done else 0
    return max(by_queue, by_wait)


def decide(current: int, needs: Sequence[Need], idle_seconds: float, bounds: Bounds, now: float) -> int:
    """1 none if nobody asks, 2 more if all of the last seconds say so, 3 fewer if all of the last minutes do.

    `needs` from the oldest; `idle_seconds`: since somebody asked last.
    """
    if bounds.least == 0 and idle_seconds >= bounds.idle_seconds:
        return 0
    more = min(_since(needs, now, UP_SECONDS), default=0)
    if more > current:
        return bounds.clip(more)
    fewer = max(_since(needs, now, DOWN_SECONDS), default=current)
    return bounds.clip(min(fewer, current))


def _since(needs: Sequence[Need], now: float, seconds: float) -> list[int]:
    """Nothing where what is known does not go back so far."""
    if not needs or needs[0].at > now - seconds:
        return []
    return [need.replicas for need in needs if need.at > now - seconds]


@dataclass
class _Track:
    busy_at: float
    done: int
    slow: int
    needs: deque[Need] = field(default_factory=deque)


class Scaler:
    """After a restart it watches anew, so that nothing shrinks or sleeps before it has seen a whole stretch."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def wanted(self, target: str, current: int, load: Load, bounds: Bounds, now: float) -> int:
        """What `target` should have, given `now` in seconds. One of which no replica answers is not idle, it starts."""
        done, slow = load.outcomes.all, load.waits.slower_than(SLOW_BUCKET)
        track = self._tracks.setdefault(target, _Track(now, done, slow))
        new_done, new_slow = done - track.done, slow - track.slow
        if load.requests or new_done or not load.ready:
            track.busy_at = now
        track.done, track.slow = done, slow
        track.needs.append(Need(now, needed(load, new_done, new_slow)))
        while len(track.needs) > 1 and track.needs[1].at <= now - DOWN_SECONDS:
            track.needs.popleft()
        return decide(current, track.needs, now - track.busy_at, bounds, now)

    def forget_others(self, targets: Collection[str]) -> None:
        self._tracks = {target: track for target, track in self._tracks.items() if target in targets}
