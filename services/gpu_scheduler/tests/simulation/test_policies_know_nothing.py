"""Only an oracle may know how long a job takes: what a policy decides cannot depend on what has not happened yet."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from services.gpu_scheduler.decisions.policies import POLICIES
from services.gpu_scheduler.simulation.model import Options, Replay, Trace
from services.gpu_scheduler.simulation.replay import replay
from services.gpu_scheduler.tests.simulation.synthetic import unlike_cards

MOMENT = 400_000.0  # seconds, when jobs have ended that there was something to learn from


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "srtf"])
def test_what_is_decided_until_a_moment_is_the_same_however_long_it_all_takes_after_it(policy: str) -> None:
    trace = unlike_cards(250, 1.5, 7, known=True)
    once = replay(trace, policy, Options(placement="count"))
    scrambled = _scrambled(trace, once)
    assert scrambled.jobs != trace.jobs
    again = replay(scrambled, policy, Options(placement="count"))
    assert _until_the_moment(once) == _until_the_moment(again)
    assert _until_the_moment(once)


def test_the_oracle_is_one() -> None:
    trace = unlike_cards(250, 1.5, 7, known=True)
    once = replay(trace, "srtf", Options(placement="count"))
    assert _until_the_moment(once) != _until_the_moment(
        replay(_scrambled(trace, once), "srtf", Options(placement="count"))
    )


def _scrambled(trace: Trace, seen: Replay) -> Trace:
    """Every job that had not ended at the moment takes up to ten times as long as it did."""
    rng = random.Random(1)
    ends = {outcome.job.id: outcome.end or 0.0 for outcome in seen.outcomes}
    jobs = [
        job if ends[job.id] <= MOMENT else replace(job, duration=job.duration * rng.uniform(1, 10))
        for job in trace.jobs
    ]
    return replace(trace, jobs=jobs)


def _until_the_moment(seen: Replay) -> list[tuple[str, float, str]]:
    starts = [(each.job.id, span.start, span.flavor) for each in seen.outcomes for span in each.spans]
    return sorted(start for start in starts if start[1] <= MOMENT)
