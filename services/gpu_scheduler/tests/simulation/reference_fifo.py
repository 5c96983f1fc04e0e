"""Strict FIFO in count mode, as short as it can be: what the real replay is held against.

Jobs start in order of submission; one that finds no room makes all behind it wait. Count mode: any free cards of one
flavor will do, wherever they are. A job takes the first flavor with room, in its own order, or the nodes' if it names
none. Nothing is preempted, so the schedule follows from this alone.
"""

from __future__ import annotations

import heapq

from services.gpu_scheduler.simulation.model import WHOLE, Job, Options, Outcome, Replay, Sample, Span, Trace


def replay(trace: Trace, policy: str, options: Options) -> Replay:
    capacity: dict[str, int] = {}  # thousandths of a card: whole numbers add up exactly
    for node in trace.nodes:
        capacity[node.flavor] = capacity.get(node.flavor, 0) + node.gpus * WHOLE
    free = dict(capacity)
    running: list[tuple[float, str, int]] = []  # (end, flavor, thousandths)
    outcomes: list[Outcome] = []
    now = 0.0
    for job in trace.jobs:
        needed = job.gpus * job.gpu_milli
        flavors = [flavor for flavor in job.flavors or capacity if trace.speeds.of(job, flavor) > 0]
        if not any(needed <= capacity.get(flavor, 0) for flavor in flavors):
            outcomes.append(Outcome(job, refusal="WOULD_NEVER_FIT"))
            continue
        now = max(now, job.submit)
        while True:
            while running and running[0][0] <= now:
                _, freed, amount = heapq.heappop(running)
                free[freed] += amount
            flavor = next((flavor for flavor in flavors if needed <= free.get(flavor, 0)), None)
            if flavor is not None:
                break
            now = running[0][0]
        end = now + job.duration / trace.speeds.of(job, flavor)
        free[flavor] -= needed
        heapq.heappush(running, (end, flavor, needed))
        outcomes.append(Outcome(job, [Span(now, end, flavor)], end))
        options.progress(len(outcomes), len(trace.jobs))
    cards = {flavor: amount / WHOLE for flavor, amount in capacity.items()}
    return Replay(policy, outcomes, cards, samples(outcomes, sum(cards.values())), cycles=len(outcomes))


def samples(outcomes: list[Outcome], capacity: float) -> list[Sample]:
    """At each start and end, by counting all jobs anew."""
    spans = [(outcome.job, span) for outcome in outcomes for span in outcome.spans]
    found = []
    for time in sorted({moment for _, span in spans for moment in (span.start, span.end)}):
        busy = sum(cards(job) for job, span in spans if span.start <= time < span.end)
        waits = sum(job.submit <= time < span.start for job, span in spans)
        found.append(Sample(time, busy, capacity - busy, waits))
    return found


def cards(job: Job) -> float:
    return job.gpus * job.gpu_milli / WHOLE
