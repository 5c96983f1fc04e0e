"""Who is next, how long a wait is, and what the line does when clients leave."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.inference_gateway.proxy.fairness import FairQueue
from services.inference_gateway.proxy.settings import ProxySettings
from services.inference_gateway.proxy.tests.support import eventually
from services.inference_gateway.proxy.turns import Busy, Turns


def served(queue: FairQueue[str], count: int) -> list[str]:
    return [queue.pop()[0] for _ in range(count)]


def test_a_project_that_sends_ten_times_as_much_gets_no_more():
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push("greedy", 10, f"g{number}")
    for number in range(10):
        queue.push("modest", 10, f"m{number}")
    assert Counter(served(queue, 20)) == {"greedy": 10, "modest": 10}
    assert len(queue) == 90


def test_shares_are_of_work_and_not_of_requests():
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push("short", 10, f"s{number}")
        queue.push("long", 100, f"l{number}")
    counts = Counter(served(queue, 55))
    assert counts["short"] == pytest.approx(10 * counts["long"], abs=10)


def test_within_a_project_the_first_comes_first():
    queue: FairQueue[str] = FairQueue()
    for item in "abc":
        queue.push("p", 5, item)
    assert [queue.pop()[1] for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(IndexError):
        queue.pop()


def test_who_was_away_has_saved_nothing_up():
    queue: FairQueue[str] = FairQueue()
    for number in range(50):
        queue.push("busy", 10, f"b{number}")
    served(queue, 30)
    for number in range(20):
        queue.push("newcomer", 10, f"n{number}")
    assert Counter(served(queue, 20)) == {"busy": 10, "newcomer": 10}


def test_what_took_more_than_was_estimated_is_put_on_the_projects_bill():
    queue: FairQueue[str] = FairQueue()
    for number in range(40):
        queue.push("modest", 10, f"m{number}")
        queue.push("liar", 10, f"l{number}")
    counts: Counter[str] = Counter()
    for _ in range(40):
        project, _ = queue.pop()
        counts[project] += 1
        if project == "liar":
            queue.correct("liar", 20)  # thirty in truth
    assert counts["modest"] == pytest.approx(3 * counts["liar"], abs=2)


def test_the_work_ahead_of_a_newcomer_is_not_the_whole_line_of_others():
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push("greedy", 10, f"g{number}")
    assert queue.ahead_of("newcomer", 10) == 20
    assert queue.ahead_of("greedy", 10) == 1010


def test_who_left_is_out_of_the_line():
    queue: FairQueue[str] = FairQueue()
    queue.push("p", 5, "a")
    queue.push("p", 5, "b")
    queue.remove("p", 5, "a")
    queue.remove("p", 5, "a")
    assert queue.pop()[1] == "b" and len(queue) == 0


def turns(clock, **settings) -> Turns:
    made = Turns(ProxySettings(**settings), clock)
    made.places = 1
    return made


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_wait_that_would_be_too_long_is_refused_with_the_time_until_it_is_not():
    clock = Clock()
    subject = turns(clock, queue_seconds=10)
    for _ in range(5):  # ten units of work a second
        async with place(subject, "p", 100):
            clock.now += 10
    async with place(subject, "p", 100):
        waiting = asyncio.create_task(_take(subject, "p", 60))
        await eventually(lambda: subject.waiting)
        with pytest.raises(Busy) as caught:
            await _take(subject, "p", 90)
        assert caught.value.seconds == pytest.approx(5)
        other = asyncio.create_task(_take(subject, "another", 40))  # whose line is short
        await eventually(lambda: subject.waiting == 2)
    await asyncio.gather(waiting, other)
    assert subject.idle


async def test_a_client_that_leaves_while_it_waits_or_just_then_takes_no_place_with_it():
    subject = turns(Clock())
    async with place(subject, "p", 1):
        leavers = [asyncio.create_task(_take(subject, "p", 1)) for _ in range(2)]
        await eventually(lambda: subject.waiting == 2)
        leavers[0].cancel()
        await asyncio.gather(leavers[0], return_exceptions=True)
        assert subject.waiting == 1
    leavers[1].cancel()  # its turn has come, and it has not heard of it yet
    await asyncio.gather(*leavers, return_exceptions=True)
    assert subject.idle
    await _take(subject, "p", 1)


async def test_what_stands_aside_goes_last_and_is_sent_away_after_a_while():
    subject = turns(Clock(), queue_seconds=0.05)
    order: list[str] = []

    async def take(name: str, aside: bool) -> None:
        async with place(subject, "p", 1, aside):
            order.append(name)

    async with place(subject, "p", 1):
        waiting = [asyncio.create_task(take("batch", True)), asyncio.create_task(take("person", False))]
        await eventually(lambda: subject.waiting == 2)
    await asyncio.gather(*waiting)
    assert order == ["person", "batch"]
    async with place(subject, "p", 1):
        with pytest.raises(Busy):
            await take("batch", True)
    assert subject.idle


async def _take(subject: Turns, project: str, cost: int) -> None:
    async with place(subject, project, cost):
        pass


@asynccontextmanager
async def place(subject: Turns, project: str, cost: int, aside: bool = False) -> AsyncIterator[None]:
    turn = subject.turn(project, cost, aside)
    if not turn.begins():
        await turn.comes()
    try:
        yield
    finally:
        turn.ends(cost)
