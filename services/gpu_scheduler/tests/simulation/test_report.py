"""Every figure of a report, against a schedule that can be counted on one's fingers."""

from __future__ import annotations

import json
import math
import random

import pytest

from services.gpu_scheduler.simulation import series
from services.gpu_scheduler.simulation.fragmentation import shares
from services.gpu_scheduler.simulation.model import (
    Job,
    Node,
    Options,
    Outcome,
    Quota,
    Replay,
    Span,
    Speeds,
    Trace,
)
from services.gpu_scheduler.simulation.report import (
    finish_time_fairness,
    isolated_speed,
    jain,
    quantile,
    report_of,
    to_json,
)
from services.gpu_scheduler.tests.simulation import reference_fifo

# Two cards. `a` holds both from 0 to 10; `b` waits for one from 0 to 10 and runs to 40; `c` comes at 20, runs to 30.
A, B, C = Job("a", 0, 10, 2), Job("b", 0, 30, 1), Job("c", 20, 10, 1)
TRACE = Trace([A, B, C], [Node("n", 2, "f")])


def fifo(trace: Trace = TRACE) -> Replay:
    return reference_fifo.replay(trace, "fifo", Options(placement="count"))


def test_times_and_utilisation_are_those_of_the_schedule() -> None:
    report = report_of(fifo(), TRACE)
    assert report["jobs"] == report["ended_jobs"] == 3
    assert report["mean_jct_s"] == pytest.approx((10 + 40 + 10) / 3)
    assert (report["p50_jct_s"], report["max_jct_s"], report["makespan_s"]) == (10, 40, 40)
    assert report["mean_wait_s"] == pytest.approx(10 / 3)
    assert report["utilisation"] == pytest.approx((20 + 30 + 10) / (2 * 40))
    assert (report["preemptions"], report["preemptions_per_job"]) == (0, 0)


def test_a_preempted_job_waits_between_its_spans_too() -> None:
    outcome = Outcome(Job("a", 0, 20, 1), [Span(5, 15, "f"), Span(45, 55, "f")], 55, preemptions=1)
    report = report_of(Replay("las", [outcome], {"f": 1}), TRACE)
    assert (report["mean_wait_s"], report["preemptions_per_job"]) == (35, 1)


def test_jobs_that_never_ended_are_counted_apart() -> None:
    outcomes = [Outcome(A, [Span(0, 10, "f")], 10), Outcome(B), Outcome(C, refusal="WOULD_NEVER_FIT")]
    report = report_of(Replay("fifo", outcomes, {"f": 2}), TRACE)
    assert (report["never_ended_jobs"], report["refused_jobs"], report["mean_jct_s"]) == (2, 1, 10)


def test_a_replay_in_which_nothing_ended_has_no_means() -> None:
    report = report_of(Replay("fifo", [Outcome(A)], {"f": 2}), TRACE)
    assert report["mean_jct_s"] is report["makespan_s"] is report["utilisation"] is report["jain_index"] is None
    json.loads(to_json(report))


def test_a_quantile_lies_between_the_two_nearest_ranks() -> None:
    assert quantile([1, 2, 3, 4], 0.5) == 2.5
    assert quantile([0, 10], 0.99) == pytest.approx(9.9)
    assert (quantile([7], 0.99), quantile([], 0.5)) == (7, None)


def test_jains_index_is_1_for_equals_and_one_nth_where_one_has_all() -> None:
    assert jain([3, 3, 3]) == pytest.approx(1)
    assert jain([5, 0, 0, 0]) == pytest.approx(0.25)


def test_the_isolated_speed_takes_the_fastest_flavors_for_at_most_all_of_the_time() -> None:
    speeds = Speeds({("m", 1): {"fast": 1.0, "slow": 0.5}})
    trace = Trace([], speeds=speeds)
    capacity = {"fast": 2.0, "slow": 4.0}
    job = Job("a", 0, 1, 1, model_type="m")
    assert isolated_speed(job, trace, capacity, n=1, asked=1) == 1  # the fast ones alone fill its time
    assert isolated_speed(job, trace, capacity, n=4, asked=1) == 0.5 * 1 + 0.5 * 0.5
    assert isolated_speed(job, trace, capacity, n=12, asked=1) == pytest.approx(2 / 12 * 1 + 4 / 12 * 0.5)
    only = Job("a", 0, 1, 1, model_type="m", flavors=("slow",))
    assert isolated_speed(only, trace, capacity, n=1, asked=1) == 0.5


def test_a_job_alone_on_the_cluster_is_treated_fairly() -> None:
    trace = Trace([Job("a", 0, 10, 1)], [Node("n", 1, "f")])
    assert list(finish_time_fairness(fifo(trace), trace)) == [1]


def test_of_two_jobs_that_want_the_same_card_the_later_one_has_the_wait() -> None:
    trace = Trace([Job("a", 0, 10, 1), Job("b", 0, 10, 1)], [Node("n", 1, "f")])
    first, second = finish_time_fairness(fifo(trace), trace)
    assert first == pytest.approx(10 / 20)  # two in the system: alone on half a card it takes 20
    assert second == pytest.approx(20 / 15)  # one and a half on average while it was there


def test_fragmentation_is_what_lay_in_pieces_too_small_for_those_that_waited() -> None:
    """`a` and `b` leave one card free on each node, from 0 to 10; `c` needs two on one node and gets them at 10."""
    nodes = [Node("m", 4, "f"), Node("n", 4, "f")]
    a, b, c = Job("a", 0, 10, 3), Job("b", 0, 10, 3), Job("c", 0, 10, 2)
    outcomes = [
        Outcome(a, [Span(0, 10, "f", ("m",))], 10),
        Outcome(b, [Span(0, 10, "f", ("n",))], 10),
        Outcome(c, [Span(10, 20, "f", ("n",))], 20),
    ]
    report = report_of(Replay("fifo", outcomes, {"f": 8}), Trace([a, b, c], nodes))
    assert report["fragmentation"] == pytest.approx(2 * 10 / (2 * 10 + 6 * 10))


def test_what_is_free_on_one_node_is_not_stranded() -> None:
    trace = Trace([Job("a", 0, 10, 2), Job("b", 5, 10, 4)], [Node("m", 4, "f")])
    outcomes = [Outcome(trace.jobs[0], [Span(0, 10, "f", ("m",))], 10)]
    assert report_of(Replay("fifo", outcomes, {"f": 4}), trace)["fragmentation"] == 0


def test_a_gang_over_several_nodes_holds_whole_ones_and_a_remainder() -> None:
    assert list(shares(Job("a", 0, 1, 10), ("m", "n", "o"), dict.fromkeys("mno", 4000))) == [
        ("m", 4000),
        ("n", 4000),
        ("o", 2000),
    ]


def test_where_no_place_is_known_there_is_no_fragmentation() -> None:
    assert report_of(fifo(), TRACE)["fragmentation"] is None


def test_where_quotas_of_cores_bound_the_trace_cores_are_counted() -> None:
    job = Job("a", 0, 10, 1, cpu_milli=5000)
    trace = Trace([job], quotas=[Quota("q", "", "rf", "cpu", 20)])
    report = report_of(Replay("fifo", [Outcome(job, [Span(0, 10, "rf")], 10)], {"rf": 20}), trace)
    assert report["utilisation"] == pytest.approx(5 / 20)


def test_the_same_replay_gives_the_same_bytes() -> None:
    rng = random.Random(7)
    jobs = [Job(str(i), i * 3.7, rng.expovariate(0.01), rng.choice([1, 1, 2, 4])) for i in range(200)]
    trace = Trace(jobs, [Node("n", 8, "f")])
    assert to_json(report_of(fifo(trace), trace)) == to_json(report_of(fifo(trace), trace))
    assert list(json.loads(to_json(report_of(fifo(trace), trace)))) == sorted(report_of(fifo(trace), trace))


def test_series_agree_with_counting_all_jobs_anew() -> None:
    rng = random.Random(8)
    jobs = [Job(str(i), i * 2.0, rng.uniform(1, 40), rng.choice([1, 2, 3])) for i in range(60)]
    trace = Trace(jobs, [Node("n", 4, "f")])
    replay = fifo(trace)
    busy = dict(series.busy(replay, trace))
    assert all(busy[sample.time] == sample.busy for sample in replay.samples)
    waits = series.waiting(replay)
    for sample in replay.samples:
        assert [count for time, count in waits if time <= sample.time][-1] == sample.waiting


def test_thinning_keeps_the_highest_and_the_last_point() -> None:
    points = [(float(x), math.sin(x)) for x in range(10_000)]
    thin = series.thinned(points, 100)
    assert len(thin) <= 102 and max(y for _, y in thin) == max(y for _, y in points) and thin[-1] == points[-1]
