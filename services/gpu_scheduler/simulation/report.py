"""What a replay comes to, in numbers. The same replay gives the same report, byte for byte.

All times are in seconds. Means and quantiles of completion and wait are over jobs that ended. A quantile is
interpolated between the two nearest ranks (Hyndman and Fan's definition 7, the default of NumPy and R).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from services.gpu_scheduler.simulation.fragmentation import fragmentation
from services.gpu_scheduler.simulation.model import WHOLE, Job, Outcome, Replay, Trace

Figure = float | int | str | None
Report = dict[str, Figure]


def report_of(replay: Replay, trace: Trace) -> Report:
    """Keys are stable; None where there is nothing to take a mean of.

    jct: from submission to end. wait: the part of it in which the job held nothing, after preemptions too.
    utilisation: what was held, over capacity times the time until nothing more was held. makespan: from the first submission to the last end.
    fragmentation: see there. jain_index, p99_finish_time_fairness: see `jain`, `finish_time_fairness`.
    """
    ended = [(outcome, outcome.end) for outcome in replay.outcomes if outcome.end is not None]
    times = sorted(end - outcome.job.submit for outcome, end in ended)
    waits = sorted(waited(outcome, end) for outcome, end in ended)
    jobs, preemptions = len(replay.outcomes), sum(outcome.preemptions for outcome in replay.outcomes)
    begin = min((outcome.job.submit for outcome in replay.outcomes), default=0.0)
    unfairness = sorted(finish_time_fairness(replay, trace))
    return {
        "policy": replay.policy,
        "jobs": jobs,
        "ended_jobs": len(ended),
        "never_ended_jobs": jobs - len(ended),
        "refused_jobs": sum(bool(outcome.refusal) for outcome in replay.outcomes),
        "mean_jct_s": mean(times),
        "p50_jct_s": quantile(times, 0.5),
        "p99_jct_s": quantile(times, 0.99),
        "max_jct_s": times[-1] if times else None,
        "mean_wait_s": mean(waits),
        "p50_wait_s": quantile(waits, 0.5),
        "p99_wait_s": quantile(waits, 0.99),
        "makespan_s": max(end for _, end in ended) - begin if ended else None,
        "utilisation": utilisation(replay, trace, begin),
        "fragmentation": fragmentation(replay, trace),
        "jain_index": jain([1 / rho for rho in unfairness]),
        "p99_finish_time_fairness": quantile(unfairness, 0.99),
        "preemptions": preemptions,
        "preemptions_per_job": preemptions / jobs if jobs else None,
        "cycles": replay.cycles,
    }


def to_json(value: object) -> str:
    """Sorted keys, floats as Python writes them, no time of day in it. Raises: ValueError for NaN."""
    return json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)


def amount(job: Job, in_cores: bool) -> float:
    """What it holds of the resource that bounds the trace, in cards, or in cores."""
    return job.cpu_milli / 1000 if in_cores else job.gpus * job.gpu_milli / WHOLE


def is_in_cores(trace: Trace) -> bool:
    """Whether it is about cores: there is no card on any node, or quotas of cores are all that bounds it."""
    if trace.nodes:
        return not any(node.gpus for node in trace.nodes)
    return bool(trace.quotas) and all(quota.resource == "cpu" for quota in trace.quotas)


def capacity_of(replay: Replay, trace: Trace) -> Mapping[str, float]:
    """By flavor, in cards or cores. A replay on nodes counts its cards: where there are none, the nodes' cores count."""
    if not trace.nodes or not is_in_cores(trace):
        return replay.capacity
    cores: dict[str, float] = {}
    for node in trace.nodes:
        cores[node.flavor] = cores.get(node.flavor, 0.0) + node.cpu_milli / 1000
    return cores


def waited(outcome: Outcome, end: float) -> float:
    return max(0.0, end - outcome.job.submit - math.fsum(span.end - span.start for span in outcome.spans))


def utilisation(replay: Replay, trace: Trace, begin: float) -> float | None:
    in_cores, capacity = is_in_cores(trace), math.fsum(capacity_of(replay, trace).values())
    spans = [(amount(outcome.job, in_cores), span) for outcome in replay.outcomes for span in outcome.spans]
    seconds = max((span.end for _, span in spans), default=begin) - begin
    if not seconds or not capacity:
        return None
    return math.fsum(held * (span.end - span.start) for held, span in spans) / (capacity * seconds)


def jain(values: Sequence[float]) -> float | None:
    """(Σx)² / (n Σx²), 1 where all are alike, 1/n where one has all (Jain, Chiu, Hawe: DEC-TR-301, 1984).

    x is T_isolated / T_shared of a job: how fast it went, against a fair share.
    """
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else None


def finish_time_fairness(replay: Replay, trace: Trace) -> Iterator[float]:
    """ρ = T_shared / T_isolated of each job that ended (Themis: Mahajan et al., NSDI 2020). At most 1 is fair.

    T_isolated is Gavel's (Narayanan et al., OSDI 2020, 4.2): the job alone on 1/n of each flavor that it accepts. With
    C_f cards of flavor f, speed s_f and g cards asked for, it holds flavor f for the fraction x_f = C_f / (n g) of the
    time, fastest flavors first while Σ x_f ≤ 1, so T_isolated = duration / Σ x_f s_f. n is the mean number of jobs in
    the system, itself among them, between its submission and its end.
    """
    in_cores, capacity, crowd = is_in_cores(trace), capacity_of(replay, trace), Crowd.of(replay)
    for outcome in replay.outcomes:
        job, end = outcome.job, outcome.end
        if end is None or not job.duration:
            continue
        speed = isolated_speed(job, trace, capacity, crowd.mean(job.submit, end), amount(job, in_cores))
        if speed:
            yield (end - job.submit) * speed / job.duration


def isolated_speed(job: Job, trace: Trace, capacity: Mapping[str, float], n: float, asked: float) -> float:
    """Σ x_f s_f. What asks for nothing runs on the best flavor all the time."""
    flavors = [flavor for flavor in capacity if not job.flavors or flavor in job.flavors]
    speed, left = 0.0, 1.0
    for rate, flavor in sorted(((trace.speeds.of(job, flavor), flavor) for flavor in flavors), reverse=True):
        share = min(left, capacity[flavor] / (n * asked)) if asked else left
        speed, left = speed + share * rate, left - share
    return speed


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many jobs there were but for the refused, as a step function. `areas`: jobs × seconds up to each of `times`."""

    times: list[float]
    counts: list[int]
    areas: list[float]

    @classmethod
    def of(cls, replay: Replay) -> Crowd:
        changes = [(outcome.job.submit, 1) for outcome in replay.outcomes if not outcome.refusal]
        changes += [(outcome.end, -1) for outcome in replay.outcomes if outcome.end is not None]
        changes.sort()
        times = [time for time, _ in changes]
        counts = list(accumulate(change for _, change in changes))
        steps = (count * (later - time) for count, (time, later) in zip(counts, pairwise(times), strict=False))
        return cls(times, counts, [0.0, *accumulate(steps)])

    def mean(self, start: float, end: float) -> float:
        """Never less than 1: the job that asks is there all the time."""
        return max(1.0, (self._area(end) - self._area(start)) / (end - start)) if end > start else 1.0

    def _area(self, time: float) -> float:
        index = bisect_right(self.times, time) - 1
        return self.areas[index] + self.counts[index] * (time - self.times[index])


def mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Of values in rising order."""
    if not ordered:
        return None
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
