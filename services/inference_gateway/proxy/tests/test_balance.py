"""Equal engines: a prefix has a home, and nobody is overrun for it."""

from __future__ import annotations

import random
from collections import Counter

from services.inference_gateway.proxy import balance
from services.inference_gateway.proxy.snapshot import Target

FOUR = [Target(name, version="1", weight=25) for name in "abcd"]


def draw() -> random.Random:
    return random.Random(3)


def test_a_prefix_goes_to_the_same_engine_and_prefixes_spread():
    homes = {number: balance.choose(FOUR, b"%d" % number, {}, draw()).id for number in range(400)}
    assert all(balance.choose(FOUR, b"%d" % number, {}, draw()).id == home for number, home in homes.items())
    assert all(70 <= count <= 130 for count in Counter(homes.values()).values())


def test_when_an_engine_goes_only_its_own_prefixes_move():
    before = {number: balance.choose(FOUR, b"%d" % number, {}, draw()).id for number in range(400)}
    after = {number: balance.choose(FOUR[:3], b"%d" % number, {}, draw()).id for number in range(400)}
    assert {number for number in before if before[number] != after[number]} == {
        number for number, home in before.items() if home == "d"
    }


def test_one_popular_prefix_overruns_nobody():
    running: Counter[str] = Counter()
    for _ in range(400):
        running[balance.choose(FOUR, b"everybody's system prompt", running, draw()).id] += 1
    assert max(running.values()) <= 130


def test_without_a_prefix_the_least_busy_answers():
    assert balance.choose(FOUR, b"", {"a": 2, "b": 1, "c": 2, "d": 3}, draw()).id == "b"


def test_variants_share_by_weight_though_they_are_of_one_version():
    split = [
        Target("a", version="1", variant="v/q8", weight=45),
        Target("b", version="1", variant="v/q8", weight=45),
        Target("c", version="1", variant="v/q4", weight=10),
    ]
    source = draw()
    found = [balance.of_one_variant(split, source.random()) for _ in range(10_000)]
    counts = Counter("".join(each.id for each in equals) for equals in found)
    assert set(counts) == {"ab", "c"} and 850 < counts["c"] < 1150
