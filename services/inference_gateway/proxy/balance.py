"""Which of several equal engines answers: the one that holds the prompt's beginning in its cache already, as long as it
is not much busier than the others; else the one with the least to do. Pure.

Where a prefix belongs follows from hashes alone (rendezvous hashing), so all workers agree without a word; how much
busier it may be is consistent hashing's bounded load (Mirrokni, Thorup, Zadimoghaddam 2016).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import ceil

from services.inference_gateway.proxy.snapshot import Target

LOAD_FACTOR = 1.25  # of the average load


def of_one_variant(candidates: Sequence[Target], at: float) -> list[Target]:
    """The targets that serve one and the same thing. `at`, in [0, 1), says where in the weights of all of them."""
    variants: dict[str, list[Target]] = {}
    for each in candidates:
        variants.setdefault(each.variant or each.id, []).append(each)
    left = at * sum(map(weight, candidates), 0.0)
    for equals in variants.values():
        left -= sum(map(weight, equals), 0.0)
        if left < 0:
            return equals
    return equals


def choose(equals: Sequence[Target], prefix: bytes, running: Mapping[str, int], draw: random.Random) -> Target:
    """`running`: requests by target id. An empty `prefix` has no home."""
    if len(equals) == 1:
        return equals[0]
    if prefix:
        share = _all_running(equals, running) / sum(map(weight, equals), 0.0)
        for target in sorted(equals, key=lambda each: _score(each, prefix), reverse=True):
            if running.get(target.id, 0) < ceil(LOAD_FACTOR * share * weight(target)):
                return target
    return min(equals, key=lambda each: (running.get(each.id, 0) / weight(each), draw.random()))


def weight(target: Target) -> float:
    """One that is asked for by its version alone has none of its own."""
    return float(target.weight) or 1.0


def _all_running(equals: Sequence[Target], running: Mapping[str, int]) -> int:
    """With the one that is being placed."""
    return 1 + sum(running.get(each.id, 0) for each in equals)


def _score(target: Target, prefix: bytes) -> bytes:
    return blake2b(prefix + target.id.encode(), digest_size=8).digest()
