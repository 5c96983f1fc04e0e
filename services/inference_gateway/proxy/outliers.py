"""An engine that answers worse than its equals is left out for a while: it fails more, or is slow to begin.

After Envoy's outlier detection, with two differences. Replicas are few, so each is compared with all others together
instead of with a mean of many; and what is left out comes back by one request at a time, not all at once. Local to a
worker: what one of them sees is reason enough for it alone.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from services.inference_gateway.proxy.snapshot import Snapshot, TargetState

INTERVAL_SECONDS = 10.0  # between two judgements, as Envoy's
ENOUGH = 20  # requests in an interval, on both sides
MORE_FAILURES = 0.1  # of all, more than its equals
TIMES_SLOWER = 2.0
DEVIATIONS = 3.0  # that the difference is at least apart from nothing: chance does that in one of 700 intervals
FIRST_SECONDS, LONGEST_SECONDS = 30.0, 300.0
LARGEST_SHARE = 1 / 3  # of equals that may be left out; one of two may, too


@dataclass(slots=True)
class Window:
    """What came of one target's requests in an interval. Logarithms are of seconds to the first token of streams."""

    failed: int = 0
    answered: int = 0
    streams: int = 0
    log_sum: float = 0.0
    log_squares: float = 0.0

    def __add__(self, other: Window) -> Window:
        return Window(
            self.failed + other.failed,
            self.answered + other.answered,
            self.streams + other.streams,
            self.log_sum + other.log_sum,
            self.log_squares + other.log_squares,
        )

    @property
    def all(self) -> int:
        return self.failed + self.answered

    @property
    def log_mean(self) -> float:
        return self.log_sum / self.streams

    @property
    def log_mean_variance(self) -> float:
        """Of the mean, not of one."""
        return max(self.log_squares / self.streams - self.log_mean**2, 0.0) / self.streams


@dataclass(slots=True)
class Ejection:
    """Until `until` nothing is asked of a target; then one request at a time tries it."""

    until: float
    times: int
    probing: bool = False


def judge(windows: Mapping[str, Window], out: Collection[str]) -> dict[str, str]:
    """Which of some equals to leave out, and why (`failures`, `latency`); `out` are left out already. The worst first,
    and never more than their share.
    """
    room = max(1, int(len(windows) * LARGEST_SHARE)) - len(out)
    found: dict[str, tuple[float, str]] = {}
    for target, window in windows.items():
        if target in out:
            continue
        others = sum((each for name, each in windows.items() if name not in (target, *out)), Window())
        if reason := _failures(window, others) or _latency(window, others):
            found[target] = reason
    worst = sorted(found, key=lambda target: -found[target][0])
    return {target: found[target][1] for target in worst[: max(room, 0)]}


def _failures(window: Window, others: Window) -> tuple[float, str] | None:
    """How many deviations it is apart; None for no outlier."""
    if min(window.all, others.all) < ENOUGH:
        return None
    pooled = (window.failed + others.failed + 1) / (window.all + others.all + 2)
    more = window.failed / window.all - others.failed / others.all
    apart = more / math.sqrt(pooled * (1 - pooled) * (1 / window.all + 1 / others.all))
    return (apart, "failures") if more > MORE_FAILURES and apart > DEVIATIONS else None


def _latency(window: Window, others: Window) -> tuple[float, str] | None:
    if min(window.streams, others.streams) < ENOUGH:
        return None
    slower = window.log_mean - others.log_mean
    apart = slower / math.sqrt(window.log_mean_variance + others.log_mean_variance + 1e-12)
    return (apart, "latency") if slower > math.log(TIMES_SLOWER) and apart > DEVIATIONS else None


@dataclass
class Outliers:
    """One worker's. `watched`: targets that have equals; the others cost nothing."""

    watched: set[str] = field(default_factory=set)
    ejected: dict[str, Ejection] = field(default_factory=dict)
    _equals: list[Sequence[str]] = field(default_factory=list)
    _windows: dict[str, Window] = field(default_factory=dict)
    _times: dict[str, int] = field(default_factory=dict)
    _judged: float = 0.0

    def use(self, snapshot: Snapshot) -> None:
        self._equals = []
        for deployment in snapshot.deployments.values():
            groups: dict[str, list[str]] = {}
            for target in deployment.targets:
                if target.state is TargetState.READY and target.weight and target.variant:
                    groups.setdefault(target.variant, []).append(target.id)
            self._equals += [group for group in groups.values() if len(group) > 1]
        self.watched = {target for group in self._equals for target in group}
        for known in (self.ejected, self._windows, self._times):
            for gone in known.keys() - self.watched:
                del known[gone]

    def answered(self, target: str, first_seconds: float, now: float) -> None:
        """`first_seconds`: to the first token of a stream; 0: it was none."""
        window = self._windows.setdefault(target, Window())
        window.answered += 1
        if first_seconds > 0:
            log = math.log(first_seconds)
            window.streams += 1
            window.log_sum += log
            window.log_squares += log * log
        ejection = self.ejected.get(target)
        if ejection is not None and now >= ejection.until:  # the probe went well
            del self.ejected[target]

    def failed(self, target: str, now: float) -> None:
        self._windows.setdefault(target, Window()).failed += 1
        ejection = self.ejected.get(target)
        if ejection is not None and now >= ejection.until:
            self._eject(target, now)

    def keeps_out(self, target: str, now: float) -> bool:
        ejection = self.ejected.get(target)
        return ejection is not None and (now < ejection.until or ejection.probing)

    def look(self, now: float) -> dict[str, str]:
        """At the end of an interval leaves out who is worse; returns them, with the reason."""
        if not self._equals or now - self._judged < INTERVAL_SECONDS:
            return {}
        found: dict[str, str] = {}
        for group in self._equals:
            windows = {target: self._windows.get(target, Window()) for target in group}
            found |= judge(windows, [target for target in group if target in self.ejected])
        for target in self.watched - found.keys() - self.ejected.keys():  # a good interval makes up for a bad one
            self._times[target] = max(self._times.get(target, 0) - 1, 0)
        for target in found:
            self._eject(target, now)
        self._judged, self._windows = now, {}
        return found

    def _eject(self, target: str, now: float) -> None:
        times = self._times[target] = self._times.get(target, 0) + 1
        self.ejected[target] = Ejection(now + min(FIRST_SECONDS * times, LONGEST_SECONDS), times)
