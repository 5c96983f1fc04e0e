"""What was asked for and run, as a trace."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from gyre_kit.db import Session
from gyre_kit.periods import Period
from gyre_kit.testing import ManualClock

from services.gpu_scheduler.models import Attempt, ClusterQueue, Flavor, Workload
from services.gpu_scheduler.quota import FlavorNotFound
from services.gpu_scheduler.simulation import service, store
from services.gpu_scheduler.simulation.history import Added, History, history_of, quotas_of, with_more
from services.gpu_scheduler.simulation.model import Job, Node, Quota
from services.gpu_scheduler.tests.simulation import rows

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Period(MONDAY, MONDAY + 24 * HOUR)


def history(pairs: list[tuple[Workload, list[Attempt]]], priority: int = 0) -> History:
    attempts = {workload.name: attempts for workload, attempts in pairs}
    queue = rows.queue(priority=priority)
    return history_of([(workload, queue) for workload, _ in pairs], attempts, [rows.node(MONDAY)], [], DAY)


def test_a_workload_is_a_job_as_long_as_its_attempts_held_something() -> None:
    asked = rows.workload(MONDAY + HOUR, gpu=2, priority=5, only_flavor="flavors/a100")
    tries = [rows.attempt(asked, MONDAY + 2 * HOUR, 60), rows.attempt(asked, MONDAY + 3 * HOUR, 40, number=2)]
    (job,) = history([(asked, tries)], priority=10).jobs
    expected = Job(asked.name, 3600, 100, 2, 1000, flavors=("a100",), queue="default", user="keys/ann", priority=15)
    assert job == expected


def test_what_began_before_the_period_counts_with_what_it_did_within() -> None:
    earlier = rows.workload(MONDAY - 5 * HOUR)
    (job,) = history([(earlier, [rows.attempt(earlier, MONDAY - HOUR, 2 * 3600)])]).jobs
    assert (job.submit, job.duration) == (0, 3600)


def test_what_still_runs_counts_until_the_end_and_what_never_ran_is_left_out() -> None:
    runs, waits = rows.workload(MONDAY), rows.workload(MONDAY)
    found = history([(runs, [rows.attempt(runs, MONDAY + 23 * HOUR, None)]), (waits, [])])
    assert ([job.duration for job in found.jobs], found.truncated, found.left_out) == ([3600], 1, 1)


def test_a_lost_node_is_no_node() -> None:
    nodes = [rows.node(MONDAY), rows.node(MONDAY, "m", state="LOST"), rows.node(MONDAY, "d", state="DRAINING")]
    assert [node.id for node in history_of([], {}, nodes, [], DAY).nodes] == ["n", "d"]


def test_queues_without_quotas_may_use_all_that_there_is_with_the_additions() -> None:
    queues = [
        ClusterQueue(name="clusterQueues/a", quotas={"flavors/gpu": {"gpu": 1, "cpu_milli": 500}}),
        ClusterQueue(name="clusterQueues/b", quotas={}),
    ]
    found = with_more(history_of([], {}, [rows.node(MONDAY)], queues, DAY), [Added(2, "gpu", 4, 16_000)])
    assert found.nodes[1:] == [Node("+1-1", 4, "gpu", 16_000), Node("+1-2", 4, "gpu", 16_000)]
    assert quotas_of(found) == [
        Quota("a", "", "gpu", "cpu", 0.5),
        Quota("a", "", "gpu", "gpu", 1),
        Quota("b", "", "gpu", "cpu", 40),
        Quota("b", "", "gpu", "gpu", 9),
    ]


def test_without_any_quota_the_nodes_alone_bound_what_runs() -> None:
    queues = [ClusterQueue(name="clusterQueues/a", quotas={})]
    assert quotas_of(history_of([], {}, [rows.node(MONDAY)], queues, DAY)) == []


# from the database


@pytest.fixture
async def past(session: Session, clock: ManualClock) -> Session:
    """A day with a job that ended, one that waits, and one that ended before."""
    now = clock.now()
    session.add_all([rows.node(now), Flavor(name="flavors/gpu", gpu_hour_microusd=1_000_000, cpu_hour_microusd=10_000)])
    session.add_all([ClusterQueue(name="clusterQueues/default", quotas={}), rows.queue()])
    ran, waits, long_ago = (rows.workload(now - hours * HOUR) for hours in (5, 4, 90))
    waits.state, long_ago.end_time, ran.end_time = "QUEUED", now - 80 * HOUR, now - 3 * HOUR
    session.add_all([ran, waits, long_ago])
    session.add_all([rows.attempt(ran, now - 4 * HOUR, 3600), rows.attempt(long_ago, now - 90 * HOUR, 36_000)])
    await session.flush()
    return session


async def test_only_what_touched_the_period_is_read(past: Session, clock: ManualClock) -> None:
    period = Period(clock.now() - 24 * HOUR, clock.now())
    assert len(await store.workloads_within(past, period, 10)) == 2
    assert len(await store.workloads_within(past, period, 1)) == 1
    assert [len(found) for found in (await store.attempts_within(past, period)).values()] == [1]


async def test_a_question_has_its_price_and_the_same_payload_for_the_next_minutes(
    past: Session, clock: ManualClock
) -> None:
    asked = [Added(2, "gpu", 4, 0)]
    first = await service.asked(past, asked, [], 1, "hetero")
    clock.advance(seconds=100)
    again = await service.asked(past, asked, [], 1, "hetero")
    assert first.payload == again.payload and b"\n" not in first.payload
    assert first.added_hour_microusd == 2 * (4 * 1_000_000 + 8 * 10_000)  # as many cores as the node that is there
    assert (len(first.history.jobs), first.history.left_out) == (1, 1)


@pytest.mark.parametrize(
    ("additions", "days", "policy", "error"),
    [
        ([], 1, "hetero", service.BadAddition),
        ([Added(0, "gpu", 1, 0)], 1, "hetero", service.BadAddition),
        ([Added(1, "gpu", 65, 0)], 1, "hetero", service.BadAddition),
        ([Added(1, "gpu", -1, 0)], 1, "hetero", service.BadAddition),
        ([Added(1, "gpu", 1, -5)], 1, "hetero", service.BadAddition),
        ([Added(1, "tpu", 1, 0)], 1, "hetero", FlavorNotFound),
        ([Added(1, "gpu", 1, 0)], 32, "hetero", service.BadDays),
        ([Added(1, "gpu", 1, 0)], -1, "hetero", service.BadDays),
        ([Added(1, "gpu", 1, 0)], 1, "magic", service.UnknownPolicy),
        ([Added(1, "gpu", 1, 0)], 1, "", service.UnknownPolicy),
    ],
)
async def test_a_question_without_sense_is_refused(
    past: Session, additions: list[Added], days: int, policy: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await service.asked(past, additions, [], days, policy)


async def test_a_question_may_be_about_fewer_nodes_and_says_what_they_cost_no_longer(
    past: Session, clock: ManualClock
) -> None:
    past.add(rows.node(clock.now(), "second", gpu=2))
    await past.flush()
    found = await service.asked(past, [], ["nodes/second"], 1, "hetero")
    hour = 8 * 10_000
    assert found.before == service.Fleet(2, 3_000_000 + 2 * hour)
    assert found.after == service.Fleet(1, 1_000_000 + hour)
    assert (found.added_hour_microusd, found.removed_hour_microusd) == (0, 2_000_000 + hour)
    before, after = json.loads(found.payload)["bounds"]
    assert [[node[0] for node in each["nodes"]] for each in (before, after)] == [["n", "second"], ["n"]]
    swapped = await service.asked(past, [Added(1, "gpu", 4, 0)], ["nodes/n", "nodes/second"], 1, "hetero")
    assert swapped.after == service.Fleet(1, 4_000_000 + hour)


@pytest.mark.parametrize("removals", [["nodes/n"], ["nodes/n", "nodes/n"], ["nodes/nowhere"], ["nodes/"]])
async def test_nodes_that_are_not_there_or_all_of_them_are_not_removed(past: Session, removals: list[str]) -> None:
    with pytest.raises(service.BadRemoval):
        await service.asked(past, [], removals, 1, "hetero")


async def test_a_node_without_cards_needs_cores(past: Session) -> None:
    past.add(Flavor(name="flavors/cpu"))
    await past.flush()
    with pytest.raises(service.BadAddition):
        await service.asked(past, [Added(1, "cpu", 0, 0)], [], 1, "hetero")
    await service.asked(past, [Added(1, "cpu", 0, 4000)], [], 1, "hetero")


async def test_where_nothing_ran_there_is_nothing_to_replay(past: Session, clock: ManualClock) -> None:
    clock.advance(days=40)
    with pytest.raises(service.NoHistory):
        await service.asked(past, [Added(1, "gpu", 1, 0)], [], 1, "hetero")


async def test_more_history_than_a_replay_takes_is_refused(past: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MOST_JOBS", 1)
    with pytest.raises(service.WhatIfTooLarge):
        await service.asked(past, [Added(1, "gpu", 1, 0)], [], 1, "hetero")
