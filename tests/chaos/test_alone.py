"""The data plane alone: with every service, the database and the broker dead at once, requests go on, and when all are
back nothing that was answered meanwhile is missing from the books.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import openai
import psutil
import pytest
from gyre_sdk.resources.serving import target

from tests.chaos import harness
from tests.chaos.harness import until
from tests.chaos.test_serving import engine
from tests.conftest import Running, start, stop

COUNT = 40


@pytest.fixture(scope="module")
def victim() -> Iterator[Running]:
    platform = start()
    try:
        yield platform
    finally:
        stop(platform)


def test_with_all_else_dead_requests_go_on_and_keys_and_limits_are_checked(victim: Running) -> None:
    gyre = victim.client()
    with engine(fails_every=0) as address:
        gyre.deployments.create("rented", [target(upstream_url=address, upstream_model="m")])
        gyre.deployments.wait_ready("rented", timeout=60)
        limited = gyre.keys.create("VIEWER", "limited", requests_per_minute=3).secret
        with client(victim, gyre.keys.create("VIEWER", "app").secret) as app, client(victim, limited) as few:
            ids = {until(partial(asked_once, each), "its key is known", 30) for each in (app, few)}
            before = killed(victim)
            try:
                ids |= {ask(app) for _ in range(COUNT)} | {ask(few) for _ in range(2)}  # the first time, each of them
                with pytest.raises(openai.RateLimitError):
                    ask(few)
                with pytest.raises(openai.AuthenticationError), client(victim, "gyre-wrong") as stranger:
                    ask(stranger)
            finally:
                os.kill(before["supervisor"], signal.SIGCONT)
            until(partial(are_new, victim, before), "all are back", harness.BACK_WITHIN)
            ids |= {ask(app) for _ in range(COUNT)}
        assert len(ids) == 2 * COUNT + 4
        until(lambda: gyre.costs.usage().total.request_count == len(ids), "the books have each once", 60)
        until(lambda: harness.orphans(victim) == [], "the workers that were left have ended", 60)


def killed(platform: Running) -> dict[str, int]:
    """What died, by name, and the supervisor, which is stopped so that it starts nothing anew."""
    found = harness.pids(platform)
    pids = {name: pid for name, pid in found.items() if name != "supervisor"}
    os.kill(found["supervisor"], signal.SIGSTOP)
    for pid in {*pids.values(), *(each.pid for each in psutil.Process(pids["postgres"]).children(recursive=True))}:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: all(map(is_dead, pids.values())), "they are dead", 10)
    return found


def are_new(platform: Running, before: dict[str, int]) -> bool:
    """The supervisor's word alone is not enough: it may be from before it was stopped."""
    now = harness.pids(platform)
    return harness.is_ready(platform) and all(
        now[name] not in (0, before[name]) for name in now if name != "supervisor"
    )


def is_dead(pid: int) -> bool:
    """Also where nobody buried it, for its parent is stopped."""
    with suppress(psutil.Error):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def client(platform: Running, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=platform.openai_url, api_key=key, max_retries=0, timeout=60)


def ask(asking: openai.OpenAI) -> str:
    """The id of the answer."""
    messages: list[Any] = [{"role": "user", "content": "a lamp"}]
    return asking.chat.completions.create(model="rented", messages=messages, max_tokens=2).id


def asked_once(asking: openai.OpenAI) -> str:
    """Empty while its key is not known."""
    with suppress(openai.AuthenticationError, openai.NotFoundError):
        return ask(asking)
    return ""
