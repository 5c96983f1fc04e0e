"""Who answers worse than its equals stands back, is tried, and comes back."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.inference_gateway.proxy.outliers import (
    FIRST_SECONDS,
    INTERVAL_SECONDS,
    LONGEST_SECONDS,
    Outliers,
    Window,
    judge,
)
from services.inference_gateway.proxy.routing import Router, Wish
from services.inference_gateway.proxy.snapshot import Deployment, Target
from services.inference_gateway.proxy.tests.support import deployment, snapshot_of


def window(failed: int = 0, answered: int = 100, seconds: float = 0.1, spread: float = 0.3) -> Window:
    """Streams whose first token came around `seconds`."""
    mean = math.log(seconds)
    return Window(failed, answered, answered, mean * answered, (mean**2 + spread**2) * answered)


GOOD = window()


@pytest.mark.parametrize(
    ("bad", "reason"), [(window(40, 60), "failures"), (window(seconds=0.5), "latency"), (window(100, 0), "failures")]
)
def test_one_that_fails_more_or_begins_later_than_the_others_is_left_out(bad: Window, reason: str) -> None:
    assert judge({"a": GOOD, "b": GOOD, "c": bad}, []) == {"c": reason}
    assert judge({"a": GOOD, "b": bad}, []) == {"b": reason}


@pytest.mark.parametrize("odd", [window(3, 97), window(seconds=0.15), window(2, 2), window(seconds=5, answered=3)])
def test_a_little_worse_or_a_little_known_is_no_reason(odd: Window) -> None:
    assert judge({"a": GOOD, "b": GOOD, "c": odd}, []) == {}


def test_where_all_are_bad_alike_nobody_is_an_outlier() -> None:
    assert judge({name: window(50, 50, seconds=3) for name in "abcd"}, []) == {}


def test_no_more_than_a_third_is_left_out_the_worst_first() -> None:
    equals = dict.fromkeys("abcd", GOOD) | {"e": window(30, 70), "f": window(60, 40), "g": window(45, 55)}
    assert set(judge(equals, [])) == {"f", "g"}
    assert judge(equals, ["f", "g"]) == {}
    assert judge({"a": GOOD, "b": window(90, 10)}, ["a"]) == {}


def test_chance_alone_leaves_hardly_anybody_out() -> None:
    random, wrong = np.random.default_rng(3), 0
    for _ in range(300):
        counts = random.binomial(60, 0.2, size=4)
        wrong += bool(judge({str(at): Window(int(bad), 60 - int(bad)) for at, bad in enumerate(counts)}, []))
    assert wrong <= 12


def replicas(count: int = 2) -> Deployment:
    targets = (Target(f"r{at}", address=f"127.0.0.1:{at + 1}", variant="v", version="1") for at in range(count))
    return deployment(*targets)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def one_interval(router: Router, clock: Clock, bad: str = "r1") -> None:
    for target in replicas().targets:
        for _ in range(30):
            if target.id == bad:
                router.erred(target)
            else:
                router.succeeded(target, 0.2)
    clock.now += INTERVAL_SECONDS


def chosen(router: Router) -> set[str]:
    found = (router.choose(replicas(), Wish(), []) for _ in range(50))
    return {target.id for target in found if target}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def router(clock: Clock) -> Router:
    router = Router(clock)
    router.outliers.use(snapshot_of([replicas()]))
    router.look_for_outliers()
    return router


def test_it_gets_nothing_then_one_request_at_a_time_and_comes_back_when_that_goes_well(
    router: Router, clock: Clock
) -> None:
    bad = replicas().targets[1]
    one_interval(router, clock)
    assert router.look_for_outliers() == {"r1": "failures"}
    assert chosen(router) == {"r0"}
    clock.now += FIRST_SECONDS
    assert chosen(router) == {"r0", "r1"}
    with router.running(bad):
        assert chosen(router) == {"r0"}  # one tries, the others wait what comes of it
        router.succeeded(bad, 0.2)
    assert chosen(router) == {"r0", "r1"}


def test_a_probe_that_fails_makes_it_longer_up_to_a_bound(router: Router, clock: Clock) -> None:
    bad = replicas().targets[1]
    one_interval(router, clock)
    router.look_for_outliers()
    pauses = []
    for _ in range(12):
        clock.now = router.outliers.ejected["r1"].until
        router.erred(bad)
        pauses.append(router.outliers.ejected["r1"].until - clock.now)
    assert pauses[:2] == [2 * FIRST_SECONDS, 3 * FIRST_SECONDS]
    assert pauses[-1] == LONGEST_SECONDS


def test_an_answer_that_was_under_way_does_not_bring_it_back(router: Router, clock: Clock) -> None:
    one_interval(router, clock)
    router.look_for_outliers()
    router.succeeded(replicas().targets[1], 0.2)
    assert chosen(router) == {"r0"}


def test_where_all_others_are_gone_it_is_asked_after_all(router: Router, clock: Clock) -> None:
    one_interval(router, clock)
    router.look_for_outliers()
    found = router.choose(replicas(), Wish(), ["r0"])
    assert found is not None and found.id == "r1"


def test_targets_without_equals_are_not_watched() -> None:
    outliers = Outliers()
    outliers.use(snapshot_of([deployment(Target("a", variant="v"), Target("b", variant="w"), Target("c"))]))
    assert outliers.watched == set()
