"""Our ULIDs are anybody's ULIDs."""

from __future__ import annotations

import time

from ulid import ULID

from services.inference_gateway.proxy import ulid


def test_the_library_reads_ours_and_finds_the_time_in_it():
    before = time.time_ns() // 1_000_000
    made = ulid.new()
    after = time.time_ns() // 1_000_000
    assert before <= ULID.from_str(made).milliseconds <= after and str(ULID.from_str(made)) == made


def test_no_two_are_alike():
    assert len({ulid.new() for _ in range(10_000)}) == 10_000
