"""Who answers: shares, versions, and those that stand back."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from services.inference_gateway.proxy.errors import ApiError
from services.inference_gateway.proxy.routing import Router, Wish, resolve
from services.inference_gateway.proxy.sessions import SessionLedger
from services.inference_gateway.proxy.snapshot import Target, TargetState
from services.inference_gateway.proxy.tests.support import deployment, snapshot_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def router(clock: Clock | None = None, sessions: SessionLedger | None = None) -> Router:
    return Router(clock or Clock(), sessions, random.Random(7))


def test_new_requests_are_shared_by_weight():
    subject = deployment(Target("a", weight=90), Target("b", weight=10), Target("c", weight=0))
    chosen = router()
    counts = Counter(chosen.choose(subject, Wish(), ()).id for _ in range(10_000))
    assert set(counts) == {"a", "b"} and 850 < counts["b"] < 1150


def test_a_pinned_version_is_served_even_without_a_share():
    subject = deployment(Target("a", version="1", weight=100), Target("b", version="2", weight=0))
    assert router().choose(subject, Wish("2"), ()).id == "b"


def test_a_failed_target_stands_back_and_comes_back():
    clock = Clock()
    subject, chosen = deployment(Target("a", weight=1), Target("b", weight=1_000_000)), router(clock)
    b = subject.targets[1]
    chosen.failed(b)
    assert chosen.choose(subject, Wish(), ()).id == "a"
    clock.now += 1.1
    assert chosen.choose(subject, Wish(), ()).id == "b"
    chosen.failed(b)
    clock.now += 1.1
    assert chosen.choose(subject, Wish(), ()).id == "a"  # twice as long the second time
    chosen.succeeded(b, 0.1)
    assert chosen.choose(subject, Wish(), ()).id == "b"


def test_when_all_stand_back_they_are_tried_all_the_same():
    subject, chosen = deployment(Target("a"), Target("b", state=TargetState.UNHEALTHY)), router()
    chosen.failed(subject.targets[0])
    assert chosen.choose(subject, Wish(), ()).id in ("a", "b")
    assert chosen.choose(subject, Wish(), ("a",)).id == "b"
    assert chosen.choose(subject, Wish(), ("a", "b")) is None


def test_running_requests_are_counted_by_target():
    chosen, target = router(), Target("a")
    with chosen.running(target), chosen.running(target):
        chosen.forget_others(set())
        assert chosen.in_flight == {"a": 2}
    chosen.forget_others(set())
    assert chosen.in_flight == {}


def test_a_name_with_a_version_is_resolved():
    snapshot = snapshot_of([deployment(Target("a", version="1"), Target("b", version="2"))])
    assert resolve(snapshot, "demo", "hotline", {})[1] == Wish()
    assert resolve(snapshot, "demo", "hotline@2", {})[1] == Wish("2")
    assert resolve(snapshot, "demo", "hotline", {"x-gyre-version": "2"})[1] == Wish("2")
    assert resolve(snapshot, "demo", "hotline@1", {"x-gyre-version": "2"})[1] == Wish("1")
    for name in ("hotline@3", "hotline@", "@1", "nothing", "nothing@1"):
        with pytest.raises(ApiError) as caught:
            resolve(snapshot, "demo", name, {})
        assert caught.value.status == 404


def test_after_its_pause_one_request_tries_a_failed_target_before_the_others_follow():
    clock = Clock()
    subject = deployment(Target("a", variant="v", weight=50), Target("b", variant="v", weight=50))
    chosen = router(clock)
    chosen.failed(subject.targets[0])
    assert {chosen.choose(subject, Wish(), ()).id for _ in range(20)} == {"b"}
    clock.now += 1.5
    with chosen.running(subject.targets[1]), chosen.running(subject.targets[1]):
        assert chosen.choose(subject, Wish(), ()).id == "a", "the probe"
        with chosen.running(subject.targets[0]):
            assert {chosen.choose(subject, Wish(), ()).id for _ in range(20)} == {"b"}
        chosen.succeeded(subject.targets[0], 0.1)
        assert chosen.choose(subject, Wish(), ()).id == "a"
