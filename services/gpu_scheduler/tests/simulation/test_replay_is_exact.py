"""Strict FIFO in count mode has no choice to make: the real replay has to agree with the reference to the second."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gpu_scheduler.simulation.model import Job, Node, Options, Outcome, Speeds, Trace
from services.gpu_scheduler.simulation.replay import replay
from services.gpu_scheduler.tests.simulation import reference_fifo

JOBS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 400), st.integers(1, 9), st.sampled_from(["slow", "fast"])),
    min_size=1,
    max_size=40,
)
SPEEDS = Speeds({("slow", cards): {"f": 0.25} for cards in range(1, 10)})


@settings(max_examples=200, deadline=None)
@given(JOBS)
def test_every_job_starts_and_ends_when_the_reference_says(given: list[tuple[int, int, int, str]]) -> None:
    jobs = [
        Job(str(index), float(submit), float(seconds), cards, model_type=model)
        for index, (submit, seconds, cards, model) in enumerate(sorted(given))
    ]
    trace = Trace(jobs, [Node("a", 4, "f"), Node("b", 4, "f")], speeds=SPEEDS)  # nine cards fit nowhere
    options = Options(placement="count")
    expected = {outcome.job.id: outcome for outcome in reference_fifo.replay(trace, "fifo", options).outcomes}
    found = replay(trace, "fifo", options).outcomes
    assert len(found) == len(expected)
    for outcome in found:
        other = expected[outcome.job.id]
        assert (outcome.end is None, bool(outcome.refusal)) == (other.end is None, bool(other.refusal))
        assert moments(outcome) == pytest.approx(moments(other))


def moments(outcome: Outcome) -> list[float]:
    return [moment for span in outcome.spans for moment in (span.start, span.end)]
