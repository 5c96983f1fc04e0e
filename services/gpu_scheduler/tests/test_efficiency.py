"""Utilisation by flavor and node, and fragmentation over time, over a real database."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from gyre_kit.auth import SYSTEM, acting_as
from gyre_kit.db import Session, enter_project
from gyre_kit.pages import BadOrder
from gyre_kit.periods import Period
from gyre_kit.testing import ManualClock

from services.gpu_scheduler.accounting import efficiency, store
from services.gpu_scheduler.accounting.fragmentation import Stretch, over_time
from services.gpu_scheduler.models import Attempt, CapacitySpan, Workload
from services.gpu_scheduler.simulation.fragmentation import fragmentation
from services.gpu_scheduler.simulation.model import Job, Node, Outcome, Replay, Span, Trace
from services.gpu_scheduler.tests.simulation import rows

HOUR = timedelta(hours=1)
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)


@pytest.fixture
async def everything(session: Session) -> AsyncIterator[Session]:
    """The session as the system, which sees all projects."""
    await enter_project(session, "*")
    with acting_as(SYSTEM):
        yield session


@pytest.fixture
async def past(everything: Session, clock: ManualClock) -> Session:
    """Ten hours of two nodes of flavor gpu with four cards each, and of one of flavor cpu without any."""
    begin = clock.now()
    for node, flavor, cards in (("a", "gpu", 4), ("b", "gpu", 4), ("c", "cpu", 0)):
        everything.add(
            CapacitySpan(
                node=f"nodes/{node}", start_time=begin, end_time=begin + 10 * HOUR, seen_time=begin + 10 * HOUR,
                flavor=f"flavors/{flavor}", cpu_milli=10_000, cards=cards, simulated_cards=0,
            )
        )  # fmt: skip
    clock.advance(hours=10)
    await everything.flush()
    return everything


async def ran(
    session: Session,
    queued: datetime,
    begin: datetime,
    hours: float | None,
    number: int = 1,
    of: Any = None,
    **given: Any,
) -> Workload:
    """One attempt of a job of one core, on `nodes`, or on one that its placement does not say."""
    cards, nodes, flavor = given.get("cards", 0), given.get("nodes"), given.get("flavor", "gpu")
    workload: Workload = of or rows.workload(queued, gpu=cards, end_time=None)
    attempt: Attempt = rows.attempt(workload, begin, None if hours is None else hours * 3600, number, node="a")
    attempt.flavor = f"flavors/{flavor}"
    attempt.placement = [
        {"node": f"nodes/{node}", "cpu_milli": 500, "memory_bytes": 0, "gpu_milli": milli, "cards": []}
        for node, milli in (nodes or {}).items()
    ]
    workload.end_time = attempt.end_time if given.get("ends", True) else None
    session.add_all([workload, attempt])
    await session.flush()
    return workload


async def test_a_gang_counts_on_each_of_its_nodes_and_once_for_its_flavor(past: Session, clock: ManualClock) -> None:
    start, period = clock.now() - 10 * HOUR, Period(clock.now() - 10 * HOUR, clock.now())
    await ran(past, start, start, 5, cards=6, nodes={"a": 4000, "b": 2000})
    await ran(past, start, start + 8 * HOUR, None, cards=1, ends=False)  # goes on; all of it on its node
    await ran(past, start - 9 * HOUR, start - 9 * HOUR, 3, cards=4, nodes={"a": 4000})  # before
    by_node, total = await efficiency.rows(past, period, "node")
    held = {row.name: row.value("card_held_seconds") for row in by_node}
    assert held == {"nodes/a": (20 + 2) * 3600, "nodes/b": 10 * 3600, "nodes/c": 0}
    assert {row.name: row.value("card_utilisation") for row in by_node} == {
        "nodes/a": 22 / 40, "nodes/b": 10 / 40, "nodes/c": None,
    }  # fmt: skip
    by_flavor, same = await efficiency.rows(past, period, "flavor")
    assert [(row.name, row.value("card_utilisation")) for row in by_flavor] == [
        ("flavors/cpu", None), ("flavors/gpu", 32 / 80),
    ]  # fmt: skip
    assert total == same and total.value("core_capacity_seconds") == 3 * 10 * 10 * 3600
    assert total.value("core_held_seconds") == (5 + 2) * 3600, "half a core on each of two nodes, and one core"


async def test_rows_are_ordered_by_what_is_asked_and_the_unknown_comes_last(past: Session, clock: ManualClock) -> None:
    start, period = clock.now() - 10 * HOUR, Period(clock.now() - 10 * HOUR, clock.now())
    await ran(past, start, start, 5, cards=4, nodes={"b": 4000})
    found, _ = await efficiency.rows(past, period, "node")
    for order, expected in (
        ("", "abc"), ("node desc", "cba"), ("card_utilisation", "abc"), ("card_utilisation desc", "bac"),
    ):  # fmt: skip
        assert "".join(row.name[-1] for row in efficiency.ordered(found, "node", order)) == expected
    with pytest.raises(BadOrder):
        efficiency.ordered(found, "node", "flavor")


async def test_what_was_free_counts_as_stranded_while_the_smallest_gang_that_waited_fitted_nowhere(
    past: Session, clock: ManualClock
) -> None:
    start = clock.now() - 10 * HOUR
    period = Period(start, clock.now())
    await ran(past, start, start, 10, cards=2, nodes={"a": 2000})
    await ran(past, start, start, 10, cards=3, nodes={"b": 3000})
    assert (await stranded(past, period)) == (3 * 10, 0), "nobody waits"
    first = await ran(past, start + HOUR, start + 3 * HOUR, 1, cards=2, ends=False, nodes={"a": 2000})
    await ran(past, start, start + 6 * HOUR, 2, number=2, of=first, nodes={"a": 2000})
    # Two cards were waited for from 1 to 3 and from 4 to 6: of 2 + 1 free ones, the one on b was of no use.
    assert (await stranded(past, period)) == (3 * 10 - 2 - 4, 2 + 2)
    past.add(rows.workload(start + 9 * HOUR, gpu=16, end_time=None, state="QUEUED", attempt=0))
    await past.flush()
    # From 9 on sixteen cards are waited for, which no node has: a whole one is asked for, and both are in pieces.
    assert (await stranded(past, period)) == (3 * 10 - 2 - 4, 2 + 2 + 3)


async def stranded(session: Session, period: Period) -> tuple[float, float]:
    """Card-hours: free, and of no use."""
    found = await efficiency.stranded(session, period)
    assert found is not None
    return found.free_card_seconds / 3600, found.stranded_card_seconds / 3600


async def test_more_than_a_sweep_takes_is_not_looked_at(past: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_now = past.clock.now()
    for _ in range(3):
        await ran(past, clock_now - HOUR, clock_now - HOUR, 1, cards=1, nodes={"a": 1000})
    monkeypatch.setattr(efficiency, "MOST_STRETCHES", 2)
    assert await efficiency.stranded(past, Period(clock_now - 2 * HOUR, clock_now)) is None


async def test_a_project_alone_is_no_cluster(past: Session, clock: ManualClock) -> None:
    """What is read here is read as the system: row-level security hides the others' attempts from anybody else."""
    start, period = clock.now() - 10 * HOUR, Period(clock.now() - 10 * HOUR, clock.now())
    await ran(past, start, start, 5, cards=4, nodes={"a": 4000})
    await enter_project(past, "stranger")
    assert await store.held_by(past, period, "node") == {}


@pytest.mark.parametrize("seed", range(8))
def test_it_is_what_a_replay_of_the_same_would_report(seed: int) -> None:
    dice = random.Random(seed)
    nodes = [Node(f"n{number}", dice.choice((2, 4, 8)), "gpu") for number in range(4)]
    free = {node.id: [0.0] * node.gpus for node in nodes}  # when each card is free again
    outcomes = []
    for number in range(40):
        node = dice.choice(nodes)
        job = Job(str(number), float(dice.randrange(400)), 0.0, gpus=dice.randint(1, node.gpus))
        cards = sorted(free[node.id])
        start = max(job.submit, cards[job.gpus - 1])
        end = start + dice.randrange(1, 90)
        free[node.id] = [end] * job.gpus + cards[job.gpus :]
        outcomes.append(Outcome(job, [Span(start, end, "gpu", (node.id,))], end))
    expected = fragmentation(Replay("fifo", outcomes, {}), Trace([each.job for each in outcomes], nodes))
    last = max(each.end or 0 for each in outcomes)

    def at(seconds: float) -> datetime:
        return MONDAY + timedelta(seconds=seconds)

    found = over_time(
        Period(MONDAY, at(last)),
        [Stretch(MONDAY, None, node.gpus * 1000, node.id) for node in nodes],
        [Stretch(at(s.start), at(s.end), each.job.gpus * 1000, s.nodes[0]) for each in outcomes for s in each.spans],
        [Stretch(at(each.job.submit), at(each.spans[0].start), each.job.gpus * 1000) for each in outcomes],
        at(last),
    )
    assert expected is not None and found.ratio == pytest.approx(expected)


def test_a_lost_node_has_nothing_free_while_its_work_still_holds_what_it_had() -> None:
    found = over_time(
        Period(MONDAY, MONDAY + 4 * HOUR),
        [Stretch(MONDAY, MONDAY + HOUR, 4000, "a")],
        [Stretch(MONDAY, MONDAY + 2 * HOUR, 1000, "a")],
        [],
        MONDAY + 9 * HOUR,
    )
    assert (found.free_card_seconds, found.ratio) == (3 * 3600, 0)
