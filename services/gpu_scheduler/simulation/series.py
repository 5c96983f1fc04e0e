"""What a replay looked like over time, as step functions made from its jobs alone, thinned for drawing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from services.gpu_scheduler.simulation.model import Replay, Trace
from services.gpu_scheduler.simulation.report import amount, is_in_cores

Points = list[tuple[float, float]]  # (seconds, value from then on)


def waiting(replay: Replay) -> Points:
    """Jobs in the system that hold nothing. A refused job does not wait."""
    changes: list[tuple[float, float]] = []
    for outcome in replay.outcomes:
        if outcome.refusal:
            continue
        changes.append((outcome.job.submit, 1))
        for span in outcome.spans:
            changes += [(span.start, -1), (span.end, 1)]
        if outcome.end is not None:
            changes.append((outcome.end, -1))
    return _summed(changes)


def busy(replay: Replay, trace: Trace) -> Points:
    """Cards that are held, or cores where these bound the trace."""
    in_cores = is_in_cores(trace)
    changes: list[tuple[float, float]] = []
    for outcome in replay.outcomes:
        held = amount(outcome.job, in_cores)
        for span in outcome.spans:
            changes += [(span.start, held), (span.end, -held)]
    return _summed(changes)


def distribution(values: Iterable[float]) -> Points:
    """The share of values that are at most so large, from 0 to 1."""
    ordered = sorted(values)
    return [(value, (rank + 1) / len(ordered)) for rank, value in enumerate(ordered)]


def thinned(points: Points, most: int) -> Points:
    """At most `most` points, the highest and the lowest of each stretch among them."""
    if len(points) <= most:
        return points
    size = -(-len(points) * 2 // most)
    kept: Points = []
    for start in range(0, len(points), size):
        stretch: Sequence[tuple[float, float]] = points[start : start + size]
        low, high = min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])
        kept += sorted({low, high})
    return [*kept, points[-1]]


def _summed(changes: list[tuple[float, float]]) -> Points:
    changes.sort()
    points: Points = []
    total = 0.0
    for time, group in groupby(changes, key=lambda change: change[0]):
        total += sum(change for _, change in group)
        points.append((time, round(total, 6)))  # sums of thousandths of a card leave dust
    return points
