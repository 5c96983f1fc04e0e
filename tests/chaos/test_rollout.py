"""Versions change under load, and a replica and a gateway are killed in the middle: nobody who asked notices.

A short run of `tests/load/bench_rollout.py`, which says what is real here and what is played.
"""

from __future__ import annotations

import json

from tests.load.bench_rollout import roll_out

REQUESTS, CHANGES = 2000, 3


async def test_no_request_is_lost_or_answered_twice_and_no_session_torn_in_a_roll_out_with_kills() -> None:
    told = await roll_out(REQUESTS, CHANGES, callers=16)
    print(json.dumps(told, indent=1))
    assert told["requests"] >= REQUESTS
    assert [each.split()[0] for each in told["killed"]] == ["replica", "gateway"]
    assert told["failed"] == {}, "a retry before the first byte could have saved each of these"
    assert all(cause.startswith("stream") for cause in told["cut_after_it_began"]), "a whole answer goes out at once"
    assert told["wrong_answers"] == []
    assert told["two_answers_reached_a_client"] == 0
    assert told["answered_twice_by_engines"]["sent_once_by_the_client"] == 0
    assert told["sessions_that_moved_on"] > 0
    assert told["sessions_torn"] == []
    begun = told["answered"] + sum(told["cut_after_it_began"].values())
    # Each that began, and none for which nobody waited: at most what the dead worker had billed, and not yet written.
    assert begun <= told["billed"]["requests"] <= begun + told["asked_of_engines_more_than_once"]
    assert told["billed"]["tokens"] >= told["answered_tokens"]
    assert told["billed"]["open"] == 0
